"""What one command on the command line costs: `ctlctl ping` from the start of its process to the end.

It is measured beside an interpreter that does nothing, and beside `supervisorctl version`,
which asks its daemon one question as well.  All of them are run by the interpreter's own
binary, never by a shim that looks for one, in turns, in random order; ratios are taken per
round.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.alone import run_alone
from benchmarks.goals import START
from benchmarks.peers_venv import peers_python
from benchmarks.processes import LOAD, ROOT, BenchmarkError
from benchmarks.results import Goal, Plan, Row, missing, row_of
from benchmarks.servers import OURS, PEERS, start

__all__ = ["measure"]

SCENARIO = "start-up of a command line"
AGAINST_NOTHING = Goal(START, "<=", 2.5)
AGAINST_SUPERVISORCTL = Goal(START, "<=", 0.4)

NOTHING = "python -c pass"
PING = "ctlctl ping"
NEIGHBOUR = "supervisorctl version"

FULL = next(subject for subject in OURS if subject.args == ("full",))
SUPERVISORD = next(subject for subject in PEERS if subject.name == "supervisord")

# A process takes tens of milliseconds, so there may be more rounds than of slices.
ROUNDS_EACH = 3


def measure(plan: Plan) -> list[Row]:
    """Measure whole processes."""
    with ExitStack() as stack:
        lineup = start(stack, plan.scratch, [FULL, SUPERVISORD])
        commands = {NOTHING: [sys.executable, "-c", "pass"], PING: _ping(lineup.paths[FULL.name])}
        why_not = lineup.missing.get(SUPERVISORD.name, "")
        if not why_not:
            try:
                commands[NEIGHBOUR] = _supervisorctl(lineup.paths[SUPERVISORD.name])
            except BenchmarkError as exc:
                why_not = str(exc)
        with _on(LOAD):
            times = _time(commands, plan.rounds * ROUNDS_EACH, plan.random())
    rows = [row_of(SCENARIO, name, [1000 * each for each in seconds], "ms") for name, seconds in times.items()]
    rows.append(_ratio(times, NOTHING, AGAINST_NOTHING))
    if why_not:
        rows.append(missing(SCENARIO, f"{PING} / {NEIGHBOUR}", "x", why_not, AGAINST_SUPERVISORCTL))
    else:
        rows.append(_ratio(times, NEIGHBOUR, AGAINST_SUPERVISORCTL))
    return rows


def _ping(path: Path) -> list[str]:
    """Return the command that asks ctld: the installed script where there is one."""
    script = Path(sys.executable).with_name("ctlctl")
    program = [str(script)] if script.exists() else [sys.executable, "-m", "ctlctl"]
    return [*program, "-s", str(path), "ping"]


def _supervisorctl(path: Path) -> list[str]:
    return [str(peers_python()), "-m", "supervisor.supervisorctl", "-s", f"unix://{path}", "version"]


def _time(commands: Mapping[str, Sequence[str]], rounds: int, order: random.Random) -> dict[str, list[float]]:
    """Run commands in turns; the first round fills the caches, and does not count.

    Raises:
        BenchmarkError: One fails.
    """
    times: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name in order.sample(sorted(commands), len(commands)):
            seconds = _run(commands[name])
            if number:
                times[name].append(seconds)
    return times


@contextmanager
def _on(processor: int) -> Iterator[None]:
    """Stay on one processor, where there are several; programs that are started do, too.

    What is timed must not begin with a program that only sets that.
    """
    usable = os.sched_getaffinity(0)
    if processor < len(usable):
        os.sched_setaffinity(0, {sorted(usable)[processor]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


def _run(command: Sequence[str]) -> float:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CTLD_"))}
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[:200]}")
    return seconds


def _ratio(times: Mapping[str, Sequence[float]], beside: str, goal: Goal) -> Row:
    """Compare round by round, so that a machine that is slow for a while is slow for both."""
    ratios = [mine / other for mine, other in zip(times[PING], times[beside], strict=True)]
    return row_of(SCENARIO, f"{PING} / {beside}", ratios, "x", goal)


if __name__ == "__main__":
    raise SystemExit(run_alone("startup", __doc__, measure))
