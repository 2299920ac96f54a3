import asyncio

import pytest

from ctld.commands.context import NO_SINK, Context, Origin
from ctld.commands.registry import CommandRegistry
from ctld.peer import Peer
from ctld.wire.messages import Item, Progress, Reply
from tests.commands.stage import ALICE, Sink, stage


def running(command):
    commands = CommandRegistry()
    commands.command("x", role="operate")(command)
    return stage(commands, app="app")


async def test_what_a_command_sees():
    seen = {}

    async def command(ctx: Context) -> None:
        seen.update(
            app=ctx.app,
            server=ctx.server,
            events=ctx.events,
            dispatcher=ctx.dispatcher,
            runtime=ctx.runtime,
            version=ctx.server_version,
            authorize=ctx.authorize,
        )

    async def authorize(command, opts): ...

    dispatcher = running(command)
    await dispatcher.run(ALICE, "x", {}, Sink(authorize))
    runtime = dispatcher.runtime
    assert seen == {
        "app": "app",
        "server": runtime.server,
        "events": runtime.events,
        "dispatcher": dispatcher,
        "runtime": runtime,
        "version": "7.0",
        "authorize": authorize,
    }


async def test_n2_progress_yields_to_the_loop_at_least_every_256_calls():
    others = 0

    async def command(ctx: Context) -> None:
        for _ in range(2560):
            await ctx.progress("again")

    running_command = asyncio.create_task(running(command).run(ALICE, "x", {}))
    while not running_command.done():
        others += 1
        await asyncio.sleep(0)
    assert others >= 10


async def test_progress_waits_while_the_client_is_slow():
    sink = Sink()
    steps = []

    async def command(ctx: Context) -> None:
        sink.gate.clear()
        await ctx.progress("one")
        steps.append("went on")

    task = asyncio.create_task(running(command).run(ALICE, "x", {}, sink))
    await sink.blocked.wait()
    assert (steps, len(sink.progress)) == ([], 1)
    sink.gate.set()
    assert await task == Reply(None)
    assert steps == ["went on"]


async def test_becoming_somebody_else():
    bob = Peer(name="bob", role="observe")

    async def command(ctx: Context) -> str:
        ctx.become(bob)
        return str(ctx.peer)

    sink = Sink()
    assert await running(command).run(ALICE, "x", {}, sink) == Reply("bob")
    assert sink.peer is bob
    assert sink.operation.peer is ALICE  # who asked for it does not change any more


async def test_stopping_is_the_operations_event():
    async def command(ctx: Context) -> str:
        await ctx.stopping.wait()
        return "stopped in time"

    dispatcher = running(command)
    task = asyncio.create_task(dispatcher.run(ALICE, "x", {}))
    while not dispatcher.runtime.operations.running():
        await asyncio.sleep(0)
    dispatcher.runtime.operations.running()[0].request_stop()
    assert await task == Reply("stopped in time")


async def test_a_command_without_a_client_talks_to_nobody():
    async def command(ctx: Context) -> str:
        await ctx.progress("heard by watchers only")
        ctx.become(Peer(name="bob"))
        return f"{ctx.server_version} {ctx.authorize}"

    assert await running(command).run(ALICE, "x", {}) == Reply("None None")
    assert NO_SINK.send_progress(Progress("x")) is None
    assert NO_SINK.send_item(Item(1)) is None
    assert NO_SINK.send_interim(Reply("continue")) is None
    assert NO_SINK.task is None
    assert NO_SINK.origin == Origin()


def test_a_context_takes_no_further_attributes():
    with pytest.raises(AttributeError):
        Context.__new__(Context).anything = 1  # a typo in a command is an error, not a new attribute
