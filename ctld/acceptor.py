"""Acceptor: takes clients from a listening socket, and lives through a lack of descriptors.

When the process or the machine runs out of descriptors, `accept()` fails while the waiting
client keeps the socket readable: a naive loop would spin.  The acceptor keeps one descriptor
in reserve; it gives that up to take one client and tell it why it is turned away, then stops
asking for a moment.  The other clients wait in the kernel's queue and are served as
soon as there are descriptors again.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Final

from ctld.endpoint import Endpoint

__all__ = ["Acceptor"]

# Clients accepted per turn of the loop: enough to keep up with any crowd, few enough that
# those who are connected already do not wait for a millisecond.
_BATCH: Final = 64

# Most clients come alone, and to look for another one in vain costs as much as to take one.  So
# after that was in vain, it is left out for so many turns.
_TURNS_ALONE: Final = 4

# How soon to try again after descriptors ran out, where nobody tells us earlier.
_RETRY: Final = 0.1

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

# What accept(2) reports of one client that is lost already, and not of the listening socket.
_CLIENT_LOST: Final = frozenset(
    {
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENONET,
        errno.ENOPROTOOPT,
        errno.EPERM,
        errno.EPROTO,
    }
)


class Acceptor:
    """Accepts the clients of one endpoint, from construction until `stop()`."""

    __slots__ = (
        "_endpoint",
        "_exhausted",
        "_fd",
        "_loop",
        "_on_accept",
        "_on_exhausted",
        "_paused",
        "_refuse",
        "_reserve",
        "_retry",
        "_stopped",
        "_turns_alone",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        endpoint: Endpoint,
        on_accept: Callable[[socket.socket], None],
        on_exhausted: Callable[[bool], None],
        *,
        refuse: Callable[[socket.socket], None] = socket.socket.close,
    ) -> None:
        """Begin to accept.

        Args:
            loop: The loop to accept on.
            endpoint: Where the clients come in; the caller closes it, after `stop()`.
            on_accept: Gets each client's socket (non-blocking, close-on-exec) and owns it then.
            on_exhausted: Told True when descriptors have run out, and False when there are some again.
            refuse: Gets the socket of a client for whom there is no descriptor, and must close it at once.
        """
        self._loop = loop
        self._endpoint = endpoint
        self._fd = endpoint.socket.fileno()
        self._on_accept = on_accept
        self._on_exhausted = on_exhausted
        self._refuse = refuse
        self._reserve = _open_reserve()
        self._retry: asyncio.TimerHandle | None = None
        self._exhausted = False
        self._paused = False
        self._stopped = False
        self._turns_alone = 0
        loop.add_reader(self._fd, self._on_readable)

    @property
    def exhausted(self) -> bool:
        """Whether clients have to wait because there are no descriptors."""
        return self._exhausted

    def pause(self) -> None:
        """Let clients wait in the kernel's queue, until `resume()`."""
        self._paused = True
        self._stop_reading()

    def resume(self) -> None:
        """Accept again after `pause()`."""
        if not self._stopped:
            self._paused = False
            self._try_again()

    def descriptor_freed(self) -> None:
        """Try again at once if descriptors had run out; costs nothing otherwise.

        May come too early, before the descriptor really is free: then nobody is turned away for it.
        """
        if self._retry is not None:
            self._try_again(turn_away=False)

    def stop(self) -> None:
        """Accept no more; once or more often.  The endpoint stays open."""
        self._stopped = True
        self._stop_reading()
        if self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None

    def _stop_reading(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._loop.remove_reader(self._fd)

    def _try_again(self, *, turn_away: bool = True) -> None:
        self._stop_reading()
        self._turns_alone = 0  # they may have become many meanwhile
        self._loop.add_reader(self._fd, self._on_readable)
        self._on_readable(turn_away=turn_away)  # with nobody waiting too: it says whether there are descriptors

    def _on_readable(self, *, turn_away: bool = True) -> None:
        batch = _BATCH
        if self._turns_alone:
            self._turns_alone -= 1
            batch = 1
        for number in range(batch):
            try:
                sock, _address = self._endpoint.socket.accept()
            except BlockingIOError:
                if number == 1:
                    self._turns_alone = _TURNS_ALONE
                break
            except OSError as error:
                if error.errno in _CLIENT_LOST:
                    continue
                if error.errno in _EXHAUSTED:
                    self._starve(turn_away=turn_away)
                    return
                self.stop()  # the listening socket itself is broken: the loop reports that, once
                raise
            try:
                sock.setblocking(False)
                self._on_accept(sock)
            except BaseException:
                sock.close()
                raise
            if self._paused or self._stopped:
                break
        self._recover()

    def _starve(self, *, turn_away: bool) -> None:
        first = not self._exhausted
        self._exhausted = True
        self._stop_reading()
        self._retry = self._loop.call_later(_RETRY, self._try_again)
        if turn_away and self._reserve is not None:
            os.close(self._reserve)
            self._reserve = None
            self._turn_one_away()
            self._reserve = _open_reserve()
        if first:
            self._on_exhausted(True)

    def _turn_one_away(self) -> None:
        try:
            sock, _address = self._endpoint.socket.accept()
        except OSError:
            return  # gone meanwhile; or another thread took the descriptor
        sock.setblocking(False)
        self._refuse(sock)

    def _recover(self) -> None:
        if not self._exhausted:
            return
        self._exhausted = False
        if self._reserve is None and not self._stopped:
            self._reserve = _open_reserve()
        self._on_exhausted(False)


def _open_reserve() -> int | None:
    try:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None  # the shortage is there before the first client is
