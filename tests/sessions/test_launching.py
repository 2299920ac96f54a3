"""The environment of a session's program, and what becomes of one that cannot start."""

import os

import pytest

from ctld.errors import InvalidOptions, NotFound
from ctld.sessions.launching import environment, start_program
from ctld.sessions.state import State
from ctld.sessions.table import SessionTable


def test_what_the_service_manager_told_the_daemon_is_not_passed_on(monkeypatch):
    for name in ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("LANG", "C.UTF-8")
    found = environment({"A": "1"}, user=None, tty=False)
    assert found["LANG"] == "C.UTF-8"
    assert found["A"] == "1"
    assert not {"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_USEC", "CREDENTIALS_DIRECTORY"} & set(found)


def test_the_terminal_is_the_clients_and_not_the_daemons(monkeypatch):
    monkeypatch.setenv("TERM", "daemons-own")
    assert environment(None, user=None, tty=True)["TERM"] == "xterm"
    assert environment({"TERM": "foot"}, user=None, tty=True)["TERM"] == "foot"


def test_another_user_has_another_home():
    found = environment(None, user="nobody", tty=False)
    assert (found["USER"], found["LOGNAME"]) == ("nobody", "nobody")
    with pytest.raises(NotFound, match="no user 'nobody-at-all'"):
        environment(None, user="nobody-at-all", tty=False)


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("wrong", [{"argv": ["/no/such"]}, {"cwd": "/no/such"}, {"user": "nobody-at-all"}])
async def test_one_that_cannot_start_leaves_nothing_behind(tty, wrong):
    told = []
    table = SessionTable(lambda session, what: told.append(what))
    session = table.create(wrong.get("argv", ["true"]), tty=tty, on_disconnect="hangup")
    with pytest.raises(NotFound):
        await start_program(session, cwd=wrong.get("cwd"), user=wrong.get("user"))
    assert session.state is State.ENDED
    assert not list(table)
    assert told == []


async def test_a_size_that_no_terminal_has():
    table = SessionTable(lambda session, what: None)
    session = table.create(["true"], tty=True, on_disconnect="hangup")
    with pytest.raises(InvalidOptions):
        await start_program(session, rows=0)
    assert session.ended


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
async def test_it_runs_as_the_user_it_is_told(tmp_path):
    table = SessionTable(lambda session, what: None)
    session = table.create(["sh", "-c", "test $(id -un) = nobody"], tty=False, on_disconnect="hangup")
    await start_program(session, user="nobody")
    assert await session.wait() == 0
