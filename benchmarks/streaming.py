"""A command that tells of its progress ten thousand times, beside a loop that only writes."""

from contextlib import ExitStack

from benchmarks import goals
from benchmarks.flows import ratios, rounds_of
from benchmarks.load import Load, LoadGenerator
from benchmarks.results import Goal, Plan, Row, row_of
from benchmarks.servers import OURS, Subject, start
from benchmarks.wires import Request, json_line

__all__ = ["measure"]

MESSAGES = 10_000

YARDSTICK = Subject("a loop", "benchmarks.limit_b", args=("stream",))
FULL = OURS[1]

RATE = Goal(goals.STREAM, ">=", 0.65)
FIRST = Goal(goals.STREAM, "<=", 2.0)

REQUEST = Request("ndjson", json_line("count", {"count": MESSAGES}), f'"response":{MESSAGES}')


def measure(plan: Plan) -> list[Row]:
    """Measure the messages per second, and how long the first one takes."""
    with ExitStack() as stack:
        generator = LoadGenerator(plan.scratch)
        lineup = start(stack, plan.scratch, [YARDSTICK, FULL])

        def slice_of(subject: Subject) -> Load:
            path, pid = lineup.paths[subject.name], lineup.pids[subject.name]
            return generator.run("stream", path, REQUEST, 1, MESSAGES, plan.seconds, pid)

        rounds = rounds_of(plan, [YARDSTICK, FULL], slice_of, lineup)
    title = f"{MESSAGES:,} messages"
    ours, yardstick = rounds[FULL.name], rounds[YARDSTICK.name]
    # By the clock on the wall: of each slice the least, in which nobody else had the processor.
    first = [(load.least or 0.0) * 1000 for load in ours]
    return [
        row_of(title, YARDSTICK.name, [load.rate for load in yardstick], "msg/s", None, generator.note),
        row_of(title, FULL.name, ratios(ours, yardstick), "x", RATE, generator.note),
        row_of("first message", FULL.name, first, "ms", FIRST, "the least of each slice"),
    ]
