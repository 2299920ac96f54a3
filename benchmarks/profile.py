"""Where the time of the full path goes: a server that is asked, and py-spy that looks into it.

py-spy belongs to the environment of the peers.  It looks some hundred times a second, from
outside, at what the server's first thread does, down to the C functions; what it sees is put
under the innermost function of ours, and under a kind: the kernel, the loop, JSON, the rest.
"""

import re
import subprocess
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.load import LoadGenerator
from benchmarks.peers_venv import peers_python
from benchmarks.processes import LOAD, BenchmarkError, pinned
from benchmarks.results import Plan, Row, missing
from benchmarks.servers import OURS, start
from benchmarks.streaming import MESSAGES
from benchmarks.streaming import REQUEST as STREAM
from benchmarks.wires import Request, request_of

__all__ = ["kind_of", "measure", "parse", "place_of", "rows_of"]

ECHO = request_of("ndjson", "echo")

# What is looked into: the mode of the load generator, the request, clients, and requests in flight.
LOADS: dict[str, tuple[str, Request, int, int]] = {
    "c50 echo": ("flow", ECHO, 50, 1),
    "pipe64 echo": ("flow", ECHO, 1, 64),
    "connect cycle": ("cycle", request_of("ndjson", "ping"), 20, 1),
    "progress stream": ("stream", STREAM, 1, MESSAGES),
}

SECONDS = 4.0
WARM_UP = 0.5
RATE = 250
SHOWN = 12  # functions; the others are added up

OURS_IN = re.compile(r"(?P<function>.*) \((?P<file>(?:ctld|benchmarks)/[\w/]+\.py):\d+\)")
SYSTEM_CALLS = re.compile(
    r"(?:read|write|send|sendto|sendmsg|recv|recvfrom|recvmsg|epoll_p?wait2?|epoll_ctl|accept4?|close|shutdown"
    r"|ioctl|fcntl|getsockopt|setsockopt|getpeername|getsockname|dup3?)(?:64)? \(lib"
)
JSON = re.compile(r"\((?:msgspec|orjson)/|\(_core\.|orjson\.")


def measure(plan: Plan) -> list[Row]:
    """Look into the server under each load; only when all is wanted."""
    if not plan.full:
        return []
    full = OURS[1]
    rows: list[Row] = []
    with ExitStack() as stack:
        generator = LoadGenerator(plan.scratch)
        lineup = start(stack, plan.scratch, [full])
        path, pid = lineup.paths[full.name], lineup.pids[full.name]
        for name, (mode, request, connections, depth) in LOADS.items():
            asking = threading.Thread(
                target=generator.run, args=(mode, path, request, connections, depth, WARM_UP + SECONDS + 1, pid)
            )
            asking.start()
            try:
                rows += rows_of(name, _look(pid, plan.scratch / "stacks"))
            except BenchmarkError as exc:
                rows.append(missing(f"profile, {name}", full.name, "%", str(exc)))
            finally:
                asking.join()
    return rows


def _look(pid: int, target: Path) -> str:
    """Return what py-spy has seen of a process, as stacks and how often each was seen."""
    spy = peers_python().with_name("py-spy")
    how = ["record", "--native", "--format", "raw", "--rate", str(RATE), "--duration", f"{SECONDS:.0f}"]
    command = [*pinned(LOAD), str(spy), *how, "--output", str(target), "--pid", str(pid)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 60)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise BenchmarkError(f"py-spy: {exc}") from exc
    if done.returncode:
        raise BenchmarkError(f"py-spy: {done.stderr.strip().rpartition(chr(10))[2]}")
    return target.read_text()


def parse(text: str) -> Iterator[tuple[list[str], int]]:
    """Read stacks, outermost frame first, of the thread that runs the loop."""
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if any(frame.startswith(("Thread.", "thread_run")) for frame in frames) or not count.isdigit():
            continue
        yield frames, int(count)


def place_of(frames: Iterable[str]) -> str:
    """Return the innermost function of ours, or what else it is."""
    for frame in reversed(list(frames)):
        if match := OURS_IN.match(frame):
            if match["file"] == "ctld/runner.py":
                break
            return f"{match['file'].removeprefix('ctld/')} {match['function'].rpartition('.')[2]}"
    return "the loop"


def kind_of(frames: list[str]) -> str:
    """Return who had the processor: the kernel, the loop, JSON, or the interpreter."""
    if any(SYSTEM_CALLS.match(frame) for frame in frames[-2:]):
        return "the kernel"
    if any(JSON.search(frame) for frame in frames[-4:]):
        return "JSON: msgspec, orjson"
    inner = next((frame for frame in reversed(frames) if ".py:" in frame or "uvloop" in frame), "")
    if "ctld/runner.py" in inner or "uvloop" in inner:
        return "the loop: uvloop"
    return "Python"


def rows_of(name: str, text: str) -> list[Row]:
    """Make the rows of a profile: shares, by kind and by function."""
    kinds: Counter[str] = Counter()
    places: Counter[str] = Counter()
    for frames, count in parse(text):
        kinds[kind_of(frames)] += count
        places[place_of(frames)] += count
    total = kinds.total()
    if not total:
        return [missing(f"profile, {name}", "ctld full", "%", "py-spy has seen nothing")]
    shown = places.most_common(SHOWN)
    rest = total - sum(count for _, count in shown)
    by_function = [*shown, *([("all other functions", rest)] if rest else [])]
    return [
        *(_share(f"profile, {name}, by kind", what, count / total) for what, count in kinds.most_common()),
        *(_share(f"profile, {name}, by function", what, count / total) for what, count in by_function),
    ]


def _share(scenario: str, what: str, share: float) -> Row:
    return Row(scenario, what, 100 * share, None, None, "%")
