"""How much of a slice other programs took: on a machine that is shared, such a slice says little.

Linux counts for each thread how long it was ready to run while another one ran; for a server
of one thread that is the answer.  One with several threads is in its own way, so of it the
processor time is taken: while more is asked of a server than it can serve, it should have
all of its processor.
"""

import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Process", "Watch"]


@dataclass(frozen=True, slots=True)
class Process:
    """A server, as far as it matters here."""

    pid: int
    threaded: bool = False


class Watch:
    """What happens to a server from now on.

    Args:
        process: The server.
        saturated: Whether it gets as much to do as it can.
    """

    def __init__(self, process: Process, *, saturated: bool) -> None:
        self._process = process
        self._saturated = saturated
        self._before = self._now()

    def disturbed(self, seconds: float) -> float:
        """Return the share of so many seconds that others took, as far as that can be told."""
        change = self._now() - self._before
        if not self._process.threaded:
            return change / seconds
        return max(0.0, 1 - change / seconds) if self._saturated else 0.0

    def _now(self) -> float:
        return processor_time(self._process.pid) if self._process.threaded else waited(self._process.pid)


def waited(pid: int) -> float:
    """Return for how many seconds the first thread of a process was ready to run, and another one ran."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:  # a kernel that does not count
        return 0.0


def processor_time(pid: int) -> float:
    """Return how many seconds of processor time a process has used, with threads that have ended."""
    # Linux makes the number of a process' clock from its pid: clock_getcpuclockid(3).
    return time.clock_gettime((~pid << 3) | 2)
