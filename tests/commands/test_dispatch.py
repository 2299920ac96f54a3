"""The dispatcher without sockets: what happens around a command, and how it ends."""

import asyncio
import contextlib
import gc
import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from weakref import ref

import msgspec
import pytest

from ctld.commands.context import Context
from ctld.commands.registry import CommandRegistry
from ctld.errors import Cancelled, CommandFailed, Denied, InvalidOptions, NotFound, ShuttingDown, UnknownCommand
from ctld.limits import Limits
from ctld.ownership import current_owner
from ctld.peer import Peer
from ctld.wire.messages import Failure, Reply
from tests.commands.stage import ALICE, BOB, ROOT, Sink, stage


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


def one(function, *, role="operate", limits=None, app=None, **options):
    """A stage with one command, `x`."""
    commands = CommandRegistry[Any]()
    commands.command("x", role=role, **options)(function)
    return stage(commands, limits=limits, app=app)


async def nothing_runs(dispatcher):
    assert dispatcher.runtime.operations.running() == []
    assert asyncio.current_task().cancelling() == 0
    assert current_owner.get() is None
    await asyncio.sleep(0)  # no cancellation is left over


# The way to a command.


async def test_a_command_gets_its_options_and_its_context():
    seen = []

    async def command(ctx: Context, name: str, size: int = 1) -> dict[str, Any]:
        seen.append((ctx.app, ctx.peer, ctx.command.name, ctx.parent, ctx.deadline, ctx.operation.state))
        assert current_owner.get() is ctx.operation
        return {"name": name, "size": size}

    dispatcher = one(command, app="app")
    sink = Sink()
    outcome = await dispatcher.run(ALICE, "x", msgspec.Raw(b'{"name":"a","cli":"ctl x a"}'), sink)
    assert outcome == Reply({"name": "a", "size": 1})
    assert seen == [("app", ALICE, "x", None, None, "running")]
    assert (sink.operation.state, sink.operation.cli, sink.operation.peer) == ("done", "ctl x a", ALICE)
    assert await dispatcher.run(ALICE, "x", {"name": "b", "size": 2}) == Reply({"name": "b", "size": 2})
    await nothing_runs(dispatcher)


async def test_an_unknown_command():
    outcome = await stage().run(ROOT, "n" * 10_000, {})
    assert outcome == Failure(f"Unsupported command '{'n' * 200}'", "unknown-command")


async def test_names_are_taken_by_the_letter():
    for name in ("Ping", "ping ", "", "__init__", "p\0ing"):
        assert (await stage().run(ROOT, name, {})).code == "unknown-command"


@pytest.mark.parametrize(
    ("peer", "role", "allowed"),
    [
        (BOB, "anyone", True),
        (BOB, "observe", True),
        (BOB, "operate", False),
        (ALICE, "operate", True),
        (ALICE, "admin", False),
        (ROOT, "admin", True),
    ],
)
async def test_the_role_is_asked_first(peer, role, allowed):
    ran = []

    async def command(ctx: Context, needed: int) -> None:
        ran.append(ctx.peer)

    dispatcher = one(command, role=role)
    sink = Sink()
    outcome = await dispatcher.run(peer, "x", {"needed": 1}, sink)
    assert (outcome == Reply(None)) is allowed
    assert bool(ran) is allowed
    if not allowed:
        assert outcome.code == "denied"
        assert outcome.fields["role"] == role
        assert outcome.fields["remedy"]
        assert outcome.fields["remedy"] in outcome.message
        assert sink.operation is None
        # Who may not learns nothing about the options, and nothing was decoded for him.
        assert (await dispatcher.run(peer, "x", msgspec.Raw(b"{no json"))).code == "denied"
        assert (await dispatcher.run(peer, "x", {}, detach=True)).code == "denied"
    assert dispatcher.runtime.operations.started == int(allowed)


async def test_options_that_do_not_fit():
    async def command(ctx: Context, size: int) -> None: ...

    dispatcher = one(command)
    assert await dispatcher.run(ALICE, "x", {"size": "a"}) == Failure(
        "option 'size': expected `int`, got `str`", "invalid-options", {"path": "$.size"}
    )
    assert (await dispatcher.run(ALICE, "x", {})).message == "option 'size' is missing"
    assert (await dispatcher.run(ALICE, "x", msgspec.Raw(b'{"size":'))).code == "syntax"
    assert dispatcher.runtime.operations.started == 0


# The handler's say.


async def test_authorize_is_asked_with_the_options_before_anything_runs():
    asked = []

    async def authorize(command, opts):
        asked.append((command.name, dict(opts)))
        if opts.get("size") == 13:
            raise Denied("not thirteen", role="admin", remedy="take twelve")

    async def command(ctx: Context, size: int) -> int:
        return size

    dispatcher = one(command)
    sink = Sink(authorize)
    assert await dispatcher.run(ALICE, "x", msgspec.Raw(b'{"size":1}'), sink) == Reply(1)
    assert await dispatcher.run(ALICE, "x", {"size": 13}, sink) == Failure(
        "not thirteen", "denied", {"role": "admin", "remedy": "take twelve"}
    )
    assert (await dispatcher.run(BOB, "x", {"size": 1}, sink)).code == "denied"
    assert asked == [("x", {"size": 1}), ("x", {"size": 13})]
    assert dispatcher.runtime.operations.started == 1


async def test_a_defect_in_authorize_is_internal(caplog):
    async def authorize(command, opts):
        raise ValueError("/secret/path")

    outcome = await one(nothing, role="anyone").run(BOB, "x", {}, Sink(authorize))
    assert (outcome.code, outcome.message) == ("internal", "internal error")
    assert "/secret/path" in caplog.text
    assert outcome.fields["ref"] in caplog.text


async def test_options_that_only_authorize_would_decode():
    async def authorize(command, opts): ...

    outcome = await one(nothing).run(ALICE, "x", msgspec.Raw(b'{"a":1e400}'), Sink(authorize))
    assert outcome.code in ("invalid-options", "syntax")


async def nothing(ctx: Context) -> None: ...


# How a command ends.


class NoSuchVm(CommandFailed):
    code = "vm-not-found"


async def test_a_command_that_says_it_failed():
    async def command(ctx: Context) -> None:
        raise NoSuchVm("there is no such VM", name="vm1")

    sink = Sink()
    dispatcher = one(command)
    assert await dispatcher.run(ALICE, "x", {}, sink) == Failure("there is no such VM", "vm-not-found", {"name": "vm1"})
    assert sink.operation.state == "failed"
    await nothing_runs(dispatcher)


class Secretive:
    def __repr__(self):
        return "INTERNAL-REPR"


@pytest.mark.parametrize("shape", ["function", "stream", "collected", "hook"])
async def test_n2_an_unexpected_exception_is_internal_and_leaks_nothing(shape, caplog):
    def crash():
        thing = Secretive()
        raise KeyError(f"/root/secret {thing!r}")

    async def function(ctx: Context) -> None:
        crash()

    async def generator(ctx: Context) -> AsyncIterator[int]:
        crash()
        yield 1

    dispatcher = one(function if shape in ("function", "hook") else generator)
    if shape == "hook":
        commands = CommandRegistry[Any]()
        commands.command("x", role="operate")(function)

        @commands.around
        @asynccontextmanager
        async def hook(ctx):
            yield

        dispatcher = stage(commands)
    outcome = await dispatcher.run(ALICE, "x", {}, Sink(), stream=shape == "stream")
    assert (outcome.message, outcome.code, set(outcome.fields)) == ("internal error", "internal", {"ref"})
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert outcome.fields["ref"] in record.getMessage()
    assert "'x' of alice" in record.getMessage()
    assert record.exc_info[0] is KeyError
    assert "INTERNAL-REPR" in caplog.text
    await nothing_runs(dispatcher)


async def test_references_differ():
    async def command(ctx: Context) -> None:
        raise ValueError

    dispatcher = one(command)
    assert len({(await dispatcher.run(ALICE, "x", {})).fields["ref"] for _ in range(20)}) == 20


@pytest.mark.parametrize(
    ("group", "code"),
    [
        (ExceptionGroup("tasks", [NoSuchVm("a"), CommandFailed("b")]), "vm-not-found"),
        (ExceptionGroup("tasks", [ExceptionGroup("inner", [NoSuchVm("a")])]), "vm-not-found"),
        (ExceptionGroup("tasks", [NoSuchVm("a"), ValueError("b")]), "internal"),
        (ExceptionGroup("tasks", [ExceptionGroup("inner", [ValueError("a")]), NoSuchVm("b")]), "internal"),
        (ExceptionGroup("tasks", [ValueError("b")]), "internal"),
    ],
)
async def test_a_group_of_failures_is_the_first_one(group, code):
    async def command(ctx: Context) -> None:
        raise group

    assert (await one(command).run(ALICE, "x", {})).code == code


async def test_a_task_group_that_fails():
    async def command(ctx: Context) -> None:
        async def fail():
            raise NoSuchVm("gone")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())
            tasks.create_task(asyncio.sleep(60))

    dispatcher = one(command)
    assert await dispatcher.run(ALICE, "x", {}) == Failure("gone", "vm-not-found")
    await nothing_runs(dispatcher)


async def test_a_command_that_tries_again_after_a_task_group_failed():
    async def command(ctx: Context) -> str:
        async def fail():
            raise ValueError

        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(fail())
                tasks.create_task(asyncio.sleep(60))
        return "second try"

    dispatcher = one(command)
    assert await dispatcher.run(ALICE, "x", {}) == Reply("second try")
    await nothing_runs(dispatcher)
    outcome = await one(wait_cancelled).run(ALICE, "x", {})
    assert outcome.code == "cancelled"
    await nothing_runs(dispatcher)


async def wait_cancelled(ctx: Context) -> None:
    ctx.operation.cancel()
    await asyncio.sleep(60)


async def test_a_cancel_of_the_task_that_the_command_never_met_is_met_later():
    async def command(ctx: Context) -> str:
        asyncio.current_task().cancel()
        return "result"

    dispatcher = one(command)
    met = []

    async def serve():
        assert await dispatcher.run(ALICE, "x", {}) == Reply("result")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            met.append("cancelled")
            raise

    task = asyncio.create_task(serve())
    await asyncio.wait([task])
    assert task.cancelled()
    assert met == ["cancelled"]


async def test_what_is_no_exception_of_a_command_goes_through():
    async def command(ctx: Context) -> None:
        raise GeneratorExit  # as where the loop is gone; of what it would do to pytest, no KeyboardInterrupt

    dispatcher = one(command)
    sink = Sink()
    with pytest.raises(GeneratorExit):
        await dispatcher.run(ALICE, "x", {}, sink)
    assert sink.operation.state == "cancelled"
    await nothing_runs(dispatcher)


# Progress.


async def test_progress_reaches_the_client_and_the_operation():
    async def command(ctx: Context) -> None:
        await ctx.progress("one")
        await ctx.progress("two", current=1, total=2, unit="items", data={"a": 1})

    sink = Sink()
    await one(command).run(ALICE, "x", {}, sink)
    assert [(u.seq, u.message, u.current, u.total, u.unit, u.data) for u in sink.progress] == [
        (1, "one", None, None, "", None),
        (2, "two", 1, 2, "items", {"a": 1}),
    ]
    assert sink.operation.latest is sink.progress[-1]


async def test_n2_progress_that_the_client_does_not_want_is_kept_for_watchers():
    async def command(ctx: Context) -> None:
        await ctx.progress("one")

    sink = Sink()
    await one(command).run(ALICE, "x", {"progress": False}, sink)
    assert sink.progress == []
    assert sink.operation.latest.message == "one"


# Streams.


async def count(ctx: Context, to: int = 3) -> AsyncIterator[int]:
    for number in range(to):
        yield number


async def test_n4_items_are_streamed_or_collected():
    dispatcher = one(count)
    sink = Sink()
    assert await dispatcher.run(ALICE, "x", {}, sink, stream=True) == Reply(None)
    assert sink.items == [0, 1, 2]
    sink = Sink()
    assert await dispatcher.run(ALICE, "x", {}, sink) == Reply([0, 1, 2])
    assert sink.items == []
    assert await dispatcher.run(ALICE, "x", {"to": 0}) == Reply([])


async def test_n4_a_command_that_is_no_stream_may_be_asked_to_stream():
    async def command(ctx: Context) -> int:
        return 7

    sink = Sink()
    assert await one(command).run(ALICE, "x", {}, sink, stream=True) == Reply(7)
    assert sink.items == []


async def test_n4_an_endless_command_must_be_streamed():
    async def command(ctx: Context) -> AsyncIterator[int]:
        yield 1

    dispatcher = one(command, endless=True)
    outcome = await dispatcher.run(ALICE, "x", {})
    assert (outcome.code, outcome.message) == ("bad-request", 'x never ends by itself: ask for it with "stream": true')
    assert await dispatcher.run(ALICE, "x", {}, Sink(), stream=True) == Reply(None)
    assert (await dispatcher.run(BOB, "x", {})).code == "denied"


async def test_n4_a_collected_stream_is_bounded():
    closed = []

    async def command(ctx: Context, size: int) -> AsyncIterator[str]:
        try:
            while True:
                yield "a" * size
        finally:
            closed.append(size)

    dispatcher = one(command, limits=Limits(max_line=100))
    for size in (1, 98, 1000):
        outcome = await dispatcher.run(ALICE, "x", {"size": size})
        assert (outcome.code, outcome.message) == (
            "too-large",
            'the result exceeds 100 bytes: ask for it with "stream": true',
        )
    assert closed == [1, 98, 1000]


async def test_n4_what_fits_into_a_line_is_collected():
    dispatcher = one(count, limits=Limits(max_line=30))
    outcome = await dispatcher.run(ALICE, "x", {"to": 10})
    assert outcome == Reply(list(range(10)))
    assert (await dispatcher.run(ALICE, "x", {"to": 20})).code == "too-large"


async def test_a_result_that_json_cannot_carry_is_noticed_in_a_collected_stream():
    async def command(ctx: Context) -> AsyncIterator[Any]:
        yield object()

    assert (await one(command).run(ALICE, "x", {})).code == "internal"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_long_stream_lets_others_work(stream):
    dispatcher = one(count)
    others = 0
    running = asyncio.create_task(dispatcher.run(ALICE, "x", {"to": 2560}, Sink(), stream=stream))
    while not running.done():
        others += 1
        await asyncio.sleep(0)
    assert others >= 10


async def test_a_stream_that_fails_half_way():
    async def command(ctx: Context) -> AsyncIterator[int]:
        yield 1
        raise NoSuchVm("gone")

    dispatcher = one(command)
    sink = Sink()
    assert await dispatcher.run(ALICE, "x", {}, sink, stream=True) == Failure("gone", "vm-not-found")
    assert sink.items == [1]
    assert (await dispatcher.run(ALICE, "x", {})).code == "vm-not-found"


async def test_an_item_that_cannot_be_sent_ends_the_stream_and_closes_the_generator():
    closed = []

    async def command(ctx: Context) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    class Broken(Sink):
        async def send_item(self, item):
            raise RuntimeError("no JSON")

    dispatcher = one(command)
    assert (await dispatcher.run(ALICE, "x", {}, Broken(), stream=True)).code == "internal"
    assert closed == [True]


# Cancelling (P14): in both orders, without sleeping.


class Waiting:
    """A command that waits, and tells what it met."""

    def __init__(self):
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()
        self.met = []

    async def command(self, ctx: Context) -> str:
        self.started.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.met.append("cancelled")
            raise
        return "result"


async def start(dispatcher, waiting, **options):
    """Run `x` in a task of its own, as a connection does, until it waits."""
    sink = Sink()

    async def serve():
        outcome = await dispatcher.run(ALICE, "x", {}, sink, **options)
        await nothing_runs(dispatcher)
        return outcome

    task = asyncio.create_task(serve())
    await waiting.started.wait()
    return task, sink.operation


async def test_n4_a_cancelled_request_ends_with_cancelled():
    waiting = Waiting()
    task, operation = await start(one(waiting.command), waiting)
    operation.cancel()
    assert await task == Failure("x was cancelled", "cancelled")
    assert waiting.met == ["cancelled"]
    assert operation.state == "cancelled"


@pytest.mark.parametrize("release_first", [True, False])
async def test_n4_cancel_and_result_at_once(release_first):
    waiting = Waiting()
    task, operation = await start(one(waiting.command), waiting)
    if release_first:
        waiting.go_on.set()
        operation.cancel()
    else:
        operation.cancel()
        waiting.go_on.set()
    # Both came before the command could run on: the wish counts, and the task is clean after it.
    assert (await task).code == "cancelled"


async def test_a_cancel_after_the_end_changes_nothing():
    waiting = Waiting()
    task, operation = await start(one(waiting.command), waiting)
    waiting.go_on.set()
    assert await task == Reply("result")
    operation.cancel()
    assert (operation.state, operation.interruption) == ("done", None)


async def test_a_cancel_between_the_last_await_and_the_end():
    async def command(ctx: Context) -> str:
        ctx.operation.cancel()  # it returns without awaiting anything
        return "result"

    dispatcher = one(command)
    assert await dispatcher.run(ALICE, "x", {}) == Reply("result")
    await nothing_runs(dispatcher)


async def test_a_command_may_cancel_itself():
    async def command(ctx: Context) -> str:
        ctx.operation.cancel()
        await asyncio.sleep(0)
        return "not reached"

    dispatcher = one(command)
    assert (await dispatcher.run(ALICE, "x", {})).code == "cancelled"
    await nothing_runs(dispatcher)


async def test_a_command_that_swallows_the_cancel_returns_its_result():
    async def command(ctx: Context) -> str:
        ctx.operation.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(0)
        return "result"

    dispatcher = one(command)
    assert await dispatcher.run(ALICE, "x", {}) == Reply("result")
    await nothing_runs(dispatcher)


async def test_a_command_that_fails_while_it_is_cancelled():
    async def command(ctx: Context) -> str:
        ctx.operation.cancel()
        try:
            await asyncio.sleep(60)
        finally:
            raise NoSuchVm("could not clean up")

    dispatcher = one(command)
    assert (await dispatcher.run(ALICE, "x", {})).code == "vm-not-found"
    await nothing_runs(dispatcher)


async def test_a_command_that_cleans_up_with_awaits():
    cleaned = []

    async def command(ctx: Context) -> str:
        ctx.operation.cancel()
        try:
            await asyncio.sleep(60)
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            cleaned.append(True)

    dispatcher = one(command)
    assert (await dispatcher.run(ALICE, "x", {})).code == "cancelled"
    assert cleaned == [True]
    await nothing_runs(dispatcher)


async def test_a_cancelled_task_group_within_a_command():
    inside = []

    async def command(ctx: Context) -> None:
        async def child():
            try:
                await asyncio.sleep(60)
            finally:
                inside.append("child ended")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(child())
            await asyncio.sleep(0)
            ctx.operation.cancel()

    dispatcher = one(command)
    assert (await dispatcher.run(ALICE, "x", {})).code == "cancelled"
    assert inside == ["child ended"]
    await nothing_runs(dispatcher)


async def test_a_timeout_within_a_cancelled_command_does_not_take_the_cancel_for_its_own():
    async def command(ctx: Context) -> str:
        ctx.operation.cancel()
        try:
            async with asyncio.timeout(60):
                await asyncio.sleep(60)
        except TimeoutError:
            return "mistaken"
        return "not reached"

    dispatcher = one(command)
    assert (await dispatcher.run(ALICE, "x", {})).code == "cancelled"
    await nothing_runs(dispatcher)


async def test_a_command_that_awaits_something_cancelled():
    async def command(ctx: Context) -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    dispatcher = one(command)
    outcome = await dispatcher.run(ALICE, "x", {})
    assert outcome == Failure("x was cancelled", "cancelled")
    await nothing_runs(dispatcher)


async def test_n4_a_shielded_section_is_finished_first():
    done = []

    async def command(ctx: Context) -> None:
        async with ctx.shield():
            ctx.operation.cancel()
            await asyncio.sleep(0)
            done.append("saved")
        await asyncio.sleep(0)
        done.append("not reached")

    dispatcher = one(command)
    assert (await dispatcher.run(ALICE, "x", {})).code == "cancelled"
    assert done == ["saved"]
    await nothing_runs(dispatcher)


async def test_a_shield_that_is_the_end_of_the_command():
    async def command(ctx: Context) -> str:
        async with ctx.shield():
            ctx.operation.cancel()
            await asyncio.sleep(0)
            return "saved"

    dispatcher = one(command)
    assert await dispatcher.run(ALICE, "x", {}) == Reply("saved")
    await nothing_runs(dispatcher)


async def test_somebody_else_cancels_the_whole_task():
    waiting = Waiting()
    dispatcher = one(waiting.command)
    task, operation = await start(dispatcher, waiting)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert waiting.met == ["cancelled"]
    assert operation.state == "cancelled"
    assert operation.error.message == "x was cancelled"
    assert dispatcher.runtime.operations.running() == []


@pytest.mark.parametrize("operation_first", [True, False])
async def test_somebody_else_cancels_the_task_as_well(operation_first):
    waiting = Waiting()
    task, operation = await start(one(waiting.command), waiting)
    for cancel in (operation, task) if operation_first else (task, operation):
        cancel.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert operation.state == "cancelled"


async def test_requests_that_follow_on_the_same_task_are_not_touched():
    async def command(ctx: Context, cancel: bool) -> str:
        if cancel:
            ctx.operation.cancel()
            await asyncio.sleep(60)
        await asyncio.sleep(0)
        return "fine"

    dispatcher = one(command)
    codes = [type(await dispatcher.run(ALICE, "x", {"cancel": n % 2 == 0})).__name__ for n in range(10)]
    assert codes == ["Failure", "Reply"] * 5
    await nothing_runs(dispatcher)


# Cancelling streams (PEP 789).


async def test_a_cancel_while_the_client_is_slow_is_thrown_into_the_generator():
    met = []

    async def command(ctx: Context) -> AsyncIterator[int]:
        try:
            yield 1
        except asyncio.CancelledError:
            met.append("cancelled at the yield")
            raise
        finally:
            await asyncio.sleep(0)
            met.append("cleaned up")

    dispatcher = one(command)
    sink = Sink()
    sink.gate.clear()
    running = asyncio.create_task(dispatcher.run(ALICE, "x", {}, sink, stream=True))
    await sink.blocked.wait()
    sink.operation.cancel()
    assert (await running).code == "cancelled"
    assert met == ["cancelled at the yield", "cleaned up"]


async def test_pep_789_a_timeout_around_a_yield_works():
    met = []

    async def command(ctx: Context) -> AsyncIterator[str]:
        try:
            async with asyncio.timeout(0.01):
                yield "stuck"
        except TimeoutError:
            met.append("timed out")
        yield "after"

    dispatcher = one(command)

    class StuckOnce(Sink):
        async def send_item(self, item):
            self.items.append(item.item)
            if item.item == "stuck":
                await asyncio.Event().wait()

    sink = StuckOnce()
    assert await dispatcher.run(ALICE, "x", {}, sink, stream=True) == Reply(None)
    assert met == ["timed out"]
    assert sink.items == ["stuck", "after"]
    await nothing_runs(dispatcher)


async def test_a_generator_that_swallows_the_cancel_goes_on():
    async def command(ctx: Context) -> AsyncIterator[int]:
        with contextlib.suppress(asyncio.CancelledError):
            yield 1
        yield 2

    dispatcher = one(command)
    sink = Sink()
    sink.gate.clear()

    async def serve():
        outcome = await dispatcher.run(ALICE, "x", {}, sink, stream=True)
        await nothing_runs(dispatcher)
        return outcome

    running = asyncio.create_task(serve())
    await sink.blocked.wait()
    sink.operation.cancel()
    await turns()
    sink.gate.set()
    assert await running == Reply(None)
    assert sink.items == [1, 2]


async def test_a_cancel_in_the_middle_of_a_collected_stream():
    met = []

    async def command(ctx: Context) -> AsyncIterator[int]:
        try:
            for number in range(1000):
                if number == 300:
                    ctx.operation.cancel()
                yield number
        except asyncio.CancelledError:
            met.append("cancelled")
            raise

    dispatcher = one(command)
    assert (await dispatcher.run(ALICE, "x", {})).code == "cancelled"
    assert met == ["cancelled"]
    await nothing_runs(dispatcher)


# Deadlines (N4).


async def test_n4_a_deadline_cancels_the_command():
    waiting = Waiting()
    dispatcher = one(waiting.command)
    sink = Sink()
    outcome = await dispatcher.run(ALICE, "x", {}, sink, deadline=asyncio.get_running_loop().time() + 0.01)
    assert outcome == Failure("x took too long", "deadline")
    assert sink.operation.state == "cancelled"
    assert waiting.met == ["cancelled"]
    await nothing_runs(dispatcher)


@pytest.mark.parametrize("deadline", [1e30, 1e308, math.inf])
async def test_n4_a_deadline_in_the_far_future(deadline):
    async def command(ctx: Context) -> float:
        assert ctx.deadline == deadline
        return 1

    dispatcher = one(command)
    assert await dispatcher.run(ALICE, "x", {}, deadline=deadline) == Reply(1)


async def test_n4_a_deadline_reaches_nested_commands_and_shields_hold_it_off():
    commands = CommandRegistry[Any]()
    met = []

    @commands.command("inner", role="admin")
    async def inner(ctx: Context) -> None:
        met.append(ctx.deadline)
        async with ctx.shield():
            while ctx.operation.interruption is None:
                await asyncio.sleep(0.001)
            met.append("saved")
        await asyncio.sleep(60)

    @commands.command("x", role="operate")
    async def outer(ctx: Context) -> None:
        await ctx.call(inner)

    dispatcher = stage(commands)
    deadline = asyncio.get_running_loop().time() + 0.01
    assert (await dispatcher.run(ALICE, "x", {}, deadline=deadline)).code == "deadline"
    assert met == [deadline, "saved"]
    await nothing_runs(dispatcher)


async def test_a_deadline_of_an_ended_command_strikes_nobody():
    dispatcher = one(nothing)
    soon = asyncio.get_running_loop().time() + 0.005
    assert await dispatcher.run(ALICE, "x", {}, deadline=soon) == Reply(None)
    while asyncio.get_running_loop().time() < soon + 0.005:
        await asyncio.sleep(0.001)
    await nothing_runs(dispatcher)


async def test_a_far_deadline_holds_on_to_nothing_once_the_command_has_ended():
    class Large: ...

    async def command(ctx: Context) -> Large:
        return Large()

    outcome = await one(command).run(ALICE, "x", {}, deadline=asyncio.get_running_loop().time() + 3600)
    result = ref(outcome.response)
    del outcome
    gc.collect()
    assert result() is None


async def test_a_result_that_knows_its_context_goes_with_the_operation():
    class Knowing:
        def __init__(self, ctx: Context) -> None:
            self.ctx = ctx

    async def command(ctx: Context) -> Knowing:
        return Knowing(ctx)

    outcome = await one(command).run(ALICE, "x", {})
    result = ref(outcome.response)
    del outcome
    gc.collect()  # it is a circle
    assert result() is None


# Shutting down.


async def test_nothing_new_is_started_when_the_daemon_goes_down():
    dispatcher = one(nothing)
    dispatcher.runtime.stopping = True
    assert await dispatcher.run(ALICE, "x", {}) == Failure("the daemon is shutting down", "shutting-down")
    assert (await dispatcher.run(ALICE, "x", {}, detach=True)).code == "shutting-down"
    assert (await dispatcher.run(BOB, "x", {})).code == "denied"
    with pytest.raises(ShuttingDown):
        dispatcher.launch(ALICE, "x", (), {})


# Nested commands.


def family():
    commands = CommandRegistry[Any]()

    @commands.command("child", role="admin")
    async def child(ctx: Context, size: int, *, label: str = "") -> Any:
        await ctx.progress(f"child {size}")
        assert ctx.parent is not None
        assert current_owner.get() is ctx.operation is ctx.parent.operation
        if size < 0:
            raise NoSuchVm("negative")
        return (size, label, ctx.command.name, ctx.parent.command.name, str(ctx.peer))

    @commands.command("items", role="admin")
    async def items(ctx: Context) -> AsyncIterator[int]:
        yield 1
        yield 2

    return commands, child, items


async def test_a_nested_command_is_part_of_its_parent():
    commands, child, items = family()

    @commands.command("x", role="operate")
    async def parent(ctx: Context) -> Any:
        return [
            await ctx.call(child, 1, label="a"),
            await ctx.call("child", size=2),
            await ctx.call(items),
            await ctx.call("items"),
        ]

    dispatcher = stage(commands)
    sink = Sink()
    outcome = await dispatcher.run(ALICE, "x", {}, sink)
    assert outcome == Reply([(1, "a", "child", "x", "alice"), (2, "", "child", "x", "alice"), [1, 2], [1, 2]])
    assert [update.message for update in sink.progress] == ["child 1", "child 2"]
    assert [update.seq for update in sink.progress] == [1, 2]
    assert dispatcher.runtime.operations.started == 1


async def test_what_goes_wrong_in_a_nested_command():
    commands, child, _ = family()
    met = []

    @commands.command("x", role="operate")
    async def parent(ctx: Context) -> None:
        for target, opts, error in (
            (child, {"size": -1}, NoSuchVm),
            ("child", {"size": "a"}, InvalidOptions),
            ("nowhere", {}, UnknownCommand),
            (turns, {}, UnknownCommand),
        ):
            try:
                await ctx.call(target, **opts)
            except CommandFailed as exc:
                met.append(type(exc) is error)
        await ctx.call(child, -1)

    assert (await stage(commands).run(ALICE, "x", {})).code == "vm-not-found"
    assert met == [True] * 4


# Launched commands.


async def test_a_launched_command_runs_on_its_own():
    commands = CommandRegistry[Any]()
    go_on = asyncio.Event()
    owners = []

    @commands.command("work", role="operate")
    async def work(ctx: Context, size: int) -> int:
        owners.append(current_owner.get())
        await go_on.wait()
        return size

    @commands.command("x", role="operate")
    async def parent(ctx: Context) -> str:
        operation = ctx.launch(work, 7)
        assert operation.peer is ctx.peer
        return operation.id

    dispatcher = stage(commands)
    outcome = await dispatcher.run(ALICE, "x", {})
    operation = dispatcher.runtime.operations.find(outcome.response)
    assert (operation.state, operation.detached) == ("running", True)
    go_on.set()
    assert await operation.wait() == 7
    assert owners == [operation]
    assert dispatcher.runtime.operations.find(operation.id).result == 7
    await turns()


async def test_a_launched_command_needs_its_role():
    dispatcher = one(nothing, role="admin")
    with pytest.raises(Denied):
        dispatcher.launch(ALICE, "x", (), {})
    with pytest.raises(UnknownCommand):
        dispatcher.launch(ROOT, "nowhere", (), {})
    with pytest.raises(InvalidOptions):
        dispatcher.launch(ROOT, "x", (), {"a": 1})


@pytest.mark.parametrize("reason", [None, Cancelled("because")])
async def test_an_operation_that_is_cancelled_before_its_first_step_ends(reason):
    ran = []

    async def command(ctx: Context) -> None:
        ran.append(True)

    dispatcher = one(command)
    operation = dispatcher.launch(ALICE, "x", (), {})
    if reason is None:
        operation.task.cancel()
    else:
        operation.interrupt(reason)
    with pytest.raises(Cancelled) as ended:
        await asyncio.wait_for(operation.wait(), 5)
    assert ended.value.message == ("x was cancelled before it began" if reason is None else "because")
    assert (operation.state, ran) == ("cancelled", [])
    assert len(dispatcher.runtime.operations) == 0


async def test_n4_a_detached_request_answers_its_id_at_once():
    waiting = Waiting()
    dispatcher = one(waiting.command)
    outcome = await dispatcher.run(ALICE, "x", {"cli": "ctl x"}, Sink(), detach=True)
    operation = dispatcher.runtime.operations.find(outcome.response["operation"])
    assert (operation.cli, operation.command, operation.detached) == ("ctl x", "x", True)
    await waiting.started.wait()
    waiting.go_on.set()
    assert await operation.wait() == "result"
    await turns()


async def test_operations_without_a_client_are_bounded_and_no_user_takes_them_all():
    waiting = Waiting()
    dispatcher = one(waiting.command, limits=Limits(max_detached=4))
    outcomes = [await dispatcher.run(peer, "x", {}, Sink(), detach=True) for peer in [ALICE] * 3 + [ROOT] * 3]
    codes = [getattr(outcome, "code", "ok") for outcome in outcomes]
    assert codes == ["ok", "ok", "busy", "ok", "ok", "busy"]
    waiting.go_on.set()
    for operation in dispatcher.runtime.operations.running():
        await operation.wait()
    assert isinstance(await dispatcher.run(ALICE, "x", {}, Sink(), detach=True), Reply)
    await turns()


async def test_n4_a_detached_request_has_its_deadline_and_its_failure():
    waiting = Waiting()
    dispatcher = one(waiting.command)
    deadline = asyncio.get_running_loop().time() + 0.01
    outcome = await dispatcher.run(ALICE, "x", {}, detach=True, deadline=deadline)
    operation = dispatcher.runtime.operations.find(outcome.response["operation"])
    with pytest.raises(CommandFailed) as ended:
        await operation.wait()
    assert ended.value.code == "deadline"
    await turns()


async def test_an_operation_of_an_endless_stream_can_be_detached_and_is_bounded():
    async def command(ctx: Context) -> AsyncIterator[str]:
        while True:
            yield "a" * 50

    dispatcher = one(command, endless=True, limits=Limits(max_line=1000))
    outcome = await dispatcher.run(ALICE, "x", {}, detach=True)
    operation = dispatcher.runtime.operations.find(outcome.response["operation"])
    with pytest.raises(CommandFailed) as ended:
        await operation.wait()
    assert ended.value.code == "too-large"
    await turns()


async def test_following_an_operation():
    commands = CommandRegistry[Any]()

    @commands.command("work", role="operate")
    async def work(ctx: Context, fail: bool) -> str:
        await ctx.progress("half", current=1, total=2, unit="items", data=[1])
        await asyncio.sleep(0)
        await ctx.progress("whole")
        if fail:
            raise NoSuchVm("gone")
        return "result"

    @commands.command("x", role="operate")
    async def parent(ctx: Context, fail: bool) -> str:
        return await ctx.follow(ctx.launch(work, fail))

    dispatcher = stage(commands)
    sink = Sink()
    assert await dispatcher.run(ALICE, "x", {"fail": False}, sink) == Reply("result")
    assert [(u.message, u.current, u.total, u.unit, u.data) for u in sink.progress] == [
        ("half", 1, 2, "items", [1]),
        ("whole", None, None, "", None),
    ]
    assert (await dispatcher.run(ALICE, "x", {"fail": True}, Sink())).code == "vm-not-found"
    await turns()


async def test_cancelling_a_follower_leaves_the_operation_alone():
    commands = CommandRegistry[Any]()
    waiting = Waiting()
    commands.command("work", role="operate")(waiting.command)

    @commands.command("x", role="operate")
    async def parent(ctx: Context) -> str:
        return await ctx.follow(ctx.dispatcher.launch(ctx.peer, "work", (), {}))

    dispatcher = stage(commands)
    sink = Sink()
    running = asyncio.create_task(dispatcher.run(ALICE, "x", {}, sink))
    await waiting.started.wait()
    sink.operation.cancel()
    assert (await running).code == "cancelled"
    (operation,) = dispatcher.runtime.operations.running()
    assert operation.interruption is None
    waiting.go_on.set()
    assert await operation.wait() == "result"
    await turns()


# Hooks.


def hooked():
    commands, child, items = family()
    steps = []

    def hook(name):
        @asynccontextmanager
        async def around(ctx):
            steps.append(f"{name} enters {ctx.command.name}")
            try:
                yield
            except BaseException as exc:
                steps.append(f"{name} sees {type(exc).__name__}")
                raise
            finally:
                steps.append(f"{name} leaves {ctx.command.name}")

        return around

    commands.around(hook("one"))
    commands.around(hook("two"))
    return commands, child, items, steps


async def test_hooks_surround_runs_from_the_outside_in():
    commands, child, _, steps = hooked()

    @commands.command("x", role="operate")
    async def parent(ctx: Context) -> None:
        steps.append("parent begins")
        await ctx.call(child, 1)
        steps.append("parent ends")

    await stage(commands).run(ALICE, "x", {})
    assert steps == [
        "one enters x",
        "two enters x",
        "parent begins",
        "one enters child",
        "two enters child",
        "two leaves child",
        "one leaves child",
        "parent ends",
        "two leaves x",
        "one leaves x",
    ]


async def test_hooks_surround_launched_and_streaming_runs():
    commands, _, _, steps = hooked()
    dispatcher = stage(commands)
    sink = Sink()
    assert await dispatcher.run(ROOT, "items", {}, sink, stream=True) == Reply(None)
    assert sink.items == [1, 2]
    assert steps == ["one enters items", "two enters items", "two leaves items", "one leaves items"]
    steps.clear()
    assert await dispatcher.launch(ROOT, "items", (), {}).wait() == [1, 2]
    assert len(steps) == 4
    await turns()


async def test_hooks_see_failures_and_cancels():
    commands, _, _, steps = hooked()

    @commands.command("x", role="operate")
    async def parent(ctx: Context, cancel: bool) -> None:
        if cancel:
            ctx.operation.cancel()
            await asyncio.sleep(60)
        raise NoSuchVm("gone")

    dispatcher = stage(commands)
    assert (await dispatcher.run(ALICE, "x", {"cancel": False})).code == "vm-not-found"
    assert (await dispatcher.run(ALICE, "x", {"cancel": True})).code == "cancelled"
    assert steps.count("one sees NoSuchVm") == steps.count("one sees CancelledError") == 1
    assert steps.count("one leaves x") == 2
    await nothing_runs(dispatcher)


async def test_a_hook_may_refuse_or_swallow():
    commands = CommandRegistry[Any]()

    @commands.around
    @asynccontextmanager
    async def hook(ctx):
        if ctx.command.name == "refused":
            raise NotFound("not here", kind="vm", name="a")
        with contextlib.suppress(NoSuchVm):
            yield

    @commands.command("refused", role="operate")
    async def refused(ctx: Context) -> None:
        raise AssertionError

    @commands.command("swallowed", role="operate")
    async def swallowed(ctx: Context) -> int:
        raise NoSuchVm("gone")

    dispatcher = stage(commands)
    assert await dispatcher.run(ALICE, "refused", {}) == Failure("not here", "not-found", {"kind": "vm", "name": "a"})
    assert await dispatcher.run(ALICE, "swallowed", {}) == Reply(None)


async def test_a_defect_in_a_hook_is_internal():
    commands = CommandRegistry[Any]()

    @commands.around
    @asynccontextmanager
    async def hook(ctx):
        yield
        raise ValueError("a defect")

    commands.command("x", role="operate")(nothing)
    assert (await stage(commands).run(ALICE, "x", {})).code == "internal"


# On the side.


async def test_n4_session_options_reach_a_session_command_and_no_other():
    seen = []

    async def command(ctx: Context, name: str = "") -> None:
        seen.append(dict(ctx.session_options))

    await one(command, session=True).run(ALICE, "x", {"name": "a", "rows": 24, "tty": True})
    assert seen == [{"rows": 24, "tty": True}]
    assert (await one(command).run(ALICE, "x", {"rows": 24})).code == "invalid-options"


async def test_a_command_that_nobody_keeps_or_tells_of_can_be_launched():
    dispatcher = one(nothing, role="anyone")
    assert await dispatcher.launch(BOB, "x", (), {}).wait() is None
    await turns()


async def test_an_alias_runs_its_command():
    async def command(ctx: Context) -> str:
        return ctx.command.name

    dispatcher = one(command, aliases=["y"])
    assert await dispatcher.run(ALICE, "y", {}) == Reply("x")


async def test_on_disconnect_is_known_to_the_operation():
    for wish in ("continue", "cancel"):
        sink = Sink()
        await one(nothing, on_disconnect=wish).run(ALICE, "x", {}, sink)
        assert sink.operation.on_disconnect == wish


# What keeps a command from beginning.


class Fragile(msgspec.Struct):
    size: int = 0

    def __post_init__(self) -> None:
        raise KeyError(self.size)


async def test_options_whose_own_check_breaks_are_internal_and_run_nothing(caplog):
    async def command(ctx: Context, what: Fragile) -> None:
        raise AssertionError("never called")

    dispatcher = one(command)
    for detach in (False, True):
        outcome = await dispatcher.run(ALICE, "x", msgspec.Raw(b'{"what":{}}'), detach=detach)
        assert (outcome.message, outcome.code) == ("internal error", "internal")
    assert "KeyError" in caplog.text
    assert dispatcher.runtime.operations.started == 0
    await nothing_runs(dispatcher)


async def test_a_command_that_cannot_be_noted_does_not_begin():
    async def command(ctx: Context) -> None:
        raise AssertionError("never called")

    class Unspeaking(Sink):
        def begun(self, operation):
            super().begun(operation)
            raise RuntimeError("no")

    dispatcher = one(command)
    sink = Unspeaking()
    outcome = await dispatcher.run(ALICE, "x", {}, sink)
    assert outcome.code == "internal"
    assert (sink.operation.state, sink.operation.error.code) == ("failed", "internal")
    await nothing_runs(dispatcher)


async def test_a_peer_with_a_role_that_there_is_not_may_do_nothing():
    outcome = await one(nothing, role="anyone").run(Peer("x", "boss"), "x", {})
    assert outcome.code == "internal"
