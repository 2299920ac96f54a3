"""`ctlctl dial-stdio`: the standard streams, joined to the daemon; the far end of `ssh://`.

Each direction has a thread that may block, so neither can hold up the other.  When nobody
reads the standard output any more, the connection is closed at once, and not only when
there is something to write: the daemon has to learn that its client has gone, and no
process of ours may stay behind.
"""

from __future__ import annotations

import os
import select
import threading
from typing import TYPE_CHECKING

from ctlctl import exits
from ctlctl.exits import UsageError
from ctld.client.connecting import connect

if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence

    from ctlctl.caller import Caller

__all__ = ["run"]

_READ_SIZE = 64 * 1024


def run(caller: Caller, words: Sequence[str]) -> int:
    """Connect the standard streams to the daemon, until it or they come to an end.

    Raises:
        CtldError: There is no daemon to connect to.
    """
    address = caller.conversation.address
    if words or address.kind not in ("unix", "tcp"):
        raise UsageError("dial-stdio takes no words, and connects to unix: and tcp: only")
    sock = connect(address)
    sock.settimeout(None)
    threading.Thread(target=_inwards, args=(sock,), daemon=True).start()
    try:
        _outwards(sock)
    finally:
        sock.close()
    return exits.OK


def _inwards(sock: _socket.socket) -> None:
    import socket

    try:
        while data := os.read(0, _READ_SIZE):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the daemon has gone, as the other direction sees


def _outwards(sock: _socket.socket) -> None:
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    poll.register(1, 0)  # errors and hang-ups are always told
    while True:
        ready = dict(poll.poll())
        if 1 in ready:
            return  # nobody reads us any more
        try:
            data = sock.recv(_READ_SIZE)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(1, rest) :]
        except OSError:
            return
        if not data:
            return
