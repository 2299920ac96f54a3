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
from benchmarks.clocks import processor_time
from benchmarks.goals import GROWTH
from benchmarks.growth_server import name_of
from benchmarks.processes import BenchmarkError, serving
from benchmarks.results import Goal, Plan, Row, missing, row_of
from benchmarks.wires import TEXT, json_line

__all__ = ["measure", "per_byte"]

CONNECTIONS = (1, 10, 100, 1000, 5000)
COMMANDS = (10, 100, 1000, 10_000)

# As many as a client uses.
ASKED_FOR = 10

# The longest line that a server takes is 16 MiB, with its envelope.
ENVELOPE = 1024
SIZES = (1, 1024, 64 * 1024, 1024 * 1024, 16 * 1024 * 1024 - ENVELOPE)

# Where a byte costs less than what every request does, its cost cannot be told.
FROM_HERE = 64 * 1024

# More clients with a request in flight would only make batches larger.
IN_FLIGHT = 50

SPARE_DESCRIPTORS = 200

# One client that asks by itself wakes the server for each request, so it is the dearest; beside
# a hundred, what five thousand connections hold does not fit into the caches.
FLAT_TO_ONE = Goal(GROWTH, "<=", 1.1)
FLAT_TO_HUNDRED = Goal(GROWTH, "<=", 1.5)
FLAT_COMMANDS = Goal(GROWTH, "<=", 1.1)
# A byte that no cache holds costs memory some times as much: what is not linear gives far more.
FLAT_BYTES = Goal(GROWTH, "<=", 3.0)

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
    for few, goal in ((1, FLAT_TO_ONE), (100, FLAT_TO_HUNDRED)):
        rows.append(_ratio("growth with connections", costs, counts[-1], few, goal))
    return rows


def _commands(plan: Plan) -> list[Row]:
    """Measure what a request costs where there are more and more commands.

    Ten of them are asked for, as daemons are; where any is, what all of them take no longer
    fits into the caches.
    """
    costs: dict[tuple[int, int], list[float]] = {}
    with ExitStack() as stack:
        asking: dict[tuple[int, int], tuple[int, Ask]] = {}
        for count in COMMANDS:
            path = plan.scratch / f"growth-{count}.sock"
            process = stack.enter_context(serving("benchmarks.growth_server", str(path), str(count)))
            clients = stack.enter_context(_clients(path))(IN_FLIGHT)
            for asked_for in (ASKED_FOR, count) if count == COMMANDS[-1] else (ASKED_FOR,):
                asking[count, asked_for] = process.pid, _asking_for(clients, count, asked_for, plan.random())
        for number in range(plan.rounds + 1):
            for key, (pid, ask) in asking.items():
                cost = _cost(pid, plan.seconds, ask)
                if number:  # the first round meets the commands for the first time
                    costs.setdefault(key, []).append(cost)
    rows = [
        row_of("growth with commands", f"{count:,}, {asked_for:,} of them asked for", values, "us")
        for (count, asked_for), values in costs.items()
    ]
    asked = {count: values for (count, asked_for), values in costs.items() if asked_for == ASKED_FOR}
    return [*rows, _ratio("growth with commands", asked, COMMANDS[-1], COMMANDS[0], FLAT_COMMANDS)]


def _asking_for(clients: Sequence[LineClient], count: int, asked_for: int, order: random.Random) -> Ask:
    """Ask for some of so many commands, wherever they are among them."""
    numbers = order.sample(range(count), asked_for)
    turns = itertools.cycle(json_line(name_of(number), {"text": TEXT}) for number in numbers)

    def ask() -> int:
        return _ask_all(clients, *itertools.islice(turns, len(clients)))

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
