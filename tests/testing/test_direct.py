import asyncio

import pytest

import ctld
from ctld.testing import context


class App:
    def __init__(self):
        self.copied = []


commands = ctld.CommandRegistry[App]()


@commands.command("backup", role="operate")
async def backup(ctx: ctld.Context[App], name: str, chunks: int = 2) -> int:
    for number in range(chunks):
        await ctx.progress(f"copied {number + 1}", current=number + 1, total=chunks, unit="chunks")
    ctx.app.copied.append(name)
    ctx.events.publish("backup", name=name)
    return chunks


@commands.command("backup_all", role="admin")
async def backup_all(ctx: ctld.Context[App], names: list[str]) -> int:
    return sum([await ctx.call(backup, name) for name in names])


@commands.command("numbers", role="anyone")
async def numbers(ctx: ctld.Context[App]):
    for number in range(3):
        await ctx.progress(f"at {number}")
        yield number


async def test_a_command_runs_as_a_function():
    app = App()
    ctx = context(app)
    assert await backup(ctx, "ct1") == 2
    assert app.copied == ["ct1"]
    assert [(update.message, update.current, update.total, update.unit, update.seq) for update in ctx.updates] == [
        ("copied 1", 1, 2, "chunks", 1),
        ("copied 2", 2, 2, "chunks", 2),
    ]
    assert [(event.type, event.opts) for event in ctx.published] == [("backup", {"name": "ct1"})]


async def test_more_events_than_a_ring_holds():
    ctx = context()
    for number in range(5000):
        ctx.events.publish("tick", number=number)
    assert [event.opts["number"] for event in ctx.published] == list(range(5000))


async def test_contexts_share_nothing():
    one, other = context(App()), context(App())
    await backup(one, "ct1")
    assert (other.updates, other.published, other.app.copied) == ([], [], [])


async def test_a_stream_is_iterated():
    ctx = context(App())
    assert [number async for number in numbers(ctx)] == [0, 1, 2]
    assert [update.message for update in ctx.updates] == ["at 0", "at 1", "at 2"]


async def test_nested_commands_are_found_and_heard():
    ctx = context(App(), commands=commands)
    assert await backup_all(ctx, ["a", "b"]) == 4
    assert ctx.app.copied == ["a", "b"]
    assert len(ctx.updates) == 4
    assert await ctx.call("ping") == "pong"


async def test_nested_commands_of_no_registry():
    with pytest.raises(ctld.UnknownCommand, match="'backup' is no command"):
        await backup_all(context(App()), ["a"])


async def test_who_asks():
    assert context().peer is ctld.Peer.DAEMON
    alice = ctld.Peer(name="alice", role="operate", uid=1000)
    ctx = context(peer=alice)
    assert (ctx.peer, ctx.operation.peer, ctx.server_version) == (alice, alice, ctld.__version__)
    ctx.become(ctld.Peer(name="bob"))
    assert str(ctx.peer) == "bob"


async def test_launched_commands_have_the_peers_role():
    app = App()
    operation = context(app, commands=commands).launch(backup, "ct1")
    assert await operation.wait() == 2
    assert app.copied == ["ct1"]
    nobody = context(app, commands=commands, peer=ctld.Peer(name="eve", role="observe", transport="tcp"))
    with pytest.raises(ctld.Denied):
        nobody.launch(backup, "ct1")


async def test_the_server_is_only_a_view():
    ctx = context()
    assert not ctx.stop_requested
    ctx.server.close()
    assert ctx.stop_requested
    assert (ctx.server.status(), ctx.server.connections(), ctx.server.listeners()) == ({}, [], [])
    assert await ctx.server.create_task(asyncio.sleep(0, 7), name="background") == 7
    assert ctx.authorize is None


async def test_answers_that_are_not_the_last_one_are_kept():
    ctx = context()
    assert ctx._sink.send_interim(ctld.Reply("subscribed")) is None
    assert ctx.interim == ["subscribed"]


async def test_there_is_no_connection_to_take():
    with pytest.raises(ctld.CommandFailed, match="needs a client's connection"):
        await context()._sink.take_over("raw")


class Container(ctld.Lockable):
    def lock_resource(self):
        return ("container", "ct1")


async def test_locks_work():
    entered = asyncio.Event()

    async def hold(ctx):
        async with Container().exclusively():
            entered.set()

    ctx = context()
    async with Container().exclusively():
        other = asyncio.create_task(hold(ctx))
        await asyncio.sleep(0)
        assert not entered.is_set()
    await other
    assert entered.is_set()


async def test_a_registry_of_locks_that_is_there_is_kept():
    entered = asyncio.Event()

    async def hold():
        async with Container().exclusively():
            entered.set()

    context()
    async with Container().exclusively():
        context()  # does not lose sight of the lock that is held
        other = asyncio.create_task(hold())
        for _ in range(3):
            await asyncio.sleep(0)
        assert not entered.is_set()
    await other
    assert entered.is_set()


async def test_there_is_no_server_behind_it():
    ctx = context()
    with pytest.raises(ctld.ListenFailed, match="serving"):
        await ctx.server.listen("unix:/nowhere")

    async def command(ctx: ctld.Context) -> None:
        return None

    with pytest.raises(ctld.UnknownCommand, match="serving"):
        ctx.server.launch(command)
    assert ctx.server.events is ctx.events
