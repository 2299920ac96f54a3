"""Commands at a later time: the file, the clock, and who asked."""

import asyncio
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

import ctld
from ctld.client import AsyncClient
from ctld.commands import schedule as module
from ctld.commands.schedule import MAX_ENTRIES, Schedule, ScheduledCommand, schedule_commands
from ctld.errors import Busy, CommandFailed, Denied, InvalidOptions, NotFound, UnknownCommand
from tests.native import serving


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "state/schedule.json")


def entry(id="a", at=2000.0, **more):
    return ScheduledCommand(id=id, at=at, command="note", peer="me", role="operate", **more)


async def test_what_is_noted_is_kept_across_a_restart_in_order(path):
    schedule = Schedule(path)
    schedule.add(entry("late", 3000.0, options={"x": [1, None]}))
    schedule.add(entry("early", 1.5))
    again = Schedule(path)
    assert [one.id for one in again.entries()] == ["early", "late"]
    assert again.entries() == schedule.entries()
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert again.take("late").options == {"x": [1, None]}
    assert [one.id for one in Schedule(path).entries()] == ["early"]


async def test_what_cannot_be_read_is_told_and_begins_anew(path, caplog):
    os.makedirs(os.path.dirname(path))
    for junk in ("junk", "[{}]"):
        with open(path, "w") as file:
            file.write(junk)
        assert Schedule(path).entries() == []
    assert "cannot read what was scheduled" in caplog.text


async def test_what_cannot_be_written_is_not_noted(path):
    os.makedirs(path)  # a directory is in the way
    schedule = Schedule(path)
    with pytest.raises(CommandFailed, match="cannot write the schedule"):
        schedule.add(entry())
    assert schedule.entries() == []


async def test_there_is_a_bound(path, monkeypatch):
    monkeypatch.setattr(module, "MAX_ENTRIES", 2)
    schedule = Schedule(path)
    schedule.add(entry("a"))
    schedule.add(entry("b"))
    with pytest.raises(Busy):
        schedule.add(entry("c"))
    assert MAX_ENTRIES == 1000


async def test_nobody_takes_twice(path):
    schedule = Schedule(path)
    schedule.add(entry())
    schedule.take("a")
    with pytest.raises(NotFound):
        schedule.take("a")


async def test_entries_run_when_they_are_due_and_once(path, clock):
    schedule = Schedule(path, now=clock)
    ran = asyncio.Queue()
    keeper = asyncio.create_task(schedule.keep(ran.put_nowait))
    schedule.add(entry("now", 1000.0))
    assert await ran.get() == "now"
    schedule.add(entry("soon", 1000.05))
    clock.now = 1001.0
    assert await ran.get() == "soon"
    schedule.add(entry("far", 9999.0))
    await asyncio.sleep(0)
    assert ran.empty()
    keeper.cancel()
    await asyncio.wait([keeper])


async def test_what_was_due_long_ago_is_dropped(path, clock, caplog):
    schedule = Schedule(path, now=clock)
    schedule.add(entry("old", 0.0))
    schedule.add(entry("missed", 900.0))
    clock.now = 4000.0
    ran = asyncio.Queue()
    keeper = asyncio.create_task(schedule.keep(ran.put_nowait))
    assert await ran.get() == "missed"
    assert [one.id for one in schedule.entries()] == ["missed"]
    assert "was due while nothing ran, and is dropped" in caplog.text
    keeper.cancel()
    await asyncio.wait([keeper])


async def test_a_run_that_cannot_begin_is_told_and_the_keeper_goes_on(path, clock, caplog):
    schedule = Schedule(path, now=clock)
    ran = asyncio.Queue()

    def run(id):
        if id == "bad":
            raise CommandFailed("no")
        ran.put_nowait(id)

    schedule.add(entry("bad", 1.0))
    schedule.add(entry("good", 2.0))
    clock.now = 3.0
    keeper = asyncio.create_task(schedule.keep(run))
    assert await ran.get() == "good"
    assert "scheduled note of me: no" in caplog.text
    keeper.cancel()
    await asyncio.wait([keeper])


class Stage:
    def __init__(self, path):
        self.schedule = Schedule(path)
        self.noted = asyncio.Queue()
        self.commands = ctld.CommandRegistry()

        @self.commands.command("note", role="operate")
        async def note(ctx: ctld.Context, text: str) -> str:
            self.noted.put_nowait((text, ctx.peer))
            if text == "fail":
                raise CommandFailed("it failed")
            return "noted"

        @self.commands.command("secret", role="admin")
        async def secret(ctx: ctld.Context) -> None:
            pass

        self.commands.include(schedule_commands(self.schedule))


@pytest_asyncio.fixture
async def stage(path):
    return Stage(path)


class Operator(ctld.ClientHandler):
    async def on_connect(self):
        self.peer = replace(self.peer, role="operate", uid=12345, name="op")


async def test_a_command_is_noted_listed_cancelled_and_run_as_who_asked(stage, tmp_path):
    async with (
        serving(tmp_path, stage.commands, handler=Operator) as served,
        AsyncClient(f"unix:{served.path}") as client,
    ):
        noted = await client.call("job_schedule_add", {"command": "note", "at": 4e9, "options": {"text": "x"}})
        assert await client.call("job_schedule") == [noted]
        assert await client.call("job_schedule_cancel", {"id": noted["id"]}) == noted
        with pytest.raises(NotFound):
            await client.call("job_schedule_cancel", {"id": noted["id"]})
        with pytest.raises(Denied):
            await client.call("job_schedule_run", {"id": "x"})
        keeper = asyncio.create_task(stage.schedule.keep(lambda id: served.server.launch(stage.schedule.run, id)))
        await client.call("job_schedule_add", {"command": "note", "at": 0, "options": {"text": "old"}})
        await client.call("job_schedule_add", {"command": "note", "at": time.time(), "options": {"text": "y"}})
        text, peer = await stage.noted.get()
        assert (text, peer.name, peer.role, peer.uid) == ("y", "op", "operate", 12345)
        keeper.cancel()
        await asyncio.wait([keeper])


async def test_what_the_caller_could_not_do_now_is_not_noted(stage, tmp_path):
    class Careful(Operator):
        async def authorize(self, command, opts):
            if opts.get("text") == "forbidden":
                raise Denied("not that")

    async with (
        serving(tmp_path, stage.commands, handler=Careful) as served,
        AsyncClient(f"unix:{served.path}") as client,
    ):
        for command, options, error in (
            ("secret", {}, Denied),
            ("nothing", {}, UnknownCommand),
            ("note", {"txt": "x"}, InvalidOptions),
            ("note", {"text": "forbidden"}, Denied),
        ):
            with pytest.raises(error):
                await client.call("job_schedule_add", {"command": command, "at": 4e9, "options": options})
    assert stage.schedule.entries() == []


async def test_todays_rules_decide_and_failures_are_told(stage, tmp_path, caplog):
    stage.schedule.add(entry("fails", options={"text": "fail"}, transport="unix", uid=12345))
    stage.schedule.add(entry("demoted", options={"text": "x"}, transport="unix", uid=12346))
    roles = {"observe": ["uid:12346"]}
    async with serving(tmp_path, stage.commands, roles=roles) as served:
        with pytest.raises(CommandFailed, match="it failed"):
            await served.server.launch(stage.schedule.run, "fails").wait()
        with pytest.raises(Denied):
            await served.server.launch(stage.schedule.run, "demoted").wait()
    assert "the scheduled note of me: it failed" in caplog.text
    assert json.loads(Path(stage.schedule._path).read_text()) == []
