"""What a hijacked connection costs: handed over to a program, and relayed.

Handed over, the program has the client's own descriptors or its socket, and the bytes should
move as fast as with nobody in between: measured is the throughput beside a program that was
started directly, and the daemon's processor time meanwhile.

Relayed, every byte passes through the daemon: measured is its processor time beside that of a
relay made of asyncio's streams, which has neither frames nor a scroll-back.  The kernel copies
every byte twice, in and out, for either of them: no relay can cost less than that.

Both in both directions; in random order, ratios per round.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from benchmarks.alone import run_alone
from benchmarks.goals import HIJACK, RELAY
from benchmarks.processes import BenchmarkError, serving
from benchmarks.results import Goal, Plan, Row, missing, row_of
from benchmarks.transfers import (
    Direction,
    Transfer,
    Way,
    direct,
    frames,
    handed_descriptors,
    handed_socket,
    run,
    streams,
)

__all__ = ["measure"]

HANDED_OVER = "hijack, handed over"
RELAYED = "hijack, relayed"

THROUGHPUT = Goal(HIJACK, ">=", 0.9)
NO_RELAY = Goal(HIJACK, "<=", 0.01)  # of a processor, in seconds per second
RELAY_CPU = Goal(RELAY, "<=", 0.5)

DIRECT = "direct socket"
DESCRIPTORS = "ctld, the client's descriptors"
SOCKET = "ctld, the socket"
FRAMES = "ctld, frames"
STREAMS = "asyncio streams"
STREAMS_UVLOOP = "asyncio streams on uvloop"

# Some tenths of a second each: long enough that the end of a process does not count.
RELAYED_SIZE = 256 * 1024 * 1024
HANDED_OVER_FACTOR = 4  # which is so much faster
FULL_FACTOR = 4


def measure(plan: Plan) -> list[Row]:
    """Measure handed over and relayed connections."""
    size = RELAYED_SIZE * (FULL_FACTOR if plan.full else 1)
    with ExitStack() as stack:
        paths = [plan.scratch / f"hijack-{number}.sock" for number in range(3)]
        try:
            daemon = stack.enter_context(serving("benchmarks.hijack_server", str(paths[0])))
            plain = stack.enter_context(serving("benchmarks.streams_relay", str(paths[1]), "asyncio"))
            fast = stack.enter_context(serving("benchmarks.streams_relay", str(paths[2]), "uvloop"))
        except BenchmarkError as exc:
            return [missing(scenario, "ctld", "x", str(exc)) for scenario in (HANDED_OVER, RELAYED)]
        ways: dict[str, tuple[Callable[[list[str]], Way], int | None]] = {
            DIRECT: (direct, None),
            DESCRIPTORS: (partial(handed_descriptors, paths[0]), daemon.pid),
            SOCKET: (partial(handed_socket, paths[0]), daemon.pid),
            FRAMES: (partial(frames, paths[0]), daemon.pid),
            STREAMS: (partial(streams, paths[1]), plain.pid),
            STREAMS_UVLOOP: (partial(streams, paths[2]), fast.pid),
        }
        found = {direction: _transfers(plan, ways, direction, size) for direction in ("out", "in")}
    return [row for direction, transfers in found.items() for row in rows_of(direction, transfers)]


def _transfers(
    plan: Plan, ways: Mapping[str, tuple[Callable[[list[str]], Way], int | None]], direction: Direction, size: int
) -> dict[str, list[Transfer]]:
    """Measure all ways in random order, again and again; the first round does not count."""
    found: dict[str, list[Transfer]] = {name: [] for name in ways}
    order = plan.random()
    for number in range(plan.rounds + 1):
        for name in order.sample(sorted(ways), len(ways)):
            open_way, pid = ways[name]
            factor = HANDED_OVER_FACTOR if name in (DIRECT, DESCRIPTORS, SOCKET) else 1
            transfer = run(open_way, direction, size * factor, pid)
            if number:
                found[name].append(transfer)
    return found


def rows_of(direction: str, transfers: Mapping[str, Sequence[Transfer]]) -> list[Row]:
    """Compare round by round; pure."""
    rows = []
    for name in (DESCRIPTORS, SOCKET):
        beside = zip(transfers[name], transfers[DIRECT], strict=True)
        speed = [direct.seconds / mine.seconds for mine, direct in beside]
        rows.append(row_of(f"{HANDED_OVER}, {direction}", f"{name} / {DIRECT}", speed, "x", THROUGHPUT))
        busy = [mine.cpu / mine.seconds for mine in transfers[name]]
        rows.append(row_of(f"{HANDED_OVER}, {direction}", f"{name}: CPU of the daemon", busy, "s/s", NO_RELAY))
    for name in (FRAMES, STREAMS, STREAMS_UVLOOP):
        cost = [1e3 * mine.cpu / (mine.size / 2**30) for mine in transfers[name]]
        rows.append(row_of(f"{RELAYED}, {direction}", f"{name}: CPU", cost, "ms/GiB"))
        # Of all rounds together: the system tells that in hundredths of a second.
        kernel = 1e3 * sum(mine.kernel for mine in transfers[name]) / sum(mine.size / 2**30 for mine in transfers[name])
        rows.append(row_of(f"{RELAYED}, {direction}", f"{name}: of it in the kernel", [kernel], "ms/GiB"))
    for name in (STREAMS, STREAMS_UVLOOP):
        beside = zip(transfers[FRAMES], transfers[name], strict=True)
        ratios = [mine.cpu / other.cpu for mine, other in beside]
        goal = RELAY_CPU if name == STREAMS else None
        rows.append(row_of(f"{RELAYED}, {direction}", f"{FRAMES} / {name}", ratios, "x", goal))
    return rows


if __name__ == "__main__":
    raise SystemExit(run_alone("hijack", __doc__, measure))
