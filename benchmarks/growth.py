"""How costs grow: with the number of connections, of commands, and the size of a request.

The cost is the processor time of the server, for each request or for each byte, so that a busy
machine hardly shows in it.  A cost that does not grow gives a ratio of one; what the caches of
the processor do not hold any more is allowed for.
"""

import itertools
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.alone import run_alone
from benchmarks.client import LineClient, raise_descriptors
from benchmarks.goals import GROWTH
from benchmarks.growth_server import name_of
from benchmarks.interference import processor_time
from benchmarks.processes import BenchmarkError, serving
from benchmarks.results import Goal, Plan, Row, missing, row_of
from benchmarks.wires import TEXT, json_line

__all__ = ["measure", "per_byte"]

CONNECTIONS = (1, 10, 100, 1000, 5000)
COMMANDS = (10, 100, 1000, 10_000)

# The longest line that a server takes is 16 MiB, with its envelope.
ENVELOPE = 1024
SIZES = (1, 1024, 64 * 1024, 1024 * 1024, 16 * 1024 * 1024 - ENVELOPE)

# Where a byte costs less than what every request does, its cost cannot be told.
FROM_HERE = 64 * 1024

# More clients with a request in flight would only make batches larger.
IN_FLIGHT = 50

SPARE_DESCRIPTORS = 200

FLAT_CONNECTIONS = Goal(GROWTH, "<=", 1.3)
FLAT_COMMANDS = Goal(GROWTH, "<=", 1.1)
FLAT_BYTES = Goal(GROWTH, "<=", 2.0)

Ask = Callable[[], int]
"""Asks for a while; returns the number of requests."""


def measure(plan: Plan) -> list[Row]:
    """Measure growth with connections, commands and sizes."""
    rows: list[Row] = []
    for part in (_connections, _commands, _sizes):
        try:
            rows += part(plan)
        except (BenchmarkError, OSError) as exc:
            rows.append(missing(f"growth with {part.__name__[1:]}", "ctld full", "x", str(exc)))
    return rows


def _connections(plan: Plan) -> list[Row]:
    """Measure what a request costs while more and more clients are connected, and all of them ask."""
    counts = [count for count in CONNECTIONS if raise_descriptors(count + SPARE_DESCRIPTORS) > count]
    line = json_line(name_of(0), {"text": TEXT})
    path = plan.scratch / "growth.sock"
    costs: dict[int, list[float]] = {count: [] for count in counts}
    with serving("benchmarks.growth_server", str(path), "10") as process, _clients(path) as connect:
        for count in counts:
            turns = itertools.cycle(list(_groups(connect(count), IN_FLIGHT)))
            for _ in range(plan.rounds):
                costs[count].append(_cost(process.pid, plan.seconds, lambda: _ask_all(next(turns), line)))  # noqa: B023 - it is called at once
    rows = [row_of("growth with connections", f"{count:,}", values, "us") for count, values in costs.items()]
    few = [_ratio("growth with connections", costs, counts[-1], few, FLAT_CONNECTIONS) for few in (counts[0], 100)]
    return [*rows, *few]


def _commands(plan: Plan) -> list[Row]:
    """Measure what a request costs where there are more and more commands, any of which may be asked for."""
    costs: dict[int, list[float]] = {count: [] for count in COMMANDS}
    order = plan.random()
    with ExitStack() as stack:
        asking: dict[int, tuple[int, Ask]] = {}
        for count in COMMANDS:
            path = plan.scratch / f"growth-{count}.sock"
            process = stack.enter_context(serving("benchmarks.growth_server", str(path), str(count)))
            clients = stack.enter_context(_clients(path))(IN_FLIGHT)
            asking[count] = (process.pid, _asking_for_any(clients, count, order))
        for number, count in itertools.product(range(plan.rounds + 1), COMMANDS):
            pid, ask = asking[count]
            cost = _cost(pid, plan.seconds, ask)
            if number:  # the first round meets each command for the first time
                costs[count].append(cost)
    rows = [row_of("growth with commands", f"{count:,}", values, "us") for count, values in costs.items()]
    rows.append(_ratio("growth with commands", costs, COMMANDS[-1], COMMANDS[0], FLAT_COMMANDS))
    return rows


def _asking_for_any(clients: Sequence[LineClient], count: int, order: random.Random) -> Ask:
    lines = [json_line(name_of(order.randrange(count)), {"text": TEXT}) for _ in range(max(count, 1000))]
    turns = itertools.cycle(lines)

    def ask() -> int:
        return _ask_all(clients, *(next(turns) for _ in clients))

    return ask


def _sizes(plan: Plan) -> list[Row]:
    """Measure what a byte costs in larger and larger requests, which are answered with as much."""
    path = plan.scratch / "growth-sizes.sock"
    costs: dict[int, list[float]] = {}
    with serving("benchmarks.growth_server", str(path), "10") as process, _clients(path) as connect:
        clients = connect(1)
        for size in SIZES:
            line = json_line(name_of(0), {"text": "x" * size})
            costs[size] = [
                _cost(process.pid, plan.seconds, lambda: _ask_all(clients, line))  # noqa: B023 - it is called at once
                for _ in range(plan.rounds)
            ]
    rows = [row_of("growth with sizes", f"{size:,} B", values, "us") for size, values in costs.items()]
    bytes_cost = per_byte({size: statistics.median(values) for size, values in costs.items()})
    large = [size for size in bytes_cost if size >= FROM_HERE]
    rows += [row_of("growth with sizes", f"a byte, up to {size:,} B", [bytes_cost[size]], "ns/B") for size in large]
    growth = bytes_cost[large[-1]] / min(bytes_cost[size] for size in large)
    rows.append(row_of("growth with sizes", "a byte, of the most to the least", [growth], "x", FLAT_BYTES))
    return rows


def per_byte(costs: Mapping[int, float]) -> dict[int, float]:
    """Return what each further byte costs up to each size but the least, in nanoseconds; pure.

    Args:
        costs: Microseconds by size.
    """
    return {
        larger: 1000 * (costs[larger] - costs[smaller]) / (larger - smaller)
        for smaller, larger in itertools.pairwise(sorted(costs))
    }


def _ratio(scenario: str, costs: Mapping[int, Sequence[float]], many: int, few: int, goal: Goal) -> Row:
    ratios = [more / less for more, less in zip(costs[many], costs[few], strict=True)]
    return row_of(scenario, f"{many:,} to {few:,}", ratios, "x", goal)


def _cost(pid: int, seconds: float, ask: Ask) -> float:
    """Return the microseconds of the server's processor that a request costs."""
    ask()
    begun, before, requests = time.perf_counter(), processor_time(pid), 0
    while time.perf_counter() - begun < seconds:
        requests += ask()
    return 1e6 * (processor_time(pid) - before) / requests


def _ask_all(clients: Sequence[LineClient], *lines: bytes) -> int:
    """Have all of a few clients ask, and take their answers."""
    for client, line in zip(clients, itertools.cycle(lines), strict=False):
        client.socket.sendall(line)
    for client in clients:
        client.take()
    return len(clients)


def _groups(clients: Sequence[LineClient], size: int) -> Iterator[Sequence[LineClient]]:
    return (clients[start : start + size] for start in range(0, len(clients), size))


@contextmanager
def _clients(path: Path) -> Iterator[Callable[[int], list[LineClient]]]:
    """Give what connects clients until there are so many, and have them hang up in the end."""
    clients: list[LineClient] = []

    def connect(count: int) -> list[LineClient]:
        while len(clients) < count:
            clients.append(LineClient(path))
        return clients

    try:
        yield connect
    finally:
        for client in clients:
            client.close()


if __name__ == "__main__":
    raise SystemExit(run_alone("growth", __doc__, measure))
