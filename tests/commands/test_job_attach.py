"""At the terminal of a job, over a real socket."""

import errno
import os

import pytest

from ctld.errors import CommandFailed, NotFound
from ctld.jobs.console import Console
from ctld.jobs.state import State
from tests.commands.job_stage import Stage, lab, stage
from tests.frames_client import EXIT, RESIZE, STDIN, STDOUT, begin, frame, read_frame, to_the_end
from tests.native import until

__all__ = ["lab", "stage"]

SHELL = "sh -c 'echo ready; while read line; do echo got $line; stty size; done'"


async def started(stage: Stage, **keys) -> None:
    await stage.load("shell", SHELL, tty=True, autoStart=True, **keys)
    await stage.lab.until_state(stage.supervisor, "shell", State.ALIVE)


async def read_until(client, text: bytes) -> bytes:
    seen = b""
    while text not in seen:
        kind, payload = await read_frame(client)
        assert kind in (STDOUT,), (kind, payload, seen)
        seen += payload
    return seen


async def test_what_it_has_written_then_what_comes_and_its_end(stage):
    await started(stage, stdout="out")
    client = await stage.raw()
    await begin(client, "job_attach", {"name": "shell"}, io="frames", rows=31, cols=77)
    assert b"ready" in await read_until(client, b"ready\r\n")
    client.write(frame(RESIZE, {"rows": 32, "cols": 78}))
    client.write(frame(STDIN, b"hello\n"))
    assert b"got hello\r\n" in await read_until(client, b"32 78\r\n")
    assert b"got hello" in stage.log("0_out").read_bytes()
    await stage.call("job_kill", name="shell")
    assert (await to_the_end(client)).status == 0


async def test_two_clients_see_the_same_and_who_only_looks_on_types_nothing(stage):
    await started(stage)
    one, other = await stage.raw(), await stage.raw()
    await begin(one, "job_attach", {"name": "shell"}, io="frames")
    await begin(other, "job_attach", {"name": "shell", "read_only": True}, io="frames")
    other.write(frame(STDIN, b"silent\n"))
    one.write(frame(STDIN, b"loud\n"))
    for client in (one, other):
        seen = await read_until(client, b"got loud\r\n")
        assert b"silent" not in seen


async def test_a_client_that_leaves_leaves_nothing(stage):
    await started(stage)
    console = stage.supervisor.process("shell").console
    client = await stage.raw()
    await begin(client, "job_attach", {"name": "shell"}, io="frames")
    assert len(console.listeners) == 1
    client.close()
    await until(lambda: not console.listeners)
    assert stage.supervisor.info("shell").processes[0].state is State.ALIVE


async def test_a_slow_client_holds_nobody_up(stage):
    await stage.load("yes", "yes", tty=True, autoStart=True)
    await stage.lab.until_state(stage.supervisor, "yes", State.ALIVE)
    console = stage.supervisor.process("yes").console
    slow, quick = await stage.raw(), await stage.raw()
    await begin(slow, "job_attach", {"name": "yes", "read_only": True}, io="frames")
    slow.stop_reading()
    await begin(quick, "job_attach", {"name": "yes"}, io="frames")
    assert len(console.listeners) == 2
    received = 0
    while len(console.listeners) == 2 or received < 1_000_000:  # until the slow one is let go, and further
        kind, payload = await read_frame(quick)
        assert kind == STDOUT
        received += len(payload)
    slow.go_on_reading()
    assert (await to_the_end(slow)).exit["error"] == "busy"
    await stage.call("job_kill", name="yes")


@pytest.fixture
def taken(monkeypatch) -> list[int]:
    """How many bytes the terminal took of what was typed, each time."""
    numbers: list[int] = []

    def write(console: Console, data: bytes) -> int:
        numbers.append(typed(console, data))
        return numbers[-1]

    typed = Console.write
    monkeypatch.setattr(Console, "write", write)
    return numbers


async def test_much_typed_at_once_arrives_whole(stage, taken):
    size, full = 20_000, stage.lab.work / "full"
    counting = f"sh -c 'stty raw -echo; echo go; until [ -e {full} ]; do sleep 0.01; done; head -c {size} | wc -c'"
    await stage.load("cat", counting, tty=True, autoStart=True, stdout="out")
    await stage.lab.until_state(stage.supervisor, "cat", State.ALIVE)
    client = await stage.raw()
    await begin(client, "job_attach", {"name": "cat"}, io="frames")
    await read_until(client, b"go")  # from now on no byte means anything to the terminal
    client.write(frame(STDIN, os.urandom(size // 2)) + frame(STDIN, bytes(size // 2)))
    await until(lambda: 0 in taken)
    full.touch()
    seen = b""
    while True:
        kind, payload = await read_frame(client)
        seen += payload if kind == STDOUT else b""
        if kind == EXIT:
            break
    assert str(size).encode() in seen


async def test_what_waits_to_be_typed_ends_with_the_process(stage, taken):
    await stage.load("deaf", "sh -c 'stty raw -echo; echo go; sleep 60'", tty=True, autoStart=True, stdout="out")
    await stage.lab.until_state(stage.supervisor, "deaf", State.ALIVE)
    client = await stage.raw()
    await begin(client, "job_attach", {"name": "deaf"}, io="frames")
    await read_until(client, b"go")
    client.write(frame(STDIN, bytes(60_000)) * 10)
    await until(lambda: taken[-2:] == [0, 0])  # nothing more goes in, and was tried again
    await stage.call("job_kill", name="deaf")
    assert (await to_the_end(client)).status == 0


async def test_what_has_no_terminal_says_why(stage):
    await stage.load("plain", "sleep 60", autoStart=True)
    with pytest.raises(CommandFailed, match="has no terminal: its job file does not say tty"):
        await stage.call("job_attach", name="plain")
    await stage.load("down", "sleep 60", tty=True)
    with pytest.raises(CommandFailed, match="process 0 of job 'down' does not run"):
        await stage.call("job_attach", name="down")
    with pytest.raises(NotFound):
        await stage.call("job_attach", name="down", process=3)


async def test_without_descriptors_it_says_so(stage, monkeypatch, caplog):
    def exhausted() -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    await started(stage)
    client = await stage.raw()
    monkeypatch.setattr("ctld.commands.job_attach.socket.socketpair", exhausted)
    answer = await client.ask("job_attach", {"name": "shell"}, session={"io": "frames"})
    assert (answer["code"], answer["message"]) == ("busy", "the terminal cannot be joined: Too many open files")
    assert not caplog.records
    assert await client.ask("ping") == {"status": True, "response": "pong"}
