"""How much processor time another process has used."""

import time

__all__ = ["processor_time"]


def processor_time(pid: int) -> float:
    """Return how many seconds of processor time a process has used, with threads that have ended.

    Raises:
        OSError: There is no such process.
    """
    # Linux makes the number of a process' clock from its pid: clock_getcpuclockid(3).
    return time.clock_gettime((~pid << 3) | 2)
