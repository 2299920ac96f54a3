"""Locks over real sockets: `manipulation_lock`, deadlocks, diagnostics, and the ancestor's defects (1.7 to 1.9)."""

import asyncio
import logging

import pytest

import ctld
from ctld.commands.locks import lock_commands
from ctld.ownership import current_owner
from ctld.testing import context
from tests.commands.containers import Host, host_commands
from tests.native import serving, until


@pytest.fixture
async def host():
    return Host()


@pytest.fixture
async def served(tmp_path, host):
    async with serving(tmp_path, host_commands(), app=host) as served:
        yield served


async def begin(client, host, cmd, opts, *, gate="g", **members):
    """Send a request whose command waits at a gate, and see it there."""
    client.send({"cmd": cmd, "opts": {**opts, "gate": gate}, **members})
    await until(lambda: gate in host.reached)


async def waiting(client, count=1):
    """See that so many waits for locks are listed."""
    while True:
        rows = [row for row in (await client.ask("lock_list"))["response"] if row["state"] == "waiting"]
        if len(rows) >= count:
            return rows


def test_there_are_two_commands():
    assert [command.name for command in lock_commands()] == ["lock_list", "lock_graph"]
    assert all(command.role == "observe" for command in lock_commands())


# Manipulation locks, by the request.


async def test_it_fails_at_once_and_names_the_holder(served, host):
    one, two = await served.connect(), await served.connect()
    await begin(one, host, "ct_stop", {"names": ["tank:ct1"], "cli": "osctl ct stop ct1"})
    answer = await two.ask("ct_stop", {"names": ["tank:ct1"]})
    since = answer.pop("since")
    assert answer == {
        "status": False,
        "code": "locked",
        "message": "container tank:ct1 is held by 'osctl ct stop ct1'",
        "resource": "container tank:ct1",
        "holder": "'osctl ct stop ct1'",
    }
    assert isinstance(since, float)
    host.open("g")
    assert (await one.receive())["response"] == "stopped"
    assert (await two.ask("ct_stop", {"names": ["tank:ct1"]}))["response"] == "stopped"


async def test_without_cli_the_holder_is_the_command(served, host):
    one, two = await served.connect(), await served.connect()
    await begin(one, host, "ct_stop", {"names": ["a"]})
    assert (await two.ask("ct_stop", {"names": ["a"], "manipulation_lock": "no such mode"}))["holder"] == "ct_stop"
    host.open("g")


async def test_waiting_is_told_as_progress(served, host):
    one, two = await served.connect(), await served.connect()
    await begin(one, host, "ct_stop", {"names": ["a"], "cli": "first"})
    two.send({"cmd": "ct_stop", "opts": {"names": ["b", "a"], "manipulation_lock": "wait"}})
    assert await two.receive() == {"status": True, "progress": "waiting: container a is held by 'first'"}
    host.open("g")
    assert (await two.receive())["response"] == "stopped"


async def test_a_deadline_ends_a_wait_and_leaves_no_trace(served, host):
    one, two = await served.connect(), await served.connect()
    await begin(one, host, "ct_stop", {"names": ["b"]})
    answer = await two.ask("ct_stop", {"names": ["a", "b"], "manipulation_lock": "wait"}, deadline=0.05)
    assert answer["code"] == "deadline"
    rows = (await two.ask("lock_list"))["response"]
    assert [(row["name"], row["state"]) for row in rows] == [("b", "held")]
    host.open("g")


async def test_a_detached_command_waits_too(served, host):
    one, two = await served.connect(), await served.connect()
    await begin(one, host, "ct_stop", {"names": ["a"]})
    operation = (await two.ask("ct_stop", {"names": ["a"], "manipulation_lock": "wait"}, detach=True))["response"]
    await waiting(two)
    host.open("g")
    assert (await two.ask("op_wait", {"id": operation["operation"]}))["response"] == "stopped"


async def test_an_admin_ignores_locks(served, host):
    one, two = await served.connect(), await served.connect()
    await begin(one, host, "ct_stop", {"names": ["a"]})
    assert (await two.ask("ct_stop", {"names": ["a"], "manipulation_lock": "ignore"}))["response"] == "stopped"
    assert len((await two.ask("lock_list"))["response"]) == 1
    host.open("g")


async def test_nobody_else_does(tmp_path, host):
    class Operators(ctld.ClientHandler):
        async def on_connect(self):
            self.peer = ctld.Peer(name="op", role="operate", uid=1000, transport="unix")

    async with serving(tmp_path, host_commands(), app=host, handler=Operators) as served:
        client = await served.connect()
        answer = await client.ask("ct_stop", {"names": ["a"], "manipulation_lock": "ignore"})
        assert (answer["code"], answer["role"]) == ("denied", "admin")
        assert (await client.ask("ct_stop", {"names": ["a"]}))["response"] == "stopped"


async def test_many_are_taken_whole_or_not_at_all(served, host):
    one, two = await served.connect(), await served.connect()
    await begin(one, host, "ct_stop", {"names": ["b"]})
    assert (await two.ask("ct_stop", {"names": ["c", "b", "a"]}))["resource"] == "container b"
    assert [row["name"] for row in (await two.ask("lock_list"))["response"]] == ["b"]
    host.open("g")


async def test_whatever_order_they_are_named_in_nobody_waits_half_way(served):
    clients = [await served.connect() for _ in range(4)]
    for turn, client in enumerate(clients):
        names = ["a", "b", "c"][:: 1 if turn % 2 else -1]
        client.send(
            *[{"cmd": "ct_stop", "opts": {"names": names, "manipulation_lock": "wait", "progress": False}}] * 25
        )
    for client in clients:
        for _ in range(25):
            assert (await client.receive())["response"] == "stopped"


async def test_a_nested_command_has_the_locks_of_the_outer_one(served):
    client = await served.connect()
    assert (await client.ask("ct_nested", {"name": "a"}))["response"] == "stopped"
    assert (await client.ask("lock_list"))["response"] == []


async def test_a_command_function_in_a_test_locks_as_well(host):
    one, two = context(host), context(host)
    async with one.manipulate(host.container("a")):
        with pytest.raises(ctld.Locked, match="container a is held by test"):
            async with two.manipulate(host.container("a")):
                raise AssertionError("entered")


@pytest.mark.parametrize("cli", ["x" * 5000, "a\nb\x1b[31m\u202e"])
async def test_a_holders_name_is_short_and_printable(served, host, cli):
    one, two = await served.connect(), await served.connect()
    await begin(one, host, "ct_stop", {"names": ["a"], "cli": cli})
    answer = await two.ask("ct_stop", {"names": ["a"]})
    assert len(answer["message"]) < 250
    assert answer["message"].isprintable()
    assert all(len(row["cli"]) <= 200 and row["cli"].isprintable() for row in (await two.ask("op_list"))["response"])
    host.open("g")


# A vanished client's command keeps its locks until it ends (1.7).


async def test_a_vanished_clients_command_keeps_its_locks_until_it_ends(served, host):
    one, two = await served.connect(), await served.connect()
    await begin(one, host, "ct_stop", {"names": ["a"], "cli": "gone"})
    one.reset()
    await until(lambda: served.server._reception.clients[0].conversation.connection.gone)
    assert (await two.ask("ct_stop", {"names": ["a"]}))["holder"] == "'gone'"
    host.open("g")
    two.send({"cmd": "ct_stop", "opts": {"names": ["a"], "manipulation_lock": "wait", "progress": False}})
    assert (await two.receive())["response"] == "stopped"


async def test_the_next_command_of_a_connection_has_no_share_in_a_lock_of_the_one_before(served, host):
    """1.7: the lock belonged to the connection's thread."""
    client = await served.connect()
    await begin(client, host, "ct_stop", {"names": ["a"]}, id=1)
    assert (await client.ask("ct_stop", {"names": ["a"]}))["code"] == "locked"
    host.open("g")
    assert (await client.receive())["id"] == 1


# Deadlocks.


@pytest.mark.parametrize("how", ["manipulate", "exclusively"])
async def test_a_wait_that_closes_a_cycle_is_refused_at_once_and_named(served, host, caplog, how):
    one, two = await served.connect(), await served.connect()
    opts = {"how": how, "manipulation_lock": "wait", "progress": False}
    await begin(one, host, "ct_steps", {**opts, "first": "a", "second": "b", "cli": "one"}, gate="g1")
    await begin(two, host, "ct_steps", {**opts, "first": "b", "second": "a", "cli": "two"}, gate="g2")
    observer = await served.connect()
    host.open("g1")
    await waiting(observer)
    with caplog.at_level(logging.WARNING, "ctld.locks"):
        host.open("g2")
        refused = await two.receive()
    assert refused["code"] == "deadlock"
    lock = "manipulation" if how == "manipulate" else "exclusive"
    assert [(part["command"], part["resource"], part["lock"]) for part in refused["cycle"]] == [
        ("ct_steps", "container a", lock),
        ("ct_steps", "container b", lock),
    ]
    assert all(part["caller"] and part["age"] >= 0 for part in refused["cycle"])
    assert "'two' would wait for container a" in refused["message"]
    assert "'one' waits for container b" in refused["message"]
    assert f"container a: {lock} held by 'one'" in caplog.text, "the registry is dumped to the log"
    assert (await one.receive())["response"] == "both"


async def test_two_that_share_and_both_want_more_do_not_wait_for_each_other(served, host):
    """1.8: an upgrade waited for itself until a time-out of 90 s."""
    client = await served.connect()
    await begin(client, host, "ct_steps", {"first": "a", "second": "b", "how": "inclusively"}, id=1)
    host.open("g")
    assert (await client.receive())["response"] == "both"
    answer = await client.ask("ct_steps", {"first": "a", "second": "a", "how": "exclusively"})
    assert answer["response"] == "both", "re-entrant"


@pytest.mark.parametrize("by", ["wait", "follow", "op_wait"])
async def test_waiting_for_an_operation_is_a_wait_like_any_other(served, by):
    client = await served.connect()
    answer = await client.ask("ct_wait_for", {"name": "a", "by": by})
    assert answer["code"] == "deadlock"
    assert {part["resource"].split()[0] for part in answer["cycle"]} == {"container", "operation"}
    assert (await client.ask("lock_list"))["response"] == []


async def test_a_request_for_an_operation_that_waits_for_the_request_is_refused(served, host):
    """A command waits for the end of an operation, which waits for a lock of that command: told by op_wait."""
    one, two = await served.connect(), await served.connect()
    await begin(one, host, "ct_steps", {"first": "a", "second": "b", "manipulation_lock": "wait"}, id="x")
    listed = (await two.ask("op_list"))["response"]
    mine = next(row["id"] for row in listed if row["command"] == "ct_steps")
    answer = await two.ask("op_wait", {"id": mine}, deadline=0.05)
    assert answer["code"] == "deadline", "no cycle: just a wait"
    host.open("g")
    assert (await one.receive())["response"] == "both"


async def test_nobody_waits_for_its_own_end(tmp_path):
    commands = ctld.CommandRegistry()

    @commands.command("me", role="operate")
    async def me(ctx: ctld.Context) -> None:
        await ctx.operation.wait()

    async with serving(tmp_path, commands) as served:
        answer = await (await served.connect()).ask("me")
        assert answer["message"] == "deadlock: me would wait for its own end"


async def test_watchers_of_an_operation_are_waiting_for_it(served, host):
    one, two = await served.connect(), await served.connect()
    await begin(one, host, "ct_stop", {"names": ["a"]})
    running = (await two.ask("op_list"))["response"][0]["id"]
    two.send({"cmd": "op_watch", "opts": {"id": running}, "id": 1, "stream": True})
    [row] = await waiting(two)
    assert (row["kind"], row["name"], row["type"], row["holder"]) == ("operation", running, "operation", "op_watch")
    host.open("g")
    assert (await two.receive())["item"] == {"result": "stopped"}


# Diagnostics (1.9: off by default, readers not shown, objects as their to_s).


async def test_lists_and_pictures_answer_while_every_lock_is_held(served, host):
    one, two, observer = [await served.connect() for _ in range(3)]
    assert (await observer.ask("lock_list"))["response"] == []
    await begin(one, host, "ct_steps", {"first": "a", "second": "b", "how": "exclusively", "cli": "writer"})
    two.send({"cmd": "ct_steps", "opts": {"first": "a", "second": "b", "how": "inclusively", "cli": "reader"}})
    await waiting(observer)
    held, queued = (await observer.ask("lock_list"))["response"]
    assert held.pop("age") >= queued.pop("age") >= 0
    assert held.pop("operation") != queued.pop("operation")
    assert held.pop("source").startswith("containers.py:")
    assert queued.pop("source").startswith("containers.py:")
    common = {"kind": "container", "name": "a", "peer": held["peer"]}
    assert held == {**common, "type": "exclusive", "state": "held", "holder": "'writer'"}
    assert queued == {**common, "type": "inclusive", "state": "waiting", "holder": "'reader'"}
    picture = (await observer.ask("lock_graph"))["response"]
    assert picture.startswith("digraph locks {")
    assert "container a (inclusive)" in picture
    host.open("g")
    assert (await one.receive())["response"] == "both"
    assert (await two.receive())["response"] == "both"
    assert (await observer.ask("lock_list"))["response"] == []
    assert (await observer.ask("lock_graph"))["response"] == "digraph locks {\n}\n"


async def test_a_reader_does_not_overtake_a_writer_that_waits(served, host):
    """1.8: two overlapping loops of readers starved a writer."""
    clients = [await served.connect() for _ in range(4)]
    reader, writer, late, observer = clients
    await begin(reader, host, "ct_steps", {"first": "a", "second": "a", "how": "inclusively"}, gate="r")
    writer.send({"cmd": "ct_touch", "opts": {"name": "a"}})
    await waiting(observer)
    late.send({"cmd": "ct_steps", "opts": {"first": "a", "second": "a", "how": "inclusively", "gate": "late"}})
    await waiting(observer, 2)
    host.open("r")
    assert (await writer.receive())["response"] == "touched"
    await until(lambda: "late" in host.reached)
    host.open("late")
    assert (await late.receive())["response"] == "both"


async def test_a_writer_that_gave_up_leaves_nothing_in_the_queue(served, host):
    """1.8: a timed-out writer stayed queued, and the next one dead-locked on itself."""
    holder, writer, observer = [await served.connect() for _ in range(3)]
    await begin(holder, host, "ct_steps", {"first": "a", "second": "a", "how": "exclusively"})
    assert (await writer.ask("ct_touch", {"name": "a"}, deadline=0.05))["code"] == "deadline"
    assert [row["state"] for row in (await observer.ask("lock_list"))["response"]] == ["held"]
    writer.send({"cmd": "ct_steps", "opts": {"first": "a", "second": "a", "how": "exclusively"}})
    await waiting(observer)
    host.open("g")
    assert (await holder.receive())["response"] == "both"
    assert (await writer.receive())["response"] == "both", "its nested lock is its own"


async def test_a_cancel_of_a_waiter_leaves_no_trace(served, host):
    holder, writer, reader = [await served.connect() for _ in range(3)]
    await begin(holder, host, "ct_steps", {"first": "a", "second": "a", "how": "inclusively"})
    writer.send({"cmd": "ct_touch", "opts": {"name": "a"}})
    await waiting(reader)
    writer.send({"cancel": None})
    assert (await writer.receive())["code"] == "cancelled"
    answer = await reader.ask("ct_steps", {"first": "a", "second": "a", "how": "inclusively"})
    assert answer["response"] == "both", "no writer is in the way any more"
    host.open("g")


async def test_an_operation_that_forgets_a_lock_is_named_in_the_log(served, host, caplog):
    client = await served.connect()
    with caplog.at_level(logging.WARNING, "ctld.commands"):
        assert (await client.ask("ct_leave", {"name": "a"}))["response"] == "left"
    assert "ct_leave has ended and holds locks: [('container', 'a')]" in caplog.text
    assert [row["holder"] for row in (await client.ask("lock_list"))["response"]] == ["ct_leave"]
    await host.leftovers.pop().__aexit__(None, None, None)


# Whose locks they are, where no client is.


async def test_commands_of_the_daemon_itself_and_its_tasks_find_the_same_locks(tmp_path, host):
    commands = host_commands()
    seen = {}

    @commands.command("spawn", role="operate")
    async def spawn(ctx: ctld.Context[Host]) -> str:
        await ctx.server.create_task(background(ctx.app), name="background")
        return "spawned"

    async def background(app: Host) -> None:
        seen["owner"] = current_owner.get()
        async with app.container("a").exclusively():
            seen["rows"] = [row.holder for row in served.server._runtime.locks.snapshot()]

    async with serving(tmp_path, commands, app=host) as served:
        client = await served.connect()
        assert (await client.ask("spawn"))["response"] == "spawned"
        assert seen == {"owner": None, "rows": ["task background"]}
        await served.server.create_task(background(host), name="other")
        assert seen["rows"] == ["task other"]
        touch = next(command.function for command in commands if command.name == "ct_touch")
        assert await served.server.launch(touch, "a").wait() == "touched"


async def test_a_task_that_outlives_its_command_takes_no_more_locks(tmp_path, host):
    commands = ctld.CommandRegistry[Host]()
    tasks = []

    @commands.command("fork", role="operate")
    async def fork(ctx: ctld.Context[Host]) -> None:
        tasks.append(asyncio.create_task(late(ctx.app)))

    async def late(app: Host) -> None:
        await app.gate("late")
        async with app.container("a").exclusively():
            raise AssertionError("entered")

    async with serving(tmp_path, commands, app=host) as served:
        await (await served.connect()).ask("fork")
        host.open("late")
        with pytest.raises(ctld.CtldError, match="fork has finished and takes no more locks"):
            await tasks.pop()
