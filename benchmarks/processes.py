"""Start servers and load generators, each on a processor of its own."""

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

__all__ = ["LOAD", "ROOT", "SERVER", "BenchmarkError", "only_one_processor", "pinned", "running", "serving"]

ROOT = Path(__file__).parents[1]

# Which of the processors that we may use is whose.
SERVER = 0
LOAD = 1

# Importing grpc on a busy machine takes seconds.
START_TIMEOUT = 30.0


class BenchmarkError(Exception):
    """A server does not start, or a load generator fails."""


def pinned(processor: int) -> list[str]:
    """Return what a command begins with to stay on one processor; nothing where there is just one."""
    usable = sorted(os.sched_getaffinity(0))
    if shutil.which("taskset") and processor < len(usable):
        return ["taskset", "-c", str(usable[processor])]
    return []


def only_one_processor() -> bool:
    """Tell whether servers and load generators have to share one."""
    return len(os.sched_getaffinity(0)) < 2


@contextmanager
def running(command: Sequence[str], name: str, *, processor: int = SERVER) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; it says `ready` when it listens.

    Raises:
        BenchmarkError: It ended, or said something else, or nothing for too long.
    """
    with subprocess.Popen(
        [*pinned(processor), *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            readable, _, _ = select.select([process.stdout], [], [], START_TIMEOUT)
            if not readable or process.stdout.readline() != b"ready\n":
                process.kill()
                complaint = process.stderr.read().decode(errors="replace").strip().rpartition("\n")[2]
                raise BenchmarkError(f"{name} does not start: {complaint or 'it says nothing'}")
            yield process
        finally:
            process.kill()


def serving(
    module: str, *args: str, python: Sequence[str] = (sys.executable,), processor: int = SERVER
) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Run `python -m module args...` as `running()` does."""
    return running([*python, "-m", module, *args], module, processor=processor)
