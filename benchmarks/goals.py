"""The acceptance list: what has to be reached, in the words under which a report shows it.

A goal that no row of a run has is reported as not measured, so that none gets lost.
"""

__all__ = ["ACCEPTANCE", "BARE", "CYCLE", "FULL", "GROWTH", "HIJACK", "MEMORY", "PEERS", "RELAY", "START", "STREAM"]

BARE = "bare async handler"
FULL = "the full path"
PEERS = "against peers, c50, full path"
STREAM = "progress stream"
CYCLE = "connect, banner, one request, close"
MEMORY = "memory of an idle connection"
HIJACK = "a hijack that hands the socket over"
RELAY = "a hijack that relays"
START = "ctlctl ping, whole process"
GROWTH = "growth"

ACCEPTANCE = (BARE, FULL, PEERS, STREAM, CYCLE, MEMORY, HIJACK, RELAY, START, GROWTH)
