"""Commands at a later time: two clocks, who asked, and what a restart or a full disk makes of it."""

import asyncio
import contextlib
import json
import pwd
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec.structs import replace as replace_struct

import ctld
from ctld.client import AsyncClient
from ctld.commands import schedule as module
from ctld.commands.schedule import MAX_ENTRIES, Schedule, schedule_commands
from ctld.commands.schedule_file import MAX_ENTRY, ScheduledCommand, read_entries, write_entries
from ctld.errors import (
    BadRequest,
    Busy,
    CommandFailed,
    Denied,
    InvalidOptions,
    NotFound,
    ShuttingDown,
    UnknownCommand,
)
from tests.clock import Clock
from tests.native import serving


@pytest.fixture
def clock():
    return Clock(100_000.0)


@pytest.fixture
def uptime():
    return Clock(50.0)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "state/schedule.json")


def entry(id="a", at=200_000.0, **more):
    return ScheduledCommand(id=id, at=at, command="note", peer="me", role="operate", **more)


@asynccontextmanager
async def kept(schedule, run):
    """Keep a schedule for a while."""
    keeper = asyncio.create_task(schedule.keep(run))
    try:
        yield keeper
    finally:
        keeper.cancel()
        await asyncio.wait([keeper])


class Runs(asyncio.Queue):
    """Starts entries as a server does: the one that runs is taken."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule
        self.tasks = set()

    def __call__(self, id):
        task = asyncio.create_task(self._run(id))
        self.tasks.add(task)

    async def _run(self, id):
        await self.schedule.take(id)
        self.put_nowait(id)


async def ids(schedule):
    return [one.id for one in await schedule.entries()]


async def test_what_is_noted_is_kept_across_a_restart_in_order(path):
    schedule = Schedule(path)
    await schedule.add(entry("late", 3e5, options={"x": [1, None]}))
    await schedule.add(entry("early", 1.5))
    again = Schedule(path)
    assert await ids(again) == ["early", "late"]
    assert await again.entries() == await schedule.entries()
    assert (await again.take("late")).options == {"x": [1, None]}
    assert await ids(Schedule(path)) == ["early"]


async def test_a_schedule_touches_no_file_before_it_is_needed(path):
    file = Path(path)
    file.parent.mkdir()
    file.write_text("junk")
    Schedule(path)
    assert file.read_text() == "junk"


async def test_a_file_that_is_not_understood_costs_no_entry_of_today(path):
    file = Path(path)
    file.parent.mkdir()
    file.write_text("junk")
    schedule = Schedule(path)
    await schedule.add(entry())
    assert await ids(Schedule(path)) == ["a"]
    assert Path(f"{path}.broken").read_text() == "junk"


async def test_what_cannot_be_written_is_not_noted_and_what_cannot_be_read_not_overwritten(path):
    schedule = Schedule(path)
    assert await schedule.entries() == []
    Path(path).mkdir(parents=True)  # a directory is in the way
    with pytest.raises(CommandFailed, match="cannot write the schedule"):
        await schedule.add(entry())
    assert await schedule.entries() == []
    with pytest.raises(CommandFailed, match="cannot read the schedule"):
        await Schedule(path).add(entry())


async def test_an_entry_that_cannot_be_removed_stays(path):
    schedule = Schedule(path)
    await schedule.add(entry())
    Path(path).rename(f"{path}.moved")
    Path(path).mkdir()
    with pytest.raises(CommandFailed, match="cannot write the schedule"):
        await schedule.take("a")
    assert await ids(schedule) == ["a"]


async def test_there_is_a_bound_on_entries(path, monkeypatch):
    monkeypatch.setattr(module, "MAX_ENTRIES", 2)
    schedule = Schedule(path)
    await schedule.add(entry("a"))
    await schedule.add(entry("b"))
    with pytest.raises(Busy, match="2 commands are scheduled already"):
        await schedule.add(entry("c"))
    assert MAX_ENTRIES == 1000


async def test_there_is_a_bound_on_the_size_of_an_entry(path):
    schedule = Schedule(path)
    with pytest.raises(InvalidOptions, match="longer than a schedule keeps"):
        await schedule.add(entry(options={"text": "x" * MAX_ENTRY}))
    assert await schedule.entries() == []


async def test_nobody_takes_twice_however_many_try_at_once(path):
    schedule = Schedule(path)
    await schedule.add(entry())
    results = await asyncio.gather(*(schedule.take("a") for _ in range(5)), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["NotFound"] * 4 + ["ScheduledCommand"]


async def test_entries_added_at_once_are_all_kept(path):
    schedule = Schedule(path)
    await asyncio.gather(*(schedule.add(entry(str(number))) for number in range(20)))
    assert len(read_entries(path)) == 20


async def test_entries_run_when_they_are_due_and_once(path, clock):
    schedule = Schedule(path, now=clock)
    ran = Runs(schedule)
    async with kept(schedule, ran):
        await schedule.add(entry("now", clock.now))
        assert await ran.get() == "now"
        await schedule.add(entry("soon", clock.now + 0.05))
        clock.now += 1
        assert await ran.get() == "soon"
        await schedule.add(entry("far", clock.now + 9999))
        await schedule.add(entry("also now", clock.now))
        assert await ran.get() == "also now"
        assert ran.empty()
    assert await ids(schedule) == ["far"]


async def test_an_entry_that_is_slow_to_be_taken_is_started_once(path, clock):
    schedule = Schedule(path, now=clock)
    started = asyncio.Queue()
    async with kept(schedule, started.put_nowait):
        await schedule.add(entry("slow", clock.now))
        assert await started.get() == "slow"
        await schedule.add(entry("next", clock.now))  # wakes the keeper, while the first one is still there
        assert await started.get() == "next"
        assert started.empty()


async def test_a_clock_that_is_set_forward_makes_a_time_come_and_one_that_is_set_back_postpones_it(
    path, clock, monkeypatch
):
    monkeypatch.setattr(module, "_LONGEST_NAP", 0.01)
    schedule = Schedule(path, now=clock)
    ran = Runs(schedule)
    async with kept(schedule, ran):
        await schedule.add(entry("at", clock.now + 1000))
        clock.now -= 500
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ran.get(), 0.05)
        clock.now += 1600
        assert await ran.get() == "at"


async def test_a_delay_does_not_care_that_the_clock_is_set(path, clock, uptime, monkeypatch):
    monkeypatch.setattr(module, "_LONGEST_NAP", 0.01)
    schedule = Schedule(path, now=clock, uptime=uptime)
    ran = Runs(schedule)
    async with kept(schedule, ran):
        await schedule.add(entry("in", clock.now + 300), delay=300)
        clock.now += 5e6  # from the factory's date to today's
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ran.get(), 0.05)
        (listed,) = await schedule.entries()
        assert listed.at == clock.now + 300
        uptime.now += 300
        assert await ran.get() == "in"


@pytest.mark.parametrize(("slept", "runs"), [(3599, True), (3601, False)])
async def test_a_machine_that_sleeps_makes_a_delay_late(path, clock, uptime, slept, runs, caplog):
    schedule = Schedule(path, now=clock, uptime=uptime)
    await schedule.add(entry("in", clock.now + 300), delay=300)
    uptime.now += 300 + slept
    clock.now -= 1e4  # this one says nothing about it
    ran = Runs(schedule)
    async with kept(schedule, ran):
        await schedule.add(entry("other", clock.now))
        expected = ["in", "other"] if runs else ["other"]
        assert sorted([await ran.get() for _ in expected]) == expected
    assert ("was due long ago" in caplog.text) != runs


async def test_after_a_restart_a_delay_is_the_time_that_it_came_to(path, clock, uptime):
    schedule = Schedule(path, now=clock, uptime=uptime)
    await schedule.add(entry("in", clock.now + 300), delay=300)
    uptime.now = 1.0
    (listed,) = await Schedule(path, now=clock, uptime=uptime).entries()
    assert listed.at == clock.now + 300


async def test_what_was_due_long_ago_is_dropped_and_what_was_due_lately_runs(path, clock, caplog):
    write_entries(path, [entry("old", clock.now - 3601), entry("missed", clock.now - 3599)])
    schedule = Schedule(path, now=clock)
    ran = Runs(schedule)
    async with kept(schedule, ran):
        assert await ran.get() == "missed"
    assert read_entries(path) == []
    assert "note of me is dropped: it was due long ago" in caplog.text


async def test_what_is_cancelled_while_it_is_dropped_is_no_error(path, clock, monkeypatch):
    write_entries(path, [entry("old", 0.0), entry("due", clock.now)])
    schedule = Schedule(path, now=clock)
    take = schedule.take

    async def too_late(id):
        if id == "old":
            await take(id)
        return await take(id)

    monkeypatch.setattr(schedule, "take", too_late)
    ran = Runs(schedule)
    async with kept(schedule, ran):
        assert await ran.get() == "due"


async def test_a_run_that_cannot_begin_is_told_and_tried_again(path, clock, caplog, monkeypatch):
    monkeypatch.setattr(module, "_LONGEST_NAP", 0.01)
    schedule = Schedule(path, now=clock)
    ran = Runs(schedule)
    problems = [ShuttingDown("no")]

    def run(id):
        if problems:
            raise problems.pop()
        ran(id)

    await schedule.add(entry("a", clock.now))
    async with kept(schedule, run):
        assert await ran.get() == "a"
    assert "what is scheduled waits: no" in caplog.text


async def test_a_schedule_that_cannot_be_read_waits_until_it_can(path, clock, caplog, monkeypatch):
    monkeypatch.setattr(module, "_LONGEST_NAP", 0.01)
    file = Path(path)
    file.parent.mkdir()
    file.symlink_to("elsewhere")  # it is not followed, and replaced at once: there is no moment without a file
    schedule = Schedule(path, now=clock)
    ran = Runs(schedule)
    async with kept(schedule, ran):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ran.get(), 0.05)
        assert "what is scheduled waits: cannot read the schedule" in caplog.text
        write_entries(path, [entry("a", clock.now)])
        assert await ran.get() == "a"


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

        @self.commands.command("privileged", role="admin")
        async def privileged(ctx: ctld.Context) -> None:
            pass

        @self.commands.command("login", role="anyone")
        async def login(ctx: ctld.Context, password: ctld.Secret | None = None) -> None:
            pass

        @self.commands.command("stream", role="observe", endless=True)
        async def stream(ctx: ctld.Context) -> AsyncIterator[int]:
            yield 1

        self.commands.include(schedule_commands(self.schedule))

    @asynccontextmanager
    async def client(self, tmp_path, handler=None, **more):
        async with (
            serving(tmp_path, self.commands, handler=handler or Operator, **more) as served,
            AsyncClient(f"unix:{served.path}") as client,
        ):
            yield client, served.server


@pytest_asyncio.fixture
async def stage(path):
    return Stage(path)


class Operator(ctld.ClientHandler):
    async def on_connect(self):
        self.peer = replace(self.peer, role="operate", uid=12345, name="op")


async def test_a_command_is_noted_listed_cancelled_and_run_as_who_asked(stage, tmp_path):
    async with stage.client(tmp_path) as (client, server):
        noted = await client.call(
            "job_schedule_add", {"command": "note", "at": time.time() + 1e6, "options": {"text": "x"}}
        )
        assert await client.call("job_schedule") == [noted]
        assert await client.call("job_schedule_cancel", {"id": noted["id"]}) == noted
        with pytest.raises(NotFound):
            await client.call("job_schedule_cancel", {"id": noted["id"]})
        with pytest.raises(Denied):
            await client.call("job_schedule_run", {"id": "x"})
        async with kept(stage.schedule, lambda id: server.launch(stage.schedule.run, id)):
            await client.call("job_schedule_add", {"command": "note", "at": time.time(), "options": {"text": "y"}})
            text, peer = await stage.noted.get()
            assert (text, peer.name, peer.role, peer.uid) == ("y", "op", "operate", 12345)
            await client.call("job_schedule_add", {"command": "note", "delay": 0, "options": {"text": "z"}})
            assert (await stage.noted.get())[0] == "z"


async def test_a_delay_is_listed_as_the_time_that_it_comes_to(stage, tmp_path):
    async with stage.client(tmp_path) as (client, _):
        before = time.time()
        noted = await client.call("job_schedule_add", {"command": "note", "delay": 60, "options": {"text": "x"}})
        (listed,) = await client.call("job_schedule")
    assert before + 60 <= noted["at"] <= time.time() + 60
    assert listed["at"] == pytest.approx(noted["at"], abs=5)


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ({}, "either at or delay"),
        ({"at": 2e9, "delay": 1}, "either at or delay"),
        ({"at": 0}, "that time has passed"),
        ({"at": 1e9}, "that time has passed"),
        ({"delay": -61}, "that time has passed"),
        ({"at": 1e12}, "more than ten years ahead"),
        ({"delay": 4e8}, "more than ten years ahead"),
        ({"delay": 1e300}, "more than ten years ahead"),
    ],
)
async def test_what_is_no_time_for_a_plan_is_refused(stage, tmp_path, when, reason):
    async with stage.client(tmp_path) as (client, _):
        with pytest.raises(InvalidOptions, match=reason):
            await client.call("job_schedule_add", {"command": "note", "options": {"text": "x"}, **when})
    assert await stage.schedule.entries() == []


async def test_what_could_not_be_done_now_is_not_noted(stage, tmp_path):
    class Careful(Operator):
        async def authorize(self, command, opts):
            if opts.get("text") == "forbidden":
                raise Denied("not that")

    async with stage.client(tmp_path, Careful) as (client, _):
        for command, options, error in (
            ("privileged", {}, Denied),
            ("nothing", {}, UnknownCommand),
            ("note", {"txt": "x"}, InvalidOptions),
            ("note", {"text": "forbidden"}, Denied),
            ("stream", {}, BadRequest),
            ("event_subscribe", {}, BadRequest),
            ("login", {"password": "x"}, BadRequest),
        ):
            with pytest.raises(error):
                await client.call("job_schedule_add", {"command": command, "delay": 9, "options": options})
    assert await stage.schedule.entries() == []


async def test_todays_rules_decide_and_failures_are_told(stage, tmp_path, caplog):
    more = {"transport": "unix", "fallback": "operate"}
    await stage.schedule.add(entry("fails", options={"text": "fail"}, uid=12345, **more))
    await stage.schedule.add(entry("demoted", options={"text": "x"}, uid=12346, **more))
    async with serving(tmp_path, stage.commands, roles={"observe": ["uid:12346"]}) as served:
        with pytest.raises(CommandFailed, match="it failed"):
            await served.server.launch(stage.schedule.run, "fails").wait()
        with pytest.raises(Denied):
            await served.server.launch(stage.schedule.run, "demoted").wait()
    assert "the scheduled note of me: it failed" in caplog.text
    assert json.loads(Path(stage.schedule._path).read_text()) == []


async def test_what_a_rule_gave_ends_with_the_rule(stage, tmp_path):
    class Plain(ctld.ClientHandler):
        async def on_connect(self):
            self.peer = replace(self.peer, uid=12345, gid=12345, groups=frozenset(), name="op", role="operate")

    request = {"command": "note", "delay": 9, "options": {"text": "x"}}
    async with stage.client(tmp_path, Plain, roles={"operate": ["uid:12345"]}) as (client, _):
        first, second = [await client.call("job_schedule_add", request) for _ in range(2)]
    assert [entry.fallback for entry in await stage.schedule.entries()] == ["anyone", "anyone"]
    assert set(first) == {"id", "at", "command", "options", "peer"}
    async with serving(tmp_path, stage.commands) as served:  # where no rule names him any more
        with pytest.raises(Denied):
            await served.server.launch(stage.schedule.run, first["id"]).wait()
    async with serving(tmp_path, stage.commands, roles={"operate": ["uid:12345"]}) as served:
        assert await served.server.launch(stage.schedule.run, second["id"]).wait() == "noted"


async def test_the_groups_of_today_decide(stage, tmp_path):
    nobody = pwd.getpwnam("nobody")
    await stage.schedule.add(entry("a", options={"text": "x"}, transport="unix", uid=nobody.pw_uid))
    async with serving(tmp_path, stage.commands, roles={"operate": [f"gid:{nobody.pw_gid}"]}) as served:
        assert await served.server.launch(stage.schedule.run, "a").wait() == "noted"


async def test_of_the_options_only_a_name_is_told(stage, tmp_path):
    """Which of them are secret only the command knows; one that is refused is told, too."""
    options = {"text": "hunter2", "name": "web"}
    async with stage.client(tmp_path) as (client, server):
        with pytest.raises(InvalidOptions):
            await client.call("job_schedule_add", {"command": "note", "delay": 9, "options": options})
        (told,) = await server.history.query(cmd="job_schedule_add")
        assert json.loads(told.options)["options"] == {"text": "***", "name": "web"}
        events = server.events.past(limit=10)
        assert {event.opts["opts"]["options"]["text"] for event in events if event.type == "management"} == {"***"}


async def test_nobody_cancels_what_he_could_not_have_asked_for(stage, tmp_path):
    await stage.schedule.add(entry("theirs", uid=1))
    await stage.schedule.add(replace_struct(entry("admins", uid=0), command="privileged"))
    await stage.schedule.add(replace_struct(entry("own", uid=12345), command="privileged"))
    await stage.schedule.add(replace_struct(entry("gone", uid=0), command="no_such_command"))
    async with stage.client(tmp_path) as (client, _):
        for id in ("admins", "gone"):
            with pytest.raises(Denied):
                await client.call("job_schedule_cancel", {"id": id})
        for id in ("theirs", "own"):
            assert (await client.call("job_schedule_cancel", {"id": id}))["id"] == id
    assert await ids(stage.schedule) == ["admins", "gone"]


async def test_an_entry_that_cannot_be_taken_is_told_and_does_not_run(stage, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(module, "_LONGEST_NAP", 0.01)
    path = Path(stage.schedule._path)
    await stage.schedule.add(entry("a", time.time(), options={"text": "x"}, uid=12345, fallback="operate"))
    path.rename(f"{path}.moved")
    path.mkdir()  # as good as a disk that is full
    async with serving(tmp_path, stage.commands) as served:
        told = asyncio.Event()
        waiting = []

        def run(id):
            operation = served.server.launch(stage.schedule.run, id)
            waiting.append(asyncio.create_task(wait_for(operation, told)))

        async with kept(stage.schedule, run):
            await told.wait()
            assert "a cannot be run: cannot write the schedule" in caplog.text
            assert stage.noted.empty()
            path.rmdir()
            assert (await stage.noted.get())[0] == "x"  # tried again


async def wait_for(operation, told):
    with contextlib.suppress(CommandFailed):
        await operation.wait()
    told.set()
