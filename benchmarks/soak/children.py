"""The children of the soak: the daemon, the clients, and what the daemon has left behind.

The soak adopts whatever loses its parent below it, so that nothing gets away unseen.
"""

import ctypes
import os
import time
from typing import Final

__all__ = ["Children", "adopt_orphans"]

_PR_SET_CHILD_SUBREAPER: Final = 36

_LOOK: Final = 0.01  # seconds between two looks for one that has ended


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own.

    Raises:
        OSError: The kernel cannot do that.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Children:
    """Takes leave of children that have ended, whosever they were, and remembers how."""

    def __init__(self) -> None:
        self._ended: dict[int, int] = {}

    def started(self, pid: int) -> int:
        """Learn of a new one, whose number may have been another's before; return it."""
        self._ended.pop(pid, None)
        return pid

    def reap(self) -> dict[int, int]:
        """Return the exit status of all that have ended; of those whom a signal ended, minus its number."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return self._ended
            if pid == 0:
                return self._ended
            self._ended[pid] = os.waitstatus_to_exitcode(status)

    def status(self, pid: int) -> int | None:
        """Return the exit status of one; None: it still runs."""
        return self.reap().get(pid)

    def wait(self, pid: int, timeout: float) -> int | None:
        """Wait for the end of one, and return its exit status; None: it still runs."""
        give_up = time.monotonic() + timeout
        while (status := self.status(pid)) is None and time.monotonic() < give_up:
            time.sleep(_LOOK)
        return status
