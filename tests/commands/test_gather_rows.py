"""Answers of the commands about gatherers: bytes of any kind get through."""

import base64

import msgspec

from ctld.commands.gather_rows import CommandOutput, GatheredPath, command_output, gathered_path, pool_row
from ctld.gatherer.crew import CrewSnapshot, WorkerSnapshot
from ctld.gatherer.replies import Executed

WORKER = WorkerSnapshot(pid=7, state="busy", requests=3, resident=4096)


def crew(calls: int = 0, degraded: float = 0.0) -> CrewSnapshot:
    return CrewSnapshot("p", (WORKER,), calls, requests=9, starts=3, crashes=2, degraded=degraded)


def test_the_state_of_a_pool() -> None:
    assert [pool_row(crew(*values)).state for values in ((0, 0.0), (2, 0.0), (2, 1.5))] == ["idle", "busy", "degraded"]
    row = pool_row(crew(1, 2.5))
    assert (row.profile, row.calls, row.requests, row.starts, row.restarts, row.degraded) == ("p", 1, 9, 3, 2, 2.5)
    assert row.workers == (WORKER,)


def test_paths() -> None:
    assert gathered_path("/é\n".encode()) == GatheredPath(path="/é\n")
    odd = gathered_path(b"/\xff")
    assert (odd.path, base64.b64decode(odd.base64)) == ("/�", b"/\xff")
    assert msgspec.json.encode(gathered_path(b"/a")) == b'{"path":"/a"}'


def test_outputs() -> None:
    assert command_output(Executed(-9, b"out", b"")) == CommandOutput(status=-9, stdout="out", stderr="")
    odd = command_output(Executed(0, b"\x00\xff", b"\xfe"))
    assert base64.b64decode(odd.stdout_base64) == b"\x00\xff"
    assert base64.b64decode(odd.stderr_base64) == b"\xfe"
