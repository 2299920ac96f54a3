"""Events to one, a hundred and a thousand subscribers: what one delivery costs."""

from contextlib import ExitStack

from benchmarks import goals
from benchmarks.flows import rounds_of
from benchmarks.load import Load, LoadGenerator
from benchmarks.results import Goal, Plan, Row, row_of
from benchmarks.servers import OURS, Subject, start
from benchmarks.wires import Request, json_line

__all__ = ["measure"]

# A burst that fits into the queue of each subscriber, so that none loses an event.
BURST = 100
SUBSCRIBERS = (1, 100, 1000)

# Linear: ten times the subscribers cost ten times as much, and half of that for caches that are too small by then.
GOAL = Goal(goals.GROWTH, "<=", 1.5)

REQUEST = Request(
    "ndjson", json_line("event_subscribe", {"type": "tick"}) + json_line("publish", {"count": BURST}), "subscribed"
)


def measure(plan: Plan) -> list[Row]:
    """Measure deliveries per second, by the number of subscribers."""
    full = OURS[1]
    with ExitStack() as stack:
        generator = LoadGenerator(plan.scratch)
        lineup = start(stack, plan.scratch, [full])
        by_count = [Subject(str(count), full.module) for count in SUBSCRIBERS]

        def slice_of(subject: Subject) -> Load:
            path, pid = lineup.paths[full.name], lineup.pids[full.name]
            return generator.run("fanout", path, REQUEST, int(subject.name), BURST, plan.seconds, pid)

        rounds = rounds_of(plan, by_count, slice_of, lineup)
    rows = []
    for count in SUBSCRIBERS:
        each = [1e6 / load.rate for load in rounds[str(count)]]
        rows.append(row_of(f"events to {count}", full.name, each, "us", None, generator.note))
    growth = [few.rate / many.rate for few, many in zip(rounds["100"], rounds["1000"], strict=True)]
    return [*rows, row_of("events to 1000", "each, to 100", growth, "x", GOAL, generator.note)]
