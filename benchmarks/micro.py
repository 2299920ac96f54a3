"""Micro benchmarks: what each part of a request's way costs, by itself and without a socket.

Where `valgrind` is installed, with its header and a compiler, instructions are counted: a
number that hardly changes from run to run, however busy the machine is, so that a change of
three percent shows.  Elsewhere time is measured, which shows no such thing.

The counts are held against those of an earlier state, which lie in `baseline.json` for each
version of Python and set of instructions; `--update` takes the new ones over.
"""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from benchmarks.alone import format_rows
from benchmarks.load import compiler
from benchmarks.micro_cases import CASES
from benchmarks.processes import ROOT, BenchmarkError
from benchmarks.results import Plan, Row, missing, row_of

__all__ = ["compare", "count", "measure", "parse_dump", "per_time"]

SCENARIO = "micro"
BASELINE = Path(__file__).with_name("baseline.json")

# What makes a change worth a look.  From run to run counts differ by less than a percent.
TOLERANCE = 0.03

# A run takes under a minute; on a machine that is busy, several.
PATIENCE = 1800.0

# What counts depend on, beside the interpreter.
LIBRARIES = ("uvloop", "orjson", "msgspec")

Counts = Mapping[str, float]


def measure(plan: Plan) -> list[Row]:
    """Count instructions, or else measure time."""
    why_not = obstacle()
    if not why_not:
        try:
            return compare(count(plan.scratch), baseline())
        except BenchmarkError as exc:
            why_not = str(exc)
    try:
        times = json.loads(_run([sys.executable, "-m", "benchmarks.micro_run"]).stdout)
    except BenchmarkError as exc:
        return [missing(SCENARIO, name, "ns", str(exc)) for name in CASES]
    return [row_of(SCENARIO, name, values, "ns", note=f"no instructions: {why_not}") for name, values in times.items()]


def obstacle() -> str:
    """Say why instructions cannot be counted here; nothing if they can."""
    if shutil.which("valgrind") is None:
        return "valgrind is not installed"
    return "" if compiler() else "no C compiler"


def count(scratch: Path) -> dict[str, float]:
    """Return the instructions that one time of each case takes.

    Raises:
        BenchmarkError: They cannot be counted.
    """
    library = scratch / "mark.so"
    source = str(Path(__file__).with_name("callgrind_mark.c"))
    _run([compiler() or "cc", "-O2", "-shared", "-fPIC", "-o", str(library), source])
    dumps = scratch / "callgrind"
    dumps.mkdir(exist_ok=True)
    tool = ["valgrind", "--tool=callgrind", "--separate-threads=yes", f"--callgrind-out-file={dumps}/out"]
    _run([*tool, sys.executable, "-m", "benchmarks.micro_run", str(library)])
    # The main thread's: others write history, whenever the system lets them.
    found = dict(filter(None, (parse_dump(path.read_text()) for path in dumps.glob("out.*-01"))))
    if len(found) < 2 * len(CASES):
        raise BenchmarkError("callgrind has not written what it counted")
    return per_time(found)


def parse_dump(text: str) -> tuple[str, int] | None:
    """Return the name of a dump of callgrind, and what it counted; None of one without a name; pure."""
    name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
    total = re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
    return (name[1], int(total[1])) if name and total else None


def per_time(counts: Mapping[str, int]) -> dict[str, float]:
    """Return what one time of each case takes, from runs that are one and two as long; pure."""
    return {
        name: (counts[f"{name}|2"] - counts[f"{name}|1"]) / (case.times * case.each) for name, case in CASES.items()
    }


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    # Hashes and the kernel's ways of polling must not differ from run to run.
    environment = {**os.environ, "PYTHONHASHSEED": "0", "UV_USE_IO_URING": "0"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise BenchmarkError(f"{command[0]}: {exc}") from exc
    if done.returncode:
        raise BenchmarkError(f"{command[0]}: {done.stderr.strip().rpartition(chr(10))[2][:200]}")
    return done


# The earlier state.


def place() -> str:
    """Name what counts can be compared with: the version of Python and the set of instructions."""
    return f"Python {'.'.join(platform.python_version_tuple()[:2])}, {platform.machine()}"


def baseline() -> Counts:
    """Return the counts of the earlier state; none where nothing was kept for this place."""
    kept = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    counts: Counts = kept.get(place(), {}).get("counts", {})
    return counts


def update(counts: Counts) -> None:
    """Keep counts for this place."""
    kept = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    versions = {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}}
    kept[place()] = {"versions": versions, "counts": {name: round(value) for name, value in counts.items()}}
    BASELINE.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")


def compare(counts: Counts, before: Counts) -> list[Row]:
    """Make rows of counts, with what has changed; pure."""
    return [
        Row(SCENARIO, name, value, value, value, "instructions", note=_change(value, before.get(name)))
        for name, value in counts.items()
    ]


def _change(value: float, before: float | None) -> str:
    if not before:
        return "nothing to compare with"
    change = value / before - 1
    verdict = "" if abs(change) <= TOLERANCE else (": costs more" if change > 0 else ": costs less")
    return f"{change:+.1%}{verdict}"


def main() -> int:
    """Measure, print what has changed, and return 1 if something costs more."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro", description=__doc__)
    parser.add_argument("--update", action="store_true", help="take the new counts over into baseline.json")
    parser.add_argument("--repeat", type=int, default=1, help="count so many times, and print the spread")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        if args.repeat > 1:
            return _spread([_counted(Path(scratch)) for _ in range(args.repeat)])
        rows = measure(Plan(rounds=1, seconds=1, full=False, scratch=Path(scratch)))
    print("\n".join(format_rows(rows)))
    if args.update and rows[0].unit == "instructions":
        update({row.subject: row.value or 0.0 for row in rows})
        print(f"kept for {place()}")
        return 0
    return 1 if any(row.note.endswith("costs more") for row in rows) else 0


def _counted(scratch: Path) -> dict[str, float]:
    for old in scratch.glob("callgrind/*"):
        old.unlink()
    return count(scratch)


def _spread(runs: list[dict[str, float]]) -> int:
    """Print how much counts differ from run to run."""
    for name in CASES:
        values = [run[name] for run in runs]
        middle = statistics.median(values)
        print(f"{name:42} {middle:12,.0f}  {(max(values) - min(values)) / middle:.2%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
