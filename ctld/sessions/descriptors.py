"""A client's own descriptors as the standard streams of a program (N5.1)."""

import array
import asyncio
import fcntl
import os
import stat
import termios
from typing import Final

__all__ = ["PipeWatch"]

# A pipe that nobody has read anything from for so long is not being read.
_PATIENCE: Final = 1.0

# How often to look, in seconds: there is no event for a pipe that has become empty.  It begins
# with the first, and doubles up to the second.
_FIRST_LOOK: Final = 0.001
_SLOWEST_LOOK: Final = 0.05


class PipeWatch:
    """Keeps the pipes of a program open until their reader has emptied them.

    A client of version 1 stops reading when it hears of the end, and stops reading both pipes
    when one of them ends: so we hold each open, and tell of the end when all has been read.

    Args:
        fds: The writing ends that the program gets; what is no pipe is left alone.
    """

    def __init__(self, *fds: int) -> None:
        self._pipes: list[int] = []
        seen = set()
        for fd in fds:
            found = os.fstat(fd)
            if stat.S_ISFIFO(found.st_mode) and found.st_ino not in seen:
                seen.add(found.st_ino)
                self._pipes.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3))

    def close(self) -> None:
        """Let go of the pipes; once or more often."""
        while self._pipes:
            os.close(self._pipes.pop())

    async def emptied(self) -> None:
        """Wait until the pipes are empty, or nobody reads them any more."""
        loop = asyncio.get_running_loop()
        before, changed = self._waiting(), loop.time()
        pause = _FIRST_LOOK
        while before:
            await asyncio.sleep(pause)
            pause = min(pause * 2, _SLOWEST_LOOK)
            now = self._waiting()
            if now < before:
                changed = loop.time()
            elif loop.time() - changed >= _PATIENCE:
                return
            before = now

    def _waiting(self) -> int:
        count = array.array("i", [0])
        total = 0
        for fd in self._pipes:
            fcntl.ioctl(fd, termios.FIONREAD, count)
            total += count[0]
        return total
