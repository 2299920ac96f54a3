"""The clients of one round: as many as there are to be, whoever of them dies."""

import os
import signal
import time
from pathlib import Path
from typing import Final

from benchmarks.soak.children import Children
from benchmarks.soak.client import CRASHED, MIXES, start_client
from benchmarks.soak.link import PATIENCE, Where

__all__ = ["Crowd"]

_PATIENCE: Final = PATIENCE + 15  # seconds for the last thing that a client does


class Crowd:
    """The clients.

    Args:
        where: The daemon.
        folder: Where their notes go.
        seed: Their chance.
        count: How many there are at once.
        children: Who learns of their ends.

    Attributes:
        crashed: How many had a defect of their own.
        started: How many there have been.
    """

    def __init__(self, where: Where, folder: Path, seed: str, count: int, children: Children) -> None:
        self.crashed = 0
        self.started = 0
        self._where = where
        self._folder = folder
        self._seed = seed
        self._mixes = [mix for _ in range(count) for mix in MIXES][:count]
        self._children = children
        self._places: list[int] = []
        self._endless = ""

    @property
    def pids(self) -> list[int]:
        """Those who are there."""
        return list(self._places)

    def begin(self, endless: str) -> None:
        """Let them come.

        Args:
            endless: An operation that never ends.
        """
        self._endless = endless
        self._places = [self._start(mix) for mix in self._mixes]

    def tend(self) -> None:
        """Replace those who have ended."""
        for place, pid in enumerate(self._places):
            status = self._children.status(pid)
            if status is not None:
                self.crashed += status == CRASHED
                self._places[place] = self._start(self._mixes[place])

    def signal(self, pids: list[int], number: signal.Signals) -> None:
        """Send a signal to those of them who are still there."""
        for pid in pids:
            if pid in self._places and self._children.status(pid) is None:
                os.kill(pid, number)

    def end(self) -> None:
        """Let each finish what it is at, and go."""
        self.signal(self.pids, signal.SIGCONT)
        self.signal(self.pids, signal.SIGTERM)
        give_up = time.monotonic() + _PATIENCE
        for pid in self._places:
            status = self._children.wait(pid, max(give_up - time.monotonic(), 0))
            if status is None:
                os.kill(pid, signal.SIGKILL)
                self._children.wait(pid, _PATIENCE)
            self.crashed += status is None or status == CRASHED
        self._places = []

    def _start(self, mix: str) -> int:
        self.started += 1
        name = f"c{self.started}"
        seed = f"{self._seed}/{name}"
        return self._children.started(start_client(self._where, self._endless, self._folder, name, seed, mix))
