"""How a target is run: guided by coverage where atheris is installed, else by the mutator of our own."""

import hashlib
import importlib.util
import random
import re
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.mutator import mutate_for
from tests.fuzz.targets import Target

__all__ = ["Outcome", "guided", "has_atheris", "keep", "own", "replay"]

_GUIDED = Path(__file__).parent / "guided.py"

_ROUND_TIMEOUT = 30  # seconds for one input, under a loaded machine's worst moment
_MEMORY = 2048  # MiB
_GRACE = 120  # seconds beyond its time in which libFuzzer has to come to an end

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
    path = folder / f"{target.name}-{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"
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


def keep(target: Target, grown: Path) -> int:
    """Add to the kept corpus what reaches something that nothing in it does; return how many that are."""
    with tempfile.TemporaryDirectory() as chosen:
        command = [sys.executable, str(_GUIDED), target.name, "-set_cover_merge=1", chosen, str(grown)]
        subprocess.run(command, check=True, capture_output=True, timeout=600)
        found = sorted((path.read_bytes() for path in Path(chosen).iterdir()), key=len)
    known = {path.read_bytes() for path in target.seeds()}
    room = _MAX_KEPT_BYTES - sum(map(len, known))
    added = 0
    target.folder.mkdir(parents=True, exist_ok=True)
    for data in found:
        room -= len(data)
        if room < 0 or len(data) > _MAX_KEPT_SIZE:
            break
        if data not in known:
            (target.folder / hashlib.sha1(data, usedforsecurity=False).hexdigest()[:12]).write_bytes(data)
            added += 1
    return added


def replay(target: Target, path: Path) -> Outcome:
    """Run a target on the bytes of a file."""
    try:
        target.fuzz_one(path.read_bytes())
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is the finding
        return Outcome(1, None, path, "".join(traceback.format_exception(exc)))
    return Outcome(1)
