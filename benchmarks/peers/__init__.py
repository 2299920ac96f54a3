"""The neighbours, each doing the same ping and echo over a UNIX socket.

They run in an environment of their own: `requirements.txt` pins what that has.  Each is set
up as its documentation advises for speed: uvloop where it runs on a loop, orjson where it
leaves the choice, no access log.  `python -m benchmarks.peers.NAME SOCKET` says `ready` when
it listens.
"""
