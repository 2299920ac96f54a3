"""What is around a command's function, and what is left when it has ended."""

import asyncio
import threading
from typing import Any

import pytest

import ctld
from ctld.commands.dispatch import Dispatcher
from ctld.locks import LockRegistry, current_locks
from ctld.ownership import current_owner
from ctld.wire.messages import Request
from tests.commands.stage import ALICE, Sink, stage


def looking() -> tuple[Dispatcher, list[Any]]:
    """Make a stage whose command notes the lock registry and the owner that are current within it."""
    commands = ctld.CommandRegistry[Any]()
    seen: list[Any] = []

    @commands.command("look", role="observe")
    async def look(ctx: ctld.Context) -> str:
        seen.append((current_locks.get(), current_owner.get() is ctx.operation))
        return "seen"

    return stage(commands), seen


async def test_whoever_runs_a_command_runs_it_with_the_locks_of_its_daemon():
    dispatcher, seen = looking()
    elsewhere = LockRegistry()
    token = current_locks.set(elsewhere)
    try:
        assert await dispatcher.run(ALICE, "look", {}) == ctld.Reply("seen")
        assert seen == [(dispatcher.runtime.locks, True)]
        assert (current_locks.get(), current_owner.get()) == (elsewhere, None)
    finally:
        current_locks.reset(token)


async def test_a_conversation_has_seen_to_that_and_nobody_looks_again():
    dispatcher, seen = looking()
    assert await dispatcher.start(ALICE, Request("look"), Sink(), asyncio.current_task()) == ctld.Reply("seen")
    assert seen == [(current_locks.get(), True)]
    assert current_owner.get() is None


async def test_a_command_that_runs_alone_has_the_locks_of_its_daemon_too():
    dispatcher, seen = looking()
    operation = dispatcher.launch(ALICE, "look", (), {})
    assert await operation.wait() == "seen"
    assert seen == [(dispatcher.runtime.locks, True)]


@pytest.mark.parametrize("way", ["start", "run"])
async def test_whoever_ends_the_program_is_let_through_and_the_operation_has_ended(way: str):
    commands = ctld.CommandRegistry[Any]()

    @commands.command("leave", role="observe")
    async def leave(ctx: ctld.Context) -> None:
        raise KeyboardInterrupt

    dispatcher, sink = stage(commands), Sink()
    # Stepped by hand: an interrupt that goes through a task ends the loop.
    running = (
        dispatcher.run(ALICE, "leave", {}, sink)
        if way == "run"
        else dispatcher.start(ALICE, Request("leave"), sink, asyncio.current_task())
    )
    with pytest.raises(KeyboardInterrupt):
        running.send(None)
    assert sink.operation.state == "cancelled"
    assert not dispatcher.runtime.operations.running()
    assert current_owner.get() is None


async def test_deadlines_of_two_daemons_in_two_threads_pass_at_once():
    in_the_midst, go_on = threading.Event(), threading.Event()

    class Lingering(asyncio.Future[None]):
        def cancel(self, msg: Any = None) -> bool:
            in_the_midst.set()
            go_on.wait(10)
            return super().cancel(msg)

    commands = ctld.CommandRegistry[Any]()

    @commands.command("linger", role="observe")
    async def linger(ctx: ctld.Context) -> None:
        await Lingering()

    @commands.command("wait", role="observe")
    async def wait(ctx: ctld.Context) -> None:
        await asyncio.sleep(5)

    async def run_late(name: str) -> Any:
        return await stage(commands).run(ALICE, name, {}, deadline=asyncio.get_running_loop().time())

    def be_late_meanwhile() -> Any:
        in_the_midst.wait(10)
        try:
            return asyncio.run(run_late("wait"))
        finally:
            go_on.set()

    outcomes = await asyncio.gather(asyncio.to_thread(be_late_meanwhile), run_late("linger"))
    assert [outcome.code for outcome in outcomes] == ["deadline", "deadline"]
