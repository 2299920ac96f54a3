"""Ping and echo, to all servers: one client (seq1), fifty (c50), one that pipelines (pipe64).

The servers are alive together.  In each round every one of them gets a short slice, in random
order, and its ratio to the yardstick in that round is what counts: what else the machine does
then hits both.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks import goals
from benchmarks.load import Load, LoadGenerator
from benchmarks.processes import BenchmarkError
from benchmarks.results import Goal, Plan, Row, missing, row_of
from benchmarks.servers import FLOOR, LIMIT_B, OURS, PEERS, TOLD, Lineup, Subject, start
from benchmarks.wires import KINDS, Kind, request_of

__all__ = ["SCENARIOS", "Scenario", "belongs", "measure", "ratios", "rounds_of", "rows_of"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """How many connections there are, and how many requests are in flight on each."""

    name: str
    connections: int
    depth: int
    kind: Kind

    @property
    def title(self) -> str:
        """What a report calls it."""
        return f"{self.name} {self.kind}"


SHAPES = {"c50": (50, 1), "pipe64": (1, 64), "seq1": (1, 1)}
SCENARIOS = tuple(Scenario(name, *shape, kind) for name, shape in SHAPES.items() for kind in KINDS)

# What the ratios to LIMIT-B should be; those of seq1 are of the time that a request takes.
OUR_GOALS = {
    ("ctld bare", "c50"): Goal(goals.BARE, ">=", 0.80),
    ("ctld bare", "pipe64"): Goal(goals.BARE, ">=", 0.80),
    ("ctld bare", "seq1"): Goal(goals.BARE, "<=", 1.10),
    ("ctld full", "c50"): Goal(goals.FULL, ">=", 0.70),
    ("ctld full", "pipe64"): Goal(goals.FULL, ">=", 0.60),
    ("ctld full", "seq1"): Goal(goals.FULL, "<=", 1.20),
}
PEER_GOALS = {
    "aiohttp": Goal(goals.PEERS, ">=", 2.5),
    "starlette": Goal(goals.PEERS, ">=", 2.5),
    "varlink": Goal(goals.PEERS, ">=", 4),
    "grpc.aio": Goal(goals.PEERS, ">=", 6),
    "supervisord": Goal(goals.PEERS, ">=", 10),
}

# How long a server gets to notice that the clients of its slice are gone.
BREATH = 0.01

Rounds = Mapping[str, Sequence[Load]]


def measure(plan: Plan) -> list[Row]:
    """Measure all scenarios; peers beside c50 only when all is wanted."""
    rows: list[Row] = []
    with ExitStack() as stack:
        generator = LoadGenerator(plan.scratch)
        subjects = [FLOOR, LIMIT_B, *OURS, TOLD, *PEERS]
        lineup = start(stack, plan.scratch, subjects)
        for scenario in SCENARIOS:
            wanted = [subject for subject in subjects if belongs(subject, scenario, full=plan.full)]
            print(f"  {scenario.title}", flush=True)
            rounds = _measure(plan, scenario, wanted, lineup, generator)
            rows += rows_of(scenario, wanted, rounds, lineup, generator.note)
    return rows


def belongs(subject: Subject, scenario: Scenario, *, full: bool) -> bool:
    """Tell whether a server is measured in a scenario: some take long, and are only wanted now and then."""
    if subject.echo and scenario.kind == "ping":
        return False
    return full or scenario.name == "c50" or not (subject.peer or subject.echo)


def _measure(
    plan: Plan, scenario: Scenario, subjects: Sequence[Subject], lineup: Lineup, generator: LoadGenerator
) -> Rounds:
    def slice_of(subject: Subject) -> Load:
        request = request_of(subject.wire, scenario.kind, subject.echo)
        path = lineup.paths[subject.name]
        pid = lineup.pids[subject.name]
        return generator.run("flow", path, request, scenario.connections, scenario.depth, plan.seconds, pid)

    alive = [subject for subject in subjects if subject.name in lineup.paths]
    return rounds_of(plan, alive, slice_of, lineup)


def rounds_of(plan: Plan, subjects: Sequence[Subject], slice_of: Callable[[Subject], Load], lineup: Lineup) -> Rounds:
    """Give each subject a slice in every round, in random order.

    A first round fills caches and is not counted.  A peer that fails is out of it, and says why.
    """
    order = plan.random()
    found: dict[str, list[Load]] = defaultdict(list)
    failed: dict[str, str] = {}
    for number in range(plan.rounds + 1):
        for subject in order.sample(subjects, len(subjects)):
            if subject.name in failed:
                continue
            try:
                load = slice_of(subject)
            except BenchmarkError as exc:
                if not subject.peer:
                    raise
                failed[subject.name] = str(exc)
                continue
            if number:
                found[subject.name].append(load)
            time.sleep(BREATH)
    for name, why in failed.items():
        found.pop(name, None)
        lineup.missing[name] = why
    return found


def ratios(ours: Sequence[Load], yardstick: Sequence[Load], *, of_time: bool = False) -> list[float]:
    """Divide round by round: the rates, or the median times of a request."""
    pairs = zip(ours, yardstick, strict=True)
    if of_time:
        return [(one.p50 or 0.0) / other.p50 for one, other in pairs if other.p50]
    return [one.rate / other.rate for one, other in pairs]


def rows_of(scenario: Scenario, subjects: Sequence[Subject], rounds: Rounds, lineup: Lineup, note: str) -> list[Row]:
    """Make the rows of a scenario: a ratio for each server, and in c50 what ctld is beside each peer."""
    of_time = scenario.name == "seq1"
    unit = "x time" if of_time else "x"
    yardstick = rounds[LIMIT_B.name]
    rows = [_absolute(scenario, yardstick, note, of_time=of_time)]
    for subject in subjects:
        goal = OUR_GOALS.get((subject.name, scenario.name))
        if subject is LIMIT_B:
            continue
        if subject.name not in rounds:
            rows.append(missing(scenario.title, subject.name, unit, lineup.missing[subject.name], goal))
            continue
        values = ratios(rounds[subject.name], yardstick, of_time=of_time)
        rows.append(row_of(scenario.title, subject.name, values, unit, goal, note))
    if scenario.name == "c50":
        rows += [_against(scenario, subject.name, rounds, lineup) for subject in subjects if subject.peer]
    return rows


def _absolute(scenario: Scenario, yardstick: Sequence[Load], note: str, *, of_time: bool) -> Row:
    busy = f"load generator {max(load.busy for load in yardstick):.0%} busy"
    said = "; ".join(filter(None, [busy, note]))
    if of_time:
        return row_of(scenario.title, LIMIT_B.name, [(load.p50 or 0.0) * 1e6 for load in yardstick], "us", None, said)
    return row_of(scenario.title, LIMIT_B.name, [load.rate for load in yardstick], "req/s", None, said)


def _against(scenario: Scenario, peer: str, rounds: Rounds, lineup: Lineup) -> Row:
    subject, goal = f"ctld full / {peer}", PEER_GOALS[peer]
    if peer not in rounds:
        return missing(scenario.title, subject, "x", lineup.missing[peer], goal)
    return row_of(scenario.title, subject, ratios(rounds["ctld full"], rounds[peer]), "x", goal)
