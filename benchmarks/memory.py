"""What an idle connection costs, and what it holds.

The server is a process by itself.  What is counted is what that process alone has in memory
(its proportional set size), before and after ten thousand clients have connected and asked
once each, divided by their number; the kernel's sockets are not in it.  A few hundred
requests come first, so that what every server needs once is not charged to the clients.

One client asks after the other.  With all of them asking at once, ten thousand requests are
alive together, and an allocator keeps what it once had: that is a row of its own.

`--breakdown` shows what a connection holds: the census of a server before and after.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.alone import run_alone
from benchmarks.client import LineClient, raise_descriptors
from benchmarks.goals import MEMORY
from benchmarks.processes import BenchmarkError, serving
from benchmarks.results import Goal, Plan, Row, missing
from benchmarks.wires import request_of

__all__ = ["breakdown", "measure", "memory_of", "parse_smaps", "per_connection"]

CONNECTIONS = 10_000

# For the clients, the shell around and the census.
SPARE_DESCRIPTORS = 200

WARM_UP = 300
IDLE = Goal(MEMORY, "<=", 3000)
NOT_GROWING = Goal(MEMORY, "<=", 1.03)

SUBJECTS = (
    ("LIMIT-B", "benchmarks.limit_b", ()),
    ("ctld bare", "benchmarks.ctld_server", ("bare",)),
    ("ctld full", "benchmarks.ctld_server", ("full",)),
)

PING = request_of("ndjson", "ping").data
ECHO = request_of("ndjson", "echo").data


def measure(plan: Plan) -> list[Row]:
    """Measure idle memory of the yardstick and of ctld."""
    connections = min(CONNECTIONS, raise_descriptors(CONNECTIONS + SPARE_DESCRIPTORS) - SPARE_DESCRIPTORS)
    rows: list[Row] = []
    for subject, module, args in SUBJECTS:
        path = plan.scratch / f"{module.rpartition('.')[2]}-{len(rows)}.sock"
        try:
            with serving(module, str(path), *args) as process:
                rows += _measure_one(subject, process.pid, path, connections, full=plan.full)
        except (BenchmarkError, OSError) as exc:
            rows.append(missing("idle memory", subject, "B", str(exc), _goal(subject, IDLE)))
    return rows


def _measure_one(subject: str, pid: int, path: Path, connections: int, *, full: bool) -> Iterator[Row]:
    """Measure one server, which serves nobody else."""
    count = f"{connections:,} connections"
    with crowd(path, connections, pid) as (clients, each):
        once = each()
        yield _row(f"idle memory, {count}, 1 echo each", subject, once, "B", _goal(subject, IDLE))
        total = 1
        for times in (10, 100) if full else (10,):
            _ask_in_turn(clients, times - total)
            total = times
            growth = each() / once
            yield _row(f"the same after {times} each", subject, growth, "x", _goal(subject, NOT_GROWING))
        for _ in range(10):
            _ask_at_once(clients)
        yield _row("the same after 10 each, all at once", subject, each() / once, "x", None)


@contextmanager
def crowd(path: Path, connections: int, pid: int) -> Iterator["tuple[Sequence[LineClient], _Each]"]:
    """Connect so many clients that have asked once each, and can tell what each of them costs."""
    clients: list[LineClient] = []
    first = LineClient(path)
    try:
        for _ in range(WARM_UP):
            first.ask(ECHO)
        before = memory_of(pid)
        for _ in range(connections):
            client = LineClient(path)
            clients.append(client)
            client.ask(ECHO)
        yield clients, _Each(pid, before, connections, first)
    finally:
        for client in (first, *clients):
            client.close()


class _Each:
    """What a connection costs now: how much more the process has than before, by their number."""

    def __init__(self, pid: int, before: int, connections: int, witness: LineClient) -> None:
        self._pid = pid
        self._before = before
        self._connections = connections
        self._witness = witness

    def __call__(self) -> float:
        self._witness.ask(PING)  # whatever was to be done before it has been done
        return (memory_of(self._pid) - self._before) / self._connections


def _ask_in_turn(clients: Iterable[LineClient], times: int) -> None:
    """Have every client ask and wait, one after the other, so many times."""
    for _ in range(times):
        for client in clients:
            client.ask(ECHO)


def _ask_at_once(clients: Sequence[LineClient]) -> None:
    """Have all clients ask before any of them is answered, as far as the server lets them."""
    for client in clients:
        client.socket.sendall(ECHO)
    for client in clients:
        client.take()


def memory_of(pid: int) -> int:
    """Return the proportional set size of a process, in bytes.

    Raises:
        OSError: The process is gone, or the kernel does not tell.
    """
    return parse_smaps(Path(f"/proc/{pid}/smaps_rollup").read_text())


def parse_smaps(text: str) -> int:
    """Return the proportional set size, in bytes, that `smaps_rollup` reports; pure.

    Raises:
        OSError: It reports none.
    """
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "Pss":
            return int(value.split()[0]) * 1024
    raise OSError("the kernel does not say how much memory a process has to itself")


def _goal(subject: str, goal: Goal) -> Goal | None:
    return goal if subject.startswith("ctld") else None


def _row(scenario: str, subject: str, value: float, unit: str, goal: Goal | None) -> Row:
    return Row(scenario, subject, value, value, value, unit, goal)


def breakdown(scratch: Path, connections: int = 1000) -> list[Row]:
    """Count what a connection holds after one request: objects and bytes by type, the largest first.

    Only what Python knows of is in it; what the loop allocates beside its objects (libuv's
    handle, about 280 bytes) and the allocator's rounding are not.
    """
    path = scratch / "census.sock"
    census = b'{"cmd":"census"}\n'
    with serving("benchmarks.census", str(path)):
        watcher = LineClient(path)
        clients: list[LineClient] = []
        try:
            for _ in range(2):  # the first one makes room for itself
                before = watcher.response(census)
            for _ in range(connections):
                clients.append(LineClient(path))
                clients[-1].ask(PING)
            after = watcher.response(census)
        finally:
            for client in (watcher, *clients):
                client.close()
    return per_connection(before, after, connections)


def per_connection(
    before: Mapping[str, Sequence[int]], after: Mapping[str, Sequence[int]], connections: int
) -> list[Row]:
    """Turn two censuses into rows: what there is more of for each connection; pure."""
    rows = []
    for name, (count, size) in after.items():
        old_count, old_size = before.get(name, (0, 0))
        each = (size - old_size) / connections
        if each >= 1:
            note = f"{(count - old_count) / connections:.2f} objects"
            rows.append(Row("what an idle connection holds", name, each, each, each, "B", None, note))
    return sorted(rows, key=lambda row: -(row.value or 0.0))


if __name__ == "__main__":
    if "--breakdown" in sys.argv:
        sys.argv.remove("--breakdown")
        raise SystemExit(run_alone("memory", __doc__, lambda plan: breakdown(plan.scratch)))
    raise SystemExit(run_alone("memory", __doc__, measure))
