"""Run the micro benchmarks in this process: `python -m benchmarks.micro_run [LIBRARY]`.

With the library of `callgrind_mark.c` the tool that this process runs under counts between
marks; the names of its dumps say what they are of.  Without one, time is measured.  Prints
JSON: for every case the numbers of one measurement after the other.
"""

import ctypes
import gc
import json
import sys
import time
from collections.abc import Callable

import uvloop

from benchmarks.micro_cases import CASES, Run, ready_of

__all__ = ["TIMED"]

# How often each case is timed.  Counting needs no second time.
TIMED = 15


async def measure(mark: Callable[[bytes], object] | None) -> dict[str, list[float]]:
    """Run every case once and twice as long, after it has become warm."""
    found: dict[str, list[float]] = {}
    for name, case in CASES.items():
        async with ready_of(case) as run:
            times = case.times
            await run(times)
            gc.collect()
            if mark is None:
                found[name] = [await _timed(run, times) / case.each for _ in range(TIMED)]
                continue
            mark(b"")
            await run(times)
            mark(f"{name}|1".encode())
            await run(2 * times)
            mark(f"{name}|2".encode())
    return found


async def _timed(run: Run, times: int) -> float:
    """Return the nanoseconds that one time takes."""
    begun = time.perf_counter_ns()
    await run(times)
    return (time.perf_counter_ns() - begun) / times


def main() -> None:
    """Measure, and print."""
    mark = None
    if len(sys.argv) > 1:
        mark = ctypes.CDLL(sys.argv[1]).mark
        mark.argtypes = [ctypes.c_char_p]
    print(json.dumps(uvloop.run(measure(mark))))


if __name__ == "__main__":
    main()
