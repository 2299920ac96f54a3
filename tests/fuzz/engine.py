"""How a target is run: guided by coverage where atheris is installed, else by the mutator of our own."""

import hashlib
import importlib.util
import random
import re
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

from tests.fuzz.mutator import mutate_for
from tests.fuzz.targets import Target

__all__ = ["Outcome", "guided", "has_atheris", "keep", "own", "replay"]

_GUIDED = Path(__file__).parent / "guided.py"

_ROUND_TIMEOUT = 30  # seconds for one input, under a loaded machine's worst moment
_MEMORY = 2048  # MiB
_GRACE = 120  # seconds beyond its time in which libFuzzer has to come to an end

_ROOT = Path(__file__).parents[2]
_CODE = (f"{_ROOT}/ctld/", f"{_ROOT}/ctlctl/")

_Way: TypeAlias = tuple[str, int, int]

# What is kept of what a run has found out: small enough to be replayed by every ordinary run.
_MAX_KEPT_SIZE = 400
_MAX_KEPT_BYTES = 16 * 1024


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        executions: How many inputs were tried.
        edges: How much of the code they reached, as libFuzzer counts; None: nobody counted.
        finding: The file with the input of a finding.
        report: What to tell of it.
    """

    executions: int
    edges: int | None = None
    finding: Path | None = None
    report: str = ""

    @property
    def found(self) -> bool:
        return bool(self.finding or self.report)


def has_atheris() -> bool:
    return importlib.util.find_spec("atheris") is not None


def own(target: Target, seconds: float, folder: Path) -> Outcome:
    """Run a target without guidance; write the input of a finding into a folder."""
    rounds, data, exc = mutate_for(target, seconds, random.SystemRandom().randrange(2**32))
    if data is None or exc is None:
        return Outcome(rounds)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{target.name}-{_name(data)}"
    path.write_bytes(data)
    return Outcome(rounds, None, path, "".join(traceback.format_exception(exc)))


def guided(target: Target, seconds: float, folder: Path, grown: Path) -> Outcome:
    """Run a target guided by coverage.

    Args:
        target: What to run.
        seconds: For how long.
        folder: Where the input of a finding goes.
        grown: Where inputs that reach something new are collected.
    """
    folder.mkdir(parents=True, exist_ok=True)
    grown.mkdir(parents=True, exist_ok=True)
    command = [
        *(sys.executable, str(_GUIDED), target.name, str(grown)),
        *([str(target.folder)] if target.seeds() else []),
        *([f"-dict={target.dictionary}"] if target.dictionary.exists() else []),
        *(f"-max_total_time={max(1, int(seconds))}", f"-timeout={_ROUND_TIMEOUT}", f"-rss_limit_mb={_MEMORY}"),
        *(f"-max_len={target.max_size}", f"-artifact_prefix={folder}/{target.name}-", "-print_final_stats=1"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds + _GRACE)
    said = done.stdout + done.stderr
    written = re.findall(r"Test unit written to (\S+)", said)
    edges = re.findall(r"cov: (\d+)", said)
    executions = re.findall(r"stat::number_of_executed_units: (\d+)", said)
    return Outcome(
        int(executions[-1]) if executions else 0,
        int(edges[-1]) if edges else 0,
        Path(written[-1]) if written and done.returncode else None,
        _told(said) if done.returncode else "",
    )


def _told(said: str) -> str:
    """Return the part of libFuzzer's output that tells of the finding."""
    lines = [line[:1000] for line in said.splitlines() if not line.startswith("INFO: Instrumenting")]
    start = next((number for number, line in enumerate(lines) if "Uncaught Python exception" in line), -60)
    return "\n".join(lines[start:][:60])


def keep(target: Target, grown: Path, into: Path) -> int:
    """Add to a corpus the shortest inputs that take ctld's code a way that nothing in the kept one does.

    Args:
        target: What the inputs are for.
        grown: Where they were collected.
        into: Where they go.

    Returns:
        How many there are.
    """
    seen: set[_Way] = set()
    kept = [path.read_bytes() for path in target.seeds()]
    for data in kept:
        seen |= _ways(target, data)
    room, added = _MAX_KEPT_BYTES - sum(map(len, kept)), 0
    for data in sorted((path.read_bytes() for path in grown.iterdir()), key=len):
        if len(data) > min(_MAX_KEPT_SIZE, room):
            break
        ways = _ways(target, data)
        if not ways <= seen:
            seen |= ways
            room -= len(data)
            added += 1
            into.mkdir(parents=True, exist_ok=True)
            (into / _name(data)).write_bytes(data)
    return added


def _name(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()[:12]


def _ways(target: Target, data: bytes) -> set[_Way]:
    """Return the steps from line to line that an input takes through ctld."""
    ways: set[_Way] = set()

    def begin(frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename
        if not name.startswith(_CODE):
            return None
        last = 0

        def step(frame: FrameType, event: str, arg: object) -> Callable[..., Any]:
            nonlocal last
            if event == "line":
                ways.add((name, last, frame.f_lineno))
                last = frame.f_lineno
            return step

        return step

    before = sys.gettrace()
    sys.settrace(begin)
    try:
        target.fuzz_one(data)
    finally:
        sys.settrace(before)
    return ways


def replay(target: Target, path: Path) -> Outcome:
    """Run a target on the bytes of a file."""
    try:
        target.fuzz_one(path.read_bytes())
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is the finding
        return Outcome(1, None, path, "".join(traceback.format_exception(exc)))
    return Outcome(1)
