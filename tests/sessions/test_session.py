"""Sessions without a connection: viewers by hand, and real programs behind."""

import asyncio
import os
import socket

import pytest

from ctld.errors import CommandFailed, ShuttingDown
from ctld.sessions.launching import start_program
from ctld.sessions.session import Session
from ctld.sessions.state import State
from ctld.sessions.table import SessionTable
from tests.native import until


class Watcher:
    """A viewer that keeps what it sees."""

    def __init__(self, *, may_type: bool = True) -> None:
        self.may_type = may_type
        self.congested = False
        self.output: list[tuple[int, bytes]] = []
        self.ends: list[int] = []
        self.full: list[bool] = []
        self.ended = 0

    def on_output(self, stream: int, data: bytes) -> None:
        assert not self.ended
        self.output.append((stream, data))

    def on_output_end(self, stream: int) -> None:
        assert not self.ended
        self.ends.append(stream)

    def on_input_full(self, full: bool) -> None:
        self.full.append(full)

    def on_ended(self) -> None:
        self.ended += 1

    @property
    def text(self) -> bytes:
        return b"".join(data for _, data in self.output)


@pytest.fixture
def told():
    return []


@pytest.fixture
def table(told):
    return SessionTable(lambda session, what: told.append((what, session.exit_status)), grace=0.2)


async def started(table, *argv, tty=False, on_disconnect="hangup") -> Session:
    session = table.create(argv, tty=tty, on_disconnect=on_disconnect)
    await start_program(session)
    return session


async def test_one_end_after_all_output(table, told):
    session = await started(table, "sh", "-c", "echo out; echo err >&2; exit 3")
    watcher = Watcher()
    session.join(watcher)
    assert await session.wait() == 3
    assert watcher.ended == 1
    assert sorted(watcher.output) == [(1, b"out\n"), (2, b"err\n")]
    assert sorted(watcher.ends) == [1, 2]
    assert told == [("start", None), ("end", 3)]
    assert list(table) == []


async def test_the_scroll_back_comes_first_for_those_who_come_later(table):
    session = await started(table, "sh", "-c", "echo early; read x; echo late")
    first = Watcher()
    session.join(first)
    await until(lambda: first.text == b"early\n")
    second = Watcher()
    session.join(second)
    assert second.text == b"early\n"
    session.write(b"\n")
    await session.wait()
    assert first.text == second.text == b"early\nlate\n"


async def test_an_end_that_nobody_saw_is_kept(table):
    session = await started(table, "sh", "-c", "echo text; exit 4")
    await session.wait()
    assert [one.describe()["exitstatus"] for one in table] == [4]
    late = Watcher()
    table.find(session.id).join(late)
    assert (late.text, late.ended) == (b"text\n", 1)
    session.leave(late)


async def test_a_congested_viewer_that_may_type_stops_the_program(table):
    session = await started(table, "yes")
    slow = Watcher()
    slow.congested = True
    session.join(slow)
    assert session._program.paused
    before = session.bytes_out
    for _ in range(20):
        await asyncio.sleep(0)
    assert session.bytes_out == before
    slow.congested = False
    session.balance()
    await until(lambda: session.bytes_out > before + 100_000)
    session.leave(slow)
    await session.wait()


async def test_a_congested_watcher_does_not(table):
    session = await started(table, "yes", on_disconnect="detach")
    slow = Watcher(may_type=False)
    slow.congested = True
    session.join(slow)
    await until(lambda: session.bytes_out > 1_000_000)
    session.kill()
    assert await session.wait() == 137


async def test_a_program_that_does_not_read_is_told_to_viewers_that_may_type(table):
    session = await started(table, "sh", "-c", "read x; cat >/dev/null")
    typist, watcher = Watcher(), Watcher(may_type=False)
    session.join(typist)
    session.join(watcher)
    os.kill(session.pid, 19)  # SIGSTOP
    for _ in range(10):
        session.write(b"x" * 65536)
    assert session.input_full
    late = Watcher()
    session.join(late)
    assert (typist.full, watcher.full, late.full) == ([True], [], [True])
    session.write(b"\n")
    os.kill(session.pid, 18)  # SIGCONT
    await until(lambda: typist.full == [True, False])
    session.end_input()
    assert await session.wait() == 0


async def test_leaving_twice_is_leaving_once(table):
    session = await started(table, "sleep", "60", on_disconnect="detach")
    watcher = Watcher()
    session.join(watcher)
    session.leave(watcher)
    session.leave(watcher)
    assert session.state is State.DETACHED
    session.hang_up()
    assert await session.wait() == 129


async def test_leaving_on_purpose_keeps_it(table):
    session = await started(table, "sleep", "60")
    watcher = Watcher()
    session.join(watcher)
    session.leave(watcher, on_purpose=True)
    assert session.state is State.DETACHED
    other = Watcher()
    session.join(other)
    session.leave(other)  # and from then on it stays
    assert session.state is State.DETACHED
    session.kill()
    await session.wait()


async def test_the_reason_of_the_end_is_raised(table):
    session = await started(table, "sleep", "60")
    session.hang_up(ShuttingDown("going down"))
    session.hang_up(CommandFailed("the first reason stands"))
    with pytest.raises(ShuttingDown, match="going down"):
        await session.wait()


async def test_the_grace_is_the_tables(table):
    session = await started(table, "sh", "-c", "trap '' HUP; echo ready; while :; do sleep 0.05; done")
    watcher = Watcher()
    session.join(watcher)
    await until(lambda: watcher.text == b"ready\n")
    started_at = asyncio.get_running_loop().time()
    session.hang_up()
    assert await session.wait() == 137
    assert asyncio.get_running_loop().time() - started_at >= 0.19


async def test_wanted_to_end_while_it_starts(table):
    session = table.create(["sleep", "60"], tty=False, on_disconnect="hangup")
    session.kill()
    assert session.state is State.DOOMED
    await start_program(session)
    assert await session.wait() == 129


async def test_a_terminal_that_somebody_else_drives(table):
    ours, theirs = socket.socketpair()
    session = table.create(["fd"], tty=True, on_disconnect="detach")
    session.drive(theirs.detach())
    watcher = Watcher()
    session.join(watcher)
    ours.sendall(b"from the machine")
    await until(lambda: watcher.text == b"from the machine")
    session.write(b"typed")
    assert ours.recv(100) == b"typed"
    assert session.signal(15) is False
    session.resize(5, 5)
    assert session.pid is None
    ours.close()
    assert await session.wait() == 0
    assert watcher.ended == 1


async def test_one_that_somebody_else_drives_is_let_go(table):
    ours, theirs = socket.socketpair()
    session = table.create(["fd"], tty=True, on_disconnect="detach")
    session.drive(theirs.detach())
    session.hang_up()
    assert await session.wait() == 0
    assert ours.recv(1) == b""
    ours.close()


async def test_silence_ends_the_wait_for_a_stranger_and_writing_prolongs_it(table):
    session = await started(table, "sh", "-c", "(for i in 1 2 3 4; do sleep 0.4; echo $i; done; sleep 60) & exit 0")
    watcher = Watcher()
    session.join(watcher)
    assert await session.wait() == 0
    assert watcher.text == b"1\n2\n3\n4\n"


async def test_a_kill_does_not_wait_for_a_stranger(table):
    session = await started(table, "sh", "-c", "setsid sleep 60 & echo $!")
    watcher = Watcher()
    session.join(watcher)
    await until(lambda: session.state is State.DRAINING)
    session.kill()
    assert session.ended
    os.kill(int(watcher.text), 9)


async def test_what_is_told_of_it(table):
    session = await started(table, "cat", tty=True)
    session.write(b"abc")
    told = session.describe()
    assert told["cmd"] == ["cat"]
    assert (told["state"], told["tty"], told["bytes_in"], told["viewers"], told["owner"]) == (
        "detached",
        True,
        3,
        0,
        "daemon",
    )
    assert session.id in repr(session)
    session.kill()
    await session.wait()
