"""What the processes of jobs use of the machine, as `/proc` tells it.

A job's process leads a session of its own, and whatever it starts is in that session unless
it makes another one; so one pass over `/proc` sums up all jobs.  Nothing is sampled while
nobody asks.
"""

import os
import time
from collections.abc import Callable
from typing import Final, NamedTuple

__all__ = ["Usage", "UsageMeter", "parse_stat", "read_usage"]

_TICK: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

# Two questions in quick succession would divide one tick of the clock by almost nothing.
_SHORTEST_SPAN: Final = 0.2

# Fields of /proc/PID/stat, counted after the name of the program, which may hold anything.
_SESSION, _UTIME, _STIME, _RSS = 3, 11, 12, 21


class Usage(NamedTuple):
    """What a session uses.

    Attributes:
        cpu_time: Seconds of CPU that its processes have used.
        memory: Bytes of memory that are resident; shared ones count for each process.
    """

    cpu_time: float
    memory: int


def parse_stat(text: str) -> tuple[int, Usage]:
    """Read a line of `/proc/PID/stat`: the session, and what the process uses.

    Raises:
        ValueError: It is none.
    """
    fields = text.rpartition(")")[2].split()
    if len(fields) <= _RSS:
        raise ValueError("too short")
    cpu_time = (int(fields[_UTIME]) + int(fields[_STIME])) / _TICK
    return int(fields[_SESSION]), Usage(cpu_time, int(fields[_RSS]) * _PAGE)


def read_usage(root: str = "/proc") -> dict[int, Usage]:
    """Return what each session uses, by its id; it reads a file per process of the machine.

    Where that cannot be read at all, as without descriptors, nothing is known.
    """
    sessions: dict[int, Usage] = {}
    try:
        names = os.listdir(root)
    except OSError:
        return {}
    for name in names:
        if not name.isdigit():
            continue
        try:
            with open(f"{root}/{name}/stat", encoding="utf-8", errors="replace") as file:
                session, used = parse_stat(file.read())
        except (OSError, ValueError):
            continue  # it has just ended
        before = sessions.get(session, Usage(0.0, 0))
        sessions[session] = Usage(before.cpu_time + used.cpu_time, before.memory + used.memory)
    return sessions


class UsageMeter:
    """Turns CPU time into percent: since the last question, else since the process was started.

    Args:
        clock: A monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[int, tuple[float, float, float]] = {}

    def percent(self, pid: int, cpu_time: float, uptime: float) -> float:
        """Return how much of one CPU a process uses.

        Args:
            pid: The process.
            cpu_time: Seconds of CPU that it has used.
            uptime: Seconds since it was started.
        """
        now = self._clock()
        at, before, percent = self._last.get(pid, (now - uptime, 0.0, 0.0))
        if at < now - uptime - _SHORTEST_SPAN:  # that was another process of the same number
            at, before, percent = now - uptime, 0.0, 0.0
        if now - at >= _SHORTEST_SPAN:
            percent = max(cpu_time - before, 0.0) / (now - at) * 100
            self._last[pid] = (now, cpu_time, percent)
        return round(percent, 1)

    def forget_others(self, pids: set[int]) -> None:
        """Keep what is known of these processes only."""
        for pid in self._last.keys() - pids:
            del self._last[pid]
