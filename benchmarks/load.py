"""Run the load generator, the C one where there is a compiler; make rates of what it has counted.

Rates are per second of processor time.  A machine that is shared takes the processor from
server and load generator as it likes, and how long they then wait says nothing of them.  On a
machine that has nothing else to do it is the same: under load a server runs all the time.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import LOAD, ROOT, BenchmarkError, pinned
from benchmarks.wires import Request

__all__ = ["Load", "LoadGenerator", "build", "compiler", "rate_of"]

HERE = Path(__file__).parent

# A slice that takes so much longer than it should is stuck.
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """What one slice has measured."""

    rate: float  # answers per second
    busy: float  # how busy the load generator was; near 1, it was the bottleneck
    p50: float | None = None  # seconds for a request, where there was one at a time: the median
    least: float | None = None


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
        self, mode: str, path: Path | str, request: Request, connections: int, depth: int, seconds: float, server: int
    ) -> Load:
        """Measure one slice, in a mode that `load.c` explains.

        Args:
            mode: What to do.
            path: The socket.
            request: What to ask.
            connections: How many clients.
            depth: How many requests each has in flight, or what else the mode makes of it.
            seconds: How long.
            server: The process that serves.

        Raises:
            BenchmarkError: The server answered something else, or not at all.
        """
        how = [mode, request.framing, path, connections, depth, seconds, request.expected, server]
        found = self._run([str(each) for each in how], request.data, seconds)
        in_turn = connections == 1 and mode in {"flow", "cycle"}
        rate = rate_of(found["count"], found["seconds"], found["cpu"], found["server_cpu"], in_turn=in_turn)
        return Load(rate, found["cpu"] / found["seconds"], found.get("p50"), found.get("least"))

    def _run(self, how: Sequence[str], data: bytes, seconds: float) -> dict[str, float]:
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
        found: dict[str, float] = json.loads(done.stdout)
        return found


def rate_of(count: float, seconds: float, load_cpu: float, server_cpu: float, *, in_turn: bool) -> float:
    """Return answers per second of the processor time that they took.

    Args:
        count: The answers.
        seconds: How long it took by the clock on the wall, in case that no other one is known.
        load_cpu: The processor time of the load generator.
        server_cpu: The processor time of the server.
        in_turn: Whether one of the two had to wait while the other one ran; else they ran
            side by side, and the busier one sets the pace.
    """
    if not server_cpu:
        return count / seconds
    return count / (server_cpu + load_cpu if in_turn else max(server_cpu, load_cpu))


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
