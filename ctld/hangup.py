"""HangupWatch: notices that a peer is gone although nobody reads from its socket.

A connection whose input is paused never sees end of file, so a command could work for hours
for somebody who left at once.  The kernel tells it all the same, as EPOLLHUP, which loops
do not let one ask for alone: a reader also wakes up for data, again and again.  So there is
one epoll instance of our own, in which sockets stand with no interest but the one that
cannot be switched off (EPOLLHUP and EPOLLERR), edge-triggered, and the loop watches that
instance as it would any descriptor.

What the kernel says, by transport:

UNIX: EPOLLHUP means that both directions are shut, which is what a peer that closed or died
leaves behind, whether or not it left unread data.  A peer that only half-closed gives EPOLLRDHUP,
which is not asked for: it still waits for its answers.

TCP: a peer that closes sends FIN, which cannot be told from a half-close, so it is not
reported; the next message that is sent to it provokes RST, and that (EPOLLERR and EPOLLHUP)
is.  So is a peer that resets at once because it had unread data or died with the connection,
and one that keep-alive has given up.

Either: once *we* have shut down our direction, a half-close by the peer makes the pair
complete and is reported.
"""

import asyncio
import contextlib
import select
from collections.abc import Callable
from typing import Final

__all__ = ["HangupWatch"]

# Hang-ups handled per turn of the loop; the rest comes in the next one.
_BATCH: Final = 256


class HangupWatch:
    """Calls back, once, when a watched descriptor's peer is gone."""

    __slots__ = ("_callbacks", "_epoll", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll: select.epoll | None = None
        self._callbacks: dict[int, Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self._callbacks)

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call back when the peer of a socket is gone, or is gone already; never from within this call.

        Args:
            fd: The socket's descriptor; `unwatch()` it before it is closed.
            callback: Called once at most.

        Raises:
            OSError: The descriptor cannot be watched, or there are no descriptors left for the watch itself.
        """
        if self._epoll is None:
            self._epoll = select.epoll()
            self._loop.add_reader(self._epoll.fileno(), self._on_events)
        self.unwatch(fd)
        self._epoll.register(fd, select.EPOLLET)
        self._callbacks[fd] = callback

    def unwatch(self, fd: int) -> None:
        """Watch a descriptor no longer; fine for one that is not watched."""
        if self._callbacks.pop(fd, None) is not None and self._epoll is not None:
            with contextlib.suppress(OSError):  # closed by mistake before this call: the kernel has forgotten it too
                self._epoll.unregister(fd)

    def close(self) -> None:
        """Watch nothing any more; once or more often."""
        self._callbacks.clear()
        if self._epoll is not None:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _on_events(self) -> None:
        # One at a time: a callback may close other watched sockets, or raise, and what has not
        # been taken from the instance by then is still there, although it is edge-triggered.
        for _ in range(_BATCH):
            if self._epoll is None or not (events := self._epoll.poll(0, 1)):
                return
            fd = events[0][0]
            callback = self._callbacks.get(fd)
            if callback is not None:
                self.unwatch(fd)
                callback()
