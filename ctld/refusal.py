"""The last word to a client who is not admitted.

Closing a socket while the client's bytes lie in it unread tells the client that the
connection was reset, and the answer that explains why is lost to it.  So after the answer
the socket is half-closed, and what the client sends is read and dropped until it hangs
up.  Those who linger cost a descriptor and a little attention each, so they are few and
do not get long.
"""

import asyncio
import contextlib
import socket
from typing import Final

__all__ = ["Refusals", "refuse_at_once"]

# Enough for a burst of ordinary clients, who hang up within milliseconds; beyond it somebody
# does this to us on purpose, and gets the answer but not our patience.
_MAX_LINGERING: Final = 64

_LINGER: Final = 2.0  # seconds; an honest client needs one round trip

_CHUNK: Final = 64 * 1024

# What is read from one client in one turn of the loop, so that one who sends without end
# does not hold it up.
_CHUNKS_PER_TURN: Final = 4


def refuse_at_once(sock: socket.socket, message: bytes) -> None:
    """Say a last word and close, without waiting for anything.

    Args:
        sock: A connected, non-blocking socket.
        message: The last word; the kernel takes it, since nothing was sent before.
    """
    with sock, contextlib.suppress(OSError):
        _say(sock, message)
        _drop_input(sock)


class Refusals:
    """The clients of one server who hear why they are turned away."""

    __slots__ = ("_lingering", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lingering: dict[socket.socket, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._lingering)

    def refuse(self, sock: socket.socket, message: bytes) -> None:
        """Say a last word to a client, and close when it has had the time to read that.

        Args:
            sock: A connected, non-blocking socket; closed in any case.
            message: The last word; short enough for the kernel to take it whole.
        """
        if len(self._lingering) >= _MAX_LINGERING:
            refuse_at_once(sock, message)
            return
        try:
            _say(sock, message)
            self._loop.add_reader(sock.fileno(), self._on_readable, sock)
        except OSError:
            sock.close()
            return
        self._lingering[sock] = self._loop.call_later(_LINGER, self._part, sock)

    def close_all(self) -> None:
        """Close whoever lingers still."""
        for sock in list(self._lingering):
            self._part(sock)

    def _on_readable(self, sock: socket.socket) -> None:
        try:
            ended = _drop_input(sock)
        except OSError:
            ended = True
        if ended:
            self._part(sock)

    def _part(self, sock: socket.socket) -> None:
        self._lingering.pop(sock).cancel()
        self._loop.remove_reader(sock.fileno())
        sock.close()


def _say(sock: socket.socket, message: bytes) -> None:
    if message:
        sock.send(message)
    sock.shutdown(socket.SHUT_WR)


def _drop_input(sock: socket.socket) -> bool:
    """Read and forget what is there; tell whether that was all there will be."""
    for _ in range(_CHUNKS_PER_TURN):
        try:
            if not sock.recv(_CHUNK):
                return True
        except BlockingIOError:
            return False
    return False
