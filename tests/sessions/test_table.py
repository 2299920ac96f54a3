"""Every session of a daemon, by id."""

import asyncio
import gc
import weakref

import pytest

from ctld.errors import Busy, NotFound, ShuttingDown
from ctld.sessions import table as table_module
from ctld.sessions.launching import start_program
from ctld.sessions.table import SessionTable


@pytest.fixture
def table():
    return SessionTable(lambda session, what: None, grace=0.1, most=3)


async def test_by_id(table):
    session = table.create(["true"], tty=False, on_disconnect="hangup")
    assert table.find(session.id) is session
    assert list(table) == [session]
    assert (len(table), bool(table)) == (1, True)
    with pytest.raises(NotFound) as unknown:
        table.find("nope")
    assert unknown.value.fields == {"kind": "session", "name": "nope"}
    session.fail()
    assert len(table) == 0
    assert table
    with pytest.raises(NotFound):
        table.find(session.id)


async def test_too_many(table):
    sessions = [table.create(["true"], tty=False, on_disconnect="hangup") for _ in range(3)]
    with pytest.raises(Busy, match="3 sessions"):
        table.create(["true"], tty=False, on_disconnect="hangup")
    for session in sessions:
        session.fail()


async def test_ended_ones_are_kept_for_a_while_and_not_without_bound(table, monkeypatch):
    monkeypatch.setattr(table_module, "_KEPT", 2)
    ended = []
    for _ in range(4):
        session = table.create(["true"], tty=False, on_disconnect="detach")
        await start_program(session)
        await session.wait()
        ended.append(session)
    assert list(table) == ended[2:]
    monkeypatch.setattr(table_module, "_RETENTION", 0.0)
    assert list(table) == []


async def test_ended_ones_are_forgotten_though_nobody_asks(table, monkeypatch):
    monkeypatch.setattr(table_module, "_KEPT", 2)
    ended = []
    for _ in range(4):
        session = table.create(["true"], tty=False, on_disconnect="detach")
        ended.append(weakref.ref(session))
        await start_program(session)
        await session.wait()
        del session
    gc.collect()
    assert [one() is not None for one in ended] == [False, False, True, True]


async def test_closing_ends_all_and_begins_nothing(table):
    polite = table.create(["sleep", "60"], tty=False, on_disconnect="detach")
    deaf = table.create(["sh", "-c", "trap '' HUP; while :; do sleep 0.05; done"], tty=False, on_disconnect="detach")
    starting = table.create(["true"], tty=False, on_disconnect="detach")
    await start_program(polite)
    await start_program(deaf)
    await table.close()
    assert polite.ended
    assert deaf.ended
    assert not starting.ended  # that is its command's affair
    starting.fail()
    with pytest.raises(ShuttingDown):
        table.create(["true"], tty=False, on_disconnect="hangup")
    await table.close()


async def test_a_hurry_cuts_the_grace_short():
    table = SessionTable(lambda session, what: None, grace=600)
    deaf = table.create(["sh", "-c", "trap '' HUP; while :; do sleep 0.05; done"], tty=False, on_disconnect="detach")
    await start_program(deaf)
    hurry = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, hurry.set)
    await table.close(hurry)
    assert deaf.ended
