"""Connect, take the banner, ask once, close: what a command line does each time."""

from contextlib import ExitStack

from benchmarks import goals
from benchmarks.flows import ratios, rounds_of
from benchmarks.load import Load, LoadGenerator
from benchmarks.results import Goal, Plan, Row, row_of
from benchmarks.servers import LIMIT_B, OURS, Subject, start
from benchmarks.wires import request_of

__all__ = ["measure"]

GOAL = Goal(goals.CYCLE, ">=", 0.85)

# One client after the other, and more at once than a server can serve, so that it is never idle.
CLIENTS = (1, 20)


def measure(plan: Plan) -> list[Row]:
    """Measure cycles per second."""
    rows: list[Row] = []
    subjects = [LIMIT_B, *OURS]
    with ExitStack() as stack:
        generator = LoadGenerator(plan.scratch)
        lineup = start(stack, plan.scratch, subjects)
        for clients in CLIENTS:

            def slice_of(subject: Subject, clients: int = clients) -> Load:
                path, pid = lineup.paths[subject.name], lineup.pids[subject.name]
                return generator.run("cycle", path, request_of("ndjson", "ping"), clients, 1, plan.seconds, pid)

            rounds = rounds_of(plan, subjects, slice_of, lineup)
            title = f"connect cycle, {clients} at once"
            yardstick = rounds[LIMIT_B.name]
            rows.append(
                row_of(title, LIMIT_B.name, [load.rate for load in yardstick], "cycles/s", None, generator.note)
            )
            rows += [
                row_of(title, subject.name, ratios(rounds[subject.name], yardstick), "x", GOAL, generator.note)
                for subject in OURS
            ]
    return rows
