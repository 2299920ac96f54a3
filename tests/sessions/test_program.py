"""Programs and the ways to them."""

import os
import signal

import pytest

from ctld.errors import CommandFailed
from ctld.processes import PIPE, Spawn, open_terminal
from ctld.sessions.program import STDERR, STDOUT, Program
from tests.native import until
from tests.procfs import alive


class User:
    def __init__(self) -> None:
        self.output: list[tuple[int, bytes]] = []
        self.ends: list[int] = []
        self.full: list[bool] = []
        self.status = None

    def on_output(self, stream, data):
        self.output.append((stream, data))

    def on_output_end(self, stream):
        self.ends.append(stream)

    def on_input_full(self, full):
        self.full.append(full)

    def on_exit(self, status):
        self.status = status


@pytest.fixture
def user():
    return User()


async def piped(user, *argv) -> Program:
    program = Program(user)
    await program.start(Spawn(argv=argv, stdin=PIPE, stdout=PIPE, stderr=PIPE))
    return program


async def test_pipes(user):
    program = await piped(user, "sh", "-c", "cat; echo err >&2; exit 2")
    assert program.is_child
    assert program.pid > 0
    program.write(b"in")
    program.end_input()
    await until(lambda: user.status is not None and program.drained)
    assert sorted(user.output) == [(STDOUT, b"in"), (STDERR, b"err\n")]
    assert user.status.code == 2
    assert program.pid is None
    assert program.signal(signal.SIGTERM) is False
    program.close()


async def test_a_terminal(user):
    program = Program(user)
    await program.start(
        Spawn(argv=["sh", "-c", "stty size; cat"], terminal=(terminal := open_terminal(9, 8))), terminal
    )
    await until(lambda: b"9 8" in b"".join(data for _, data in user.output))
    program.resize(7, 6)
    assert os.get_terminal_size(terminal.master) == (6, 7)
    program.end_input()
    await until(lambda: user.status is not None)
    program.close()
    program.resize(5, 5)  # nothing


async def test_held_it_writes_no_more(user):
    program = await piped(user, "yes")
    program.hold(True)
    assert program.paused
    assert not program.drained
    program.hold(False)
    await until(lambda: user.output)
    assert not program.was_silent()
    program.hold(True)
    assert program.was_silent()
    program.end_by(signal.SIGKILL)
    await until(lambda: user.status is not None)
    program.close()
    assert program.drained


async def test_nothing_of_its_group_is_left_when_it_is_made_to_end(user):
    program = await piped(user, "sh", "-c", "sleep 60 & echo $!; sleep 60")
    await until(lambda: user.output)
    grandchild = int(user.output[0][1])
    program.end_by(signal.SIGTERM)
    await until(lambda: user.status is not None)
    await until(lambda: not alive(grandchild))
    program.close()


async def test_signals_that_are_not_permitted_are_no_crash(user, monkeypatch, caplog):
    program = await piped(user, "cat")

    def refuse(number):
        raise CommandFailed("not permitted")

    child = program._child
    monkeypatch.setattr(child, "signal", refuse)
    program.end_by(signal.SIGHUP)
    assert "not permitted" in caplog.text
    monkeypatch.undo()
    program.end_input()
    await until(lambda: user.status is not None)
    program.close()
