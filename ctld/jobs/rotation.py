"""Which output files have grown too large, looked at now and then.

This is the one thing here that looks instead of being told, because nobody tells that a file
has grown: the child writes by itself.  There is a timer only while a job wants rotation.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from typing import Final

from ctld.jobs.output import rotate

__all__ = ["LogRotation"]

logger = logging.getLogger("ctld.jobs")

# A file overshoots its bound by what a job writes in this time; looking at 400 files takes 1 ms.
_INTERVAL: Final = 10.0


class LogRotation:
    """Rotates output files.

    Args:
        wanted: Tells which files to watch: path to (largest size, backups).
        interval: Seconds between two looks.
    """

    def __init__(self, wanted: Callable[[], Mapping[str, tuple[int, int]]], interval: float = _INTERVAL) -> None:
        self._wanted = wanted
        self._interval = interval
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Begin to look, if there is anything to look at."""
        if self._timer is None and self._wanted():
            self._timer = asyncio.get_running_loop().call_later(self._interval, self._look)

    async def close(self) -> None:
        """Stop looking; a rotation that has begun is finished."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._running:
            await asyncio.wait(self._running)

    def _look(self) -> None:
        self._timer = None
        if not self._running:  # else the last round is not over
            due = {path: backups for path, (bound, backups) in self._wanted().items() if _size(path) > bound}
            if due:
                task = asyncio.get_running_loop().create_task(self._rotate(due))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        self.wake()

    async def _rotate(self, due: Mapping[str, int]) -> None:
        for path, backups in due.items():
            try:
                await asyncio.to_thread(rotate, path, backups)
            except OSError as error:
                logger.warning("cannot rotate %s: %s", path, error)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0  # gone: there is nothing to rotate
