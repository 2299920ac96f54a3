"""The audit log over real sockets: what is written, by whom, and `history_list`."""

import os
import sqlite3
from pathlib import Path

import pytest

import ctld
from ctld.commands.history import history_commands
from ctld.commands.registry import CommandRegistry
from ctld.history_store import HistoryBounds, HistoryStore
from tests.commands.containers import Host, host_commands
from tests.commands.stage import BOB, stage
from tests.native import serving, until


@pytest.fixture
async def host():
    return Host()


def registry() -> CommandRegistry[Host]:
    commands = host_commands()

    @commands.command("look", role="observe", record=True)
    async def look(ctx: ctld.Context[Host]) -> None:
        """Recorded although it only looks."""

    @commands.command("hidden", role="admin", record=False)
    async def hidden(ctx: ctld.Context[Host]) -> None:
        """Never recorded."""

    @commands.command("fail", role="operate")
    async def fail(ctx: ctld.Context[Host], how: str) -> None:
        """Fail in some way."""
        if how == "denied":
            raise ctld.Denied("not you")
        if how == "bug":
            raise ZeroDivisionError("secret detail")
        raise ctld.CommandFailed("no")

    return commands


class Strangers(ctld.ClientHandler):
    async def on_connect(self):
        self.peer = ctld.Peer(name="mallory", role="anyone", uid=4711, gid=4712, pid=os.getpid(), transport="unix")


async def history(client, **opts):
    answer = await client.ask("history_list", opts)
    return answer["response"]


def test_there_is_one_command():
    assert [(command.name, command.role) for command in history_commands()] == [("history_list", "observe")]


async def test_an_entry_says_who_asked_for_what_and_what_became_of_it(tmp_path, host):
    async with serving(tmp_path, registry(), app=host) as served:
        client = await served.connect()
        opts = {"names": ["a"], "cli": "ctlctl ct stop a", "progress": False, "manipulation_lock": "wait"}
        assert (await client.ask("ct_stop", opts))["response"] == "stopped"
        [entry] = await history(client)
        assert entry.pop("time") == pytest.approx(served.server._runtime.started_at, abs=30)
        assert 0 <= entry.pop("duration") < 30
        assert entry.pop("operation").endswith("-1")
        assert entry.pop("loginuid") == ctld.callers.caller_details(os.getpid()).loginuid
        assert entry == {
            "id": 1,
            "command": "ct_stop",
            "options": '{"names":["a"]}',
            "cli": "ctlctl ct stop a",
            "outcome": "done",
            "slug": "",
            "message": "",
            "peer": entry["peer"],
            "uid": os.getuid(),
            "gid": os.getgid(),
            "pid": os.getpid(),
            "executable": os.path.realpath("/proc/self/exe"),
            "connection": str(served.server.connections()[0]["id"]),
            "dialect": "native",
        }


async def test_it_sees_every_command_whose_final_message_was_sent_before(tmp_path, host):
    async with serving(tmp_path, registry(), app=host) as served:
        one, two = await served.connect(), await served.connect()
        for n in range(1, 30):
            assert (await one.ask("ct_touch", {"name": str(n)}))["response"] == "touched"
            newest = (await history(two, limit=1))[0]
            assert (newest["id"], newest["options"]) == (n, f'{{"name":"{n}"}}')


@pytest.mark.parametrize(
    ("how", "outcome", "slug", "message"),
    [
        ("no", "failed", "failed", "no"),
        ("denied", "denied", "denied", "not you"),
        ("bug", "failed", "internal", "internal error"),
    ],
)
async def test_failures_are_there_with_their_slug(tmp_path, host, how, outcome, slug, message):
    async with serving(tmp_path, registry(), app=host) as served:
        client = await served.connect()
        await client.ask("fail", {"how": how})
        [entry] = await history(client, failed=True)
        assert (entry["outcome"], entry["slug"], entry["message"]) == (outcome, slug, message)


async def test_cancelled_and_detached_commands_are_there(tmp_path, host):
    async with serving(tmp_path, registry(), app=host) as served:
        client = await served.connect()
        client.send({"cmd": "ct_stop", "opts": {"names": ["a"], "gate": "g"}, "id": 1})
        await until(lambda: "g" in host.reached)
        client.send({"cancel": 1})
        assert (await client.receive())["code"] == "cancelled"
        answer = await client.ask("ct_stop", {"names": ["b"], "cli": "later"}, detach=True)
        operation = answer["response"]["operation"]
        await client.ask("op_wait", {"id": operation})
        newest, older = await history(client)
        assert (newest["outcome"], newest["cli"], newest["operation"]) == ("done", "later", operation)
        assert newest["connection"] == older["connection"] != ""
        assert (older["outcome"], older["slug"]) == ("cancelled", "cancelled")


async def test_only_commands_above_observe_unless_they_say_otherwise(tmp_path, host):
    async with serving(tmp_path, registry(), app=host) as served:
        client = await served.connect()
        for cmd in ("ping", "status", "look", "hidden", "event_list"):
            assert (await client.ask(cmd))["status"]
        await client.ask("ct_touch", {"nam": "mistaken"})
        await client.ask("no-such-command")
        await client.ask("ct_nested", {"name": "a"})
        assert [entry["command"] for entry in await history(client)] == ["ct_nested", "look"]


async def test_all_of_them_if_configured_so(tmp_path, host):
    async with serving(tmp_path, registry(), app=host, record_all=True) as served:
        client = await served.connect()
        for cmd in ("ping", "hidden", "status"):
            await client.ask(cmd)
        assert [entry["command"] for entry in await history(client)] == ["status", "ping"]


async def test_denials_are_there_whatever_was_asked_for(tmp_path, host):
    async with serving(tmp_path, registry(), app=host, handler=Strangers) as served:
        client = await served.connect()
        for cmd in ("ct_stop", "status", "hidden", "ping"):
            await client.ask(cmd, {"names": ["x"], "cli": "let me in"} if cmd == "ct_stop" else {})
        status, stop = await served.server.history.query()
        assert (status.command, stop.command) == ("status", "ct_stop")
        assert (stop.outcome, stop.slug, stop.uid, stop.gid, stop.peer) == ("denied", "denied", 4711, 4712, "mallory")
        assert (stop.options, stop.cli, stop.operation) == ('{"names":["x"]}', "let me in", "")
        assert "needs the role operate" in stop.message
        assert stop.executable == os.path.realpath("/proc/self/exe")


async def test_denials_by_the_handler_are_there(tmp_path, host):
    class Picky(ctld.ClientHandler):
        async def authorize(self, command, opts, /):
            if command.name == "ct_touch" and opts.get("name") == "mine":
                raise ctld.Denied("hands off")

    async with serving(tmp_path, registry(), app=host, handler=Picky) as served:
        client = await served.connect()
        assert (await client.ask("ct_touch", {"name": "mine"}))["code"] == "denied"
        [entry] = await history(client)
        assert (entry["outcome"], entry["message"], entry["options"]) == ("denied", "hands off", '{"name":"mine"}')


async def test_a_denial_with_options_that_cannot_be_read_is_there(tmp_path, host):
    async with serving(tmp_path, registry(), app=host, handler=Strangers) as served:
        client = await served.connect()
        client.write(b'{"cmd": "ct_stop", "opts": {"names": 1e999}}\n')
        assert (await client.receive())["code"] == "denied"
        client.write(b'{"cmd": "ct_stop", "opts": {"names": "' + b"x" * 100_000 + b'"}}\n')
        assert (await client.receive())["code"] == "denied"
        large, odd = await served.server.history.query()
        assert odd.options == '"unreadable"'
        assert large.options == '"100013 bytes, too long to keep"'


async def test_the_callers_process_is_asked_about_once_and_only_when_needed(tmp_path, host, monkeypatch):
    asked = []

    def details(pid):
        asked.append(pid)
        return ctld.callers.CallerDetails(1000, "/bin/caller")

    monkeypatch.setattr("ctld.conversation.caller_details", details)
    async with serving(tmp_path, registry(), app=host) as served:
        client = await served.connect()
        await client.ask("ping")
        assert asked == []
        for _ in range(3):
            await client.ask("ct_touch", {"name": "a"})
        assert asked == [os.getpid()]
        assert {(entry["loginuid"], entry["executable"]) for entry in await history(client)} == {(1000, "/bin/caller")}


async def test_pages_and_filters(tmp_path, host):
    async with serving(tmp_path, registry(), app=host) as served:
        client = await served.connect()
        for n in range(5):
            await client.ask("ct_touch", {"name": str(n)})
        await client.ask("look")
        page = await history(client, cmd="ct_touch", limit=2)
        assert [entry["id"] for entry in page] == [5, 4]
        assert [entry["id"] for entry in await history(client, before=4, limit=2)] == [3, 2]
        assert await history(client, uid=12345) == []
        assert await history(client, failed=True) == []
        assert await history(client, since=2e10) == []
        assert (await client.ask("history_list", {"limit": 0}))["code"] == "invalid-options"


# Where it is kept.


async def test_it_is_kept_in_the_state_directory_and_outlives_the_daemon(tmp_path, host):
    state = tmp_path / "state"
    for run in (1, 2):
        async with serving(tmp_path, registry(), app=host, state_dir=state) as served:
            client = await served.connect()
            await client.ask("ct_touch", {"name": str(run)})
            assert len(await history(client)) == run
    assert state.stat().st_mode & 0o777 == 0o700
    with sqlite3.connect(state / "history.sqlite3") as database:
        assert database.execute("SELECT options FROM history ORDER BY id").fetchall() == [
            ('{"name":"1"}',),
            ('{"name":"2"}',),
        ]
    database.close()


async def test_what_runs_when_the_daemon_stops_is_written_last(tmp_path, host):
    state = tmp_path / "state"
    async with serving(tmp_path, registry(), app=host, state_dir=state) as served:
        client = await served.connect()
        client.send({"cmd": "ct_stop", "opts": {"names": ["a"], "gate": "g"}})
        await until(lambda: "g" in host.reached)
        served.server.hurry()
        assert (await client.receive())["code"] == "shutting-down"
        client.close()
        await served.server.wait_closed()
    store = HistoryStore(Path(state, "history.sqlite3"), HistoryBounds())
    try:
        [entry] = store.query(ctld.history_entry.HistoryQuery())
    finally:
        store.close()
    assert (entry.outcome, entry.slug) == ("cancelled", "shutting-down")


async def test_a_start_that_fails_leaves_no_history_open(tmp_path):
    server = ctld.Server(listen=[f"unix:{tmp_path}/missing/s"], state_dir=tmp_path / "state")
    with pytest.raises(ctld.ListenFailed):
        await server.start()
    with pytest.raises(ctld.ShuttingDown):
        await server.history.query()


async def test_trouble_is_told_in_status_and_by_an_event_and_stops_nobody(tmp_path, host):
    state = tmp_path / "state"
    state.write_text("a file where the directory should be")
    async with serving(tmp_path, registry(), app=host, state_dir=state) as served:
        client, monitor = await served.connect(), await served.connect()
        monitor.send({"cmd": "event_subscribe", "opts": {"type": "history", "since": 1}})
        assert (await client.ask("ct_touch", {"name": "a"}))["response"] == "touched"
        told = (await client.ask("status"))["response"]["history"]
        assert told["state"] == "waiting"
        assert told["reason"]
        assert (await client.ask("history_list"))["code"] in ("failed", "shutting-down")
        state.unlink()
        state.mkdir()
        states = []
        while "ok" not in states:
            message = (await monitor.receive())["response"]
            if message != "subscribed" and message["type"] == "history":
                states.append(message["opts"]["state"])
        assert states == ["waiting", "ok"]
        assert (await client.ask("status"))["response"]["history"]["state"] == "ok"
        assert len(await history(client)) == 1


async def test_without_any_history_the_command_says_so():
    dispatcher = stage()
    answer = await dispatcher.run(BOB, "history_list", {})
    assert answer.message == "this daemon keeps no history"
