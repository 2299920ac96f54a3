"""Where a run took place: processor, kernel, interpreter, versions."""

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from benchmarks import peers_venv
from benchmarks.load import compiler
from benchmarks.processes import ROOT
from ctld.version import VERSION

__all__ = ["Machine", "this_machine"]

# What the request path consists of, and what else the comparison is with.
OWN = ("uvloop", "orjson", "msgspec")
PEERS = ("aiohttp", "starlette", "uvicorn", "varlink", "grpcio", "supervisor")


@dataclass(frozen=True, slots=True)
class Machine:
    """What a figure depends on."""

    processor: str
    processors: int  # those that we may use
    kernel: str
    python: str
    compiler: str
    commit: str
    load: float  # how many processes wanted a processor in the minute before
    versions: dict[str, str]

    def __str__(self) -> str:
        return (
            f"{self.processor}, {self.processors} processors, {self.kernel}, {self.python}, "
            f"{self.compiler or 'no C compiler'}, load {self.load:.1f}"
        )


def this_machine() -> Machine:
    """Look at the machine that we run on."""
    pinned = peers_venv.versions()
    return Machine(
        processor=processor_of(Path("/proc/cpuinfo").read_text()) or platform.machine(),
        processors=len(os.sched_getaffinity(0)),
        kernel=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        compiler=_first_line(compiler() or "", "--version"),
        commit=_first_line("git", "describe", "--always", "--dirty"),
        load=os.getloadavg()[0],
        versions={
            "ctld": VERSION,
            **{name: metadata.version(name) for name in OWN},
            **{name: pinned[name] for name in PEERS},
        },
    )


def processor_of(cpuinfo: str) -> str:
    """Return what the kernel calls the processor; nothing where it has no name for it."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in {"model name", "Model"}:
            return " ".join(value.split())
    return ""


def _first_line(program: str, *args: str) -> str:
    try:
        done = subprocess.run([program, *args], capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return ""
    return done.stdout.partition("\n")[0] if done.returncode == 0 else ""
