"""Who is measured: the floor, the yardstick, ctld and its neighbours, and how to start each."""

import sys
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load import build
from benchmarks.peers_venv import peers_python
from benchmarks.processes import BenchmarkError, running
from benchmarks.wires import Wire, answer_of

__all__ = ["FLOOR", "LIMIT_B", "OURS", "PEERS", "TOLD", "Lineup", "Subject", "start"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A server that can be measured."""

    name: str
    module: str
    wire: Wire = "ndjson"
    args: tuple[str, ...] = ()
    peer: bool = False  # it runs in the environment of the peers
    echo: str = ""  # the command for `echo`, if another one is meant; there is none for `ping`, then


FLOOR = Subject("C, fixed bytes", "", args=(answer_of("ping"), answer_of("echo")))
LIMIT_B = Subject("LIMIT-B", "benchmarks.limit_b")
OURS = (
    Subject("ctld bare", "benchmarks.ctld_server", args=("bare",)),
    Subject("ctld full", "benchmarks.ctld_server", args=("full",)),
)
# Commands above the role `observe` are told to subscribers: two events for each request.
TOLD = Subject("ctld, with events", "benchmarks.ctld_server", args=("full",), echo="record")
PEERS = (
    Subject("aiohttp", "benchmarks.peers.aiohttp_server", "http", peer=True),
    Subject("starlette", "benchmarks.peers.starlette_server", "http", peer=True),
    Subject("varlink", "benchmarks.peers.varlink_server", "varlink", peer=True),
    Subject("grpc.aio", "benchmarks.peers.grpc_server", "grpc", peer=True),
    Subject("supervisord", "benchmarks.peers.supervisord_server", "xmlrpc", peer=True),
)


@dataclass(slots=True)
class Lineup:
    """The servers that are alive, and why others are not."""

    paths: dict[str, Path] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def start(stack: ExitStack, scratch: Path, subjects: Iterable[Subject]) -> Lineup:
    """Start servers, each on a socket of its own; they end with the stack.

    What is ours has to start; a peer that does not is noted.

    Raises:
        BenchmarkError: One of ours does not start.
    """
    lineup = Lineup()
    for number, subject in enumerate(subjects):
        path = scratch / f"{number}.sock"
        try:
            command = [*_command(subject, scratch), str(path), *subject.args]
            process = stack.enter_context(running(command, subject.name))
            lineup.paths[subject.name] = path
            lineup.pids[subject.name] = process.pid
        except BenchmarkError as exc:
            if not subject.peer and subject is not FLOOR:
                raise
            lineup.missing[subject.name] = str(exc)
    return lineup


def _command(subject: Subject, scratch: Path) -> list[str]:
    if subject is FLOOR:
        build(scratch / "floor", "floor.c")
        return [str(scratch / "floor")]
    python = str(peers_python()) if subject.peer else sys.executable
    return [python, "-m", subject.module]
