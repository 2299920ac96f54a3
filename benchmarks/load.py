"""Run the load generator, the C one where there is a compiler."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.interference import Process, Watch
from benchmarks.processes import LOAD, ROOT, BenchmarkError, only_one_processor, pinned
from benchmarks.wires import Request

__all__ = ["Load", "LoadGenerator", "build", "compiler", "undisturbed"]

HERE = Path(__file__).parent

# A slice counts when other programs took less of it than this; else it is measured again, so
# many times in all, and the one that was disturbed least counts.
DISTURBED = 0.10
TRIES = 3

# What the server loses to others is taken out of the time.  Of a slice that is nearly all
# lost, what remains tells nothing: it must not become a huge figure.
LEAST_KEPT = 0.2

# A slice that takes so much longer than it should is stuck.
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """What one slice has measured."""

    rate: float  # answers per second
    cpu: float  # how busy the load generator was; near 1, it was the bottleneck
    seconds: float = 0.0  # how long it really took
    disturbed: float = 0.0  # the share for which server or load generator could have run, and others did
    p50: float | None = None  # seconds for a request, where there was one at a time
    p99: float | None = None


def compiler() -> str | None:
    """Return the system's C compiler."""
    return shutil.which("cc") or shutil.which("gcc")


class LoadGenerator:
    """The load generator, ready to be run.

    Args:
        scratch: Where to build it.

    Attributes:
        note: What to tell of it: nothing, or that it is slow.
    """

    def __init__(self, scratch: Path) -> None:
        self.note = ""
        if compiler() is None:
            self.note = "no C compiler: the load generator is Python and may be the bottleneck"
            self._command = [sys.executable, "-m", "benchmarks.python_load"]
        else:
            build(scratch / "load", "load.c", "wires.c")
            self._command = [str(scratch / "load")]

    def run(
        self,
        mode: str,
        path: Path | str,
        request: Request,
        connections: int,
        depth: int,
        seconds: float,
        process: Process | None = None,
    ) -> Load:
        """Measure one slice, in a mode that `load.c` explains.

        Args:
            mode: What to do.
            path: The socket.
            request: What to ask.
            connections: How many clients.
            depth: How many requests each has in flight, or what else the mode makes of it.
            seconds: How long.
            process: The server; what disturbs it is noticed, then.

        Raises:
            BenchmarkError: The server answered something else, or not at all.
        """
        how = [mode, request.framing, str(path), str(connections), str(depth), str(seconds), request.expected]
        saturated = connections * depth > 1

        def slice_() -> Load:
            watch = Watch(process, saturated=saturated) if process else None
            load = self._once(how, request.data, seconds)
            lost = watch.disturbed(load.seconds) if watch else 0.0
            return load if only_one_processor() else undisturbed(load, lost)

        best = slice_()
        for _ in range(TRIES - 1):
            if best.disturbed <= DISTURBED:
                break
            best = min(best, slice_(), key=lambda load: load.disturbed)
        return best

    def _once(self, how: Sequence[str], data: bytes, seconds: float) -> Load:
        try:
            done = subprocess.run(
                [*pinned(LOAD), *self._command, *how],
                input=data,
                capture_output=True,
                cwd=ROOT,
                timeout=seconds + PATIENCE,
            )
        except subprocess.TimeoutExpired as exc:
            raise BenchmarkError(f"the load generator is stuck: {' '.join(how[:3])}") from exc
        if done.returncode:
            raise BenchmarkError(done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:200])
        found = json.loads(done.stdout)
        return Load(
            found["rate"],
            found["cpu"],
            found["count"] / found["rate"],
            found["waited"],
            found.get("p50"),
            found.get("p99"),
        )


def undisturbed(load: Load, lost: float) -> Load:
    """Return what the rate would have been, had nobody else used the server's processor.

    Args:
        load: What was measured.
        lost: The share of its time that the server lost to other programs.
    """
    kept = max(1.0 - lost, LEAST_KEPT)
    return replace(load, rate=load.rate / kept, disturbed=max(load.disturbed, lost))


def build(target: Path, *sources: str) -> None:
    """Compile C sources of this folder.

    Raises:
        BenchmarkError: They do not compile, or there is no compiler.
    """
    cc = compiler()
    if cc is None:
        raise BenchmarkError("no C compiler")
    command = [cc, "-O2", "-o", str(target), *(str(HERE / source) for source in sources)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(sources)}: {done.stderr.strip()[:500]}")
