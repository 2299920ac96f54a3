"""The built-in commands about operations: op_list, op_watch, op_wait, op_cancel (native protocol, N4)."""

import asyncio
from typing import Any

import pytest

from ctld.commands.context import Context
from ctld.commands.registry import CommandRegistry
from ctld.errors import CommandFailed
from ctld.peer import Peer
from ctld.wire.messages import Reply
from tests.commands.stage import ALICE, BOB, ROOT, Sink, stage
from tests.commands.test_service import NOBODY, ask

ALICE_AGAIN = Peer(name="alice", role="anyone", uid=1001, transport="tcp")
CAROL = Peer(name="carol", role="operate", uid=1003, transport="unix")


class Work:
    """A dispatcher with one command that goes step by step."""

    def __init__(self):
        self.go_on = asyncio.Event()
        commands = CommandRegistry[Any]()

        @commands.command("work", role="operate")
        async def work(ctx: Context, fail: bool = False) -> str:
            await ctx.progress("one", current=1, total=2, unit="items", data={"a": 0})
            await ctx.progress("two")
            await self.go_on.wait()
            await ctx.progress("three", current=0)
            if fail:
                raise CommandFailed("it failed", where="here")
            return "result"

        @commands.command("secret", role="admin")
        async def secret(ctx: Context) -> str:
            return "secret"

        self.dispatcher = stage(commands)

    async def begin(self, peer=ALICE, **opts):
        outcome = await self.dispatcher.run(peer, "work", {"cli": "ctl work", **opts}, Sink(), detach=True)
        operation = self.dispatcher.runtime.operations.find(outcome.response["operation"])
        while operation.seq < 2:
            await asyncio.sleep(0)
        return operation

    async def finish(self, operation):
        self.go_on.set()
        while not operation.finished:
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    def ask(self, peer, name, opts=None, **options):
        return ask(peer, name, opts, on=self.dispatcher, **options)


async def test_op_list():
    work = Work()
    operation = await work.begin()
    first, itself = await work.ask(BOB, "op_list")
    assert first["started"] == pytest.approx(operation.started_at, abs=1)
    assert first.pop("age") >= 0
    first.pop("started")
    assert first == {
        "id": operation.id,
        "command": "work",
        "cli": "ctl work",
        "state": "running",
        "peer": "alice",
        "detached": True,
        "message": "two",
        "current": None,
        "total": None,
        "unit": "",
        "error": "",
    }
    assert (itself["command"], itself["detached"]) == ("op_list", False)
    await work.finish(operation)
    first, _ = await work.ask(BOB, "op_list")
    assert (first["state"], first["message"], first["current"]) == ("done", "three", 0)
    assert (await work.ask(NOBODY, "op_list")).code == "denied"


async def test_op_list_tells_why_something_failed():
    work = Work()
    await work.finish(await work.begin(fail=True))
    first, _ = await work.ask(BOB, "op_list")
    assert (first["state"], first["error"]) == ("failed", "it failed")


async def test_n4_op_watch_streams_progress_and_at_last_the_result():
    work = Work()
    operation = await work.begin()
    sink = Sink()
    watching = asyncio.create_task(work.dispatcher.run(ALICE, "op_watch", {"id": operation.id}, sink, stream=True))
    while len(sink.items) < 2:
        await asyncio.sleep(0)
    await work.finish(operation)
    assert (await watching).response is None
    assert sink.items == [
        {"seq": 1, "progress": "one", "current": 1, "total": 2, "unit": "items", "data": {"a": 0}},
        {"seq": 2, "progress": "two"},
        {"seq": 3, "progress": "three", "current": 0},
        {"result": "result"},
    ]
    assert await work.ask(ALICE, "op_watch", {"id": operation.id, "since": 2}) == sink.items[2:]
    assert await work.ask(ALICE, "op_watch", {"id": operation.id, "since": 99}) == sink.items[3:]


async def test_n4_op_watch_of_a_failure_fails_like_it():
    work = Work()
    operation = await work.begin(fail=True)
    await work.finish(operation)
    sink = Sink()
    outcome = await work.dispatcher.run(ALICE, "op_watch", {"id": operation.id, "since": 2}, sink, stream=True)
    assert (outcome.code, outcome.message, outcome.fields) == ("failed", "it failed", {"where": "here"})
    assert sink.items == [{"seq": 3, "progress": "three", "current": 0}]


@pytest.mark.parametrize("fail", [False, True])
async def test_n4_op_wait_ends_as_the_operation_does(fail):
    work = Work()
    operation = await work.begin(fail=fail)
    waiting = asyncio.create_task(work.ask(ALICE, "op_wait", {"id": operation.id}))
    await asyncio.sleep(0)
    await work.finish(operation)
    for answer in (await waiting, await work.ask(ALICE, "op_wait", {"id": operation.id})):
        if fail:
            assert (answer.code, answer.message) == ("failed", "it failed")
        else:
            assert answer == "result"


async def test_n4_op_cancel():
    work = Work()
    operation = await work.begin()
    assert await work.ask(ALICE, "op_cancel", {"id": operation.id}) == "running"
    outcome = await work.ask(ALICE, "op_wait", {"id": operation.id})
    assert (outcome.code, outcome.message) == ("cancelled", "work was cancelled")
    assert await work.ask(ALICE, "op_cancel", {"id": operation.id}) == "cancelled"
    await asyncio.sleep(0)


async def test_a_watcher_that_is_cancelled_leaves_the_operation_alone():
    work = Work()
    operation = await work.begin()
    sinks = [Sink(), Sink()]
    watching = [
        asyncio.create_task(work.dispatcher.run(ALICE, name, {"id": operation.id}, sink, stream=True))
        for name, sink in zip(("op_watch", "op_wait"), sinks, strict=True)
    ]
    while not all(sink.operation for sink in sinks):
        await asyncio.sleep(0)
    for sink in sinks:
        sink.operation.cancel()
    assert [(await task).code for task in watching] == ["cancelled", "cancelled"]
    assert operation.interruption is None
    await work.finish(operation)
    assert operation.result == "result"


@pytest.mark.parametrize("name", ["op_watch", "op_wait", "op_cancel"])
async def test_who_may_deal_with_an_operation(name):
    work = Work()
    for peer, allowed in (
        (ALICE, True),
        (ALICE_AGAIN, True),  # the same user, whatever the role of this connection
        (CAROL, True),  # could have run it
        (ROOT, True),
        (BOB, False),
        (NOBODY, False),
    ):
        operation = await work.begin()
        await work.finish(operation)
        answer = await work.ask(peer, name, {"id": operation.id})
        if allowed:
            assert getattr(answer, "code", None) is None, (peer, answer)
        else:
            assert answer.code == "denied"
            assert answer.fields["role"] == "operate"
            assert f"operation {operation.id} (work)" in answer.message
        work.go_on.clear()


@pytest.mark.parametrize(
    ("owner", "other", "same"),
    [
        (Peer(name="cert", transport="tls"), Peer(name="cert", transport="tls"), True),
        (Peer(name="cert", transport="tls"), Peer(name="cert", transport="unix"), False),
        (Peer(name="cert", transport="tls"), Peer(name="cert", transport="tls", uid=0), False),
        (Peer(name="", transport="tcp"), Peer(name="", transport="tcp"), False),
        (Peer(name="a", uid=5), Peer(name="b", uid=5), True),
        (Peer(name="a", uid=5), Peer(name="a", uid=6), False),
        (Peer(name="a", uid=0), Peer(name="a"), False),
    ],
)
async def test_only_what_a_transport_vouches_for_makes_two_callers_one(owner, other, same):
    work = Work()
    runtime = work.dispatcher.runtime
    operation = runtime.operations.start("secret", owner, "admin")
    operation.detached = True
    operation.finish(Reply("secret"))
    answer = await work.ask(other, "op_wait", {"id": operation.id})
    if same:
        assert answer == "secret"
    else:
        assert answer.code == "denied"


@pytest.mark.parametrize("name", ["op_watch", "op_wait", "op_cancel"])
async def test_an_operation_that_is_not_there(name):
    answer = await ask(ROOT, name, {"id": "1-1"})
    assert (answer.code, answer.fields) == ("not-found", {"kind": "operation", "name": "1-1"})
    assert (await ask(ROOT, name, {})).code == "invalid-options"
