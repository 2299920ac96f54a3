"""One request on its way: what reaches it, and when."""

import asyncio
import gc
from types import SimpleNamespace
from typing import Any
from weakref import ref

import pytest

import ctld
from ctld.client_handler import Site, current_request
from ctld.commands.context import Origin
from ctld.commands.operation import OperationTable
from ctld.errors import LocalProtocolError
from ctld.exchange import Exchange
from ctld.limits import Limits
from ctld.sessions.state import Way
from ctld.wire.messages import Invalid, Item, Progress
from tests.commands.stage import ALICE, BOB, ROOT, stage


class Connection:
    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.congested = False
        self.gone = False
        self.waited = 0

    def send(self, message: Any, request_id: Any) -> None:
        self.sent.append((message, request_id))

    async def drained(self) -> None:
        self.waited += 1


def exchange_on(connection: Connection, handler: Any = None) -> Exchange:
    parties: Any = SimpleNamespace(connection=connection, handler=handler)
    return Exchange(parties, ctld.Request("x", {}, 7))


async def test_messages_carry_the_id_and_wait_for_a_slow_peer():
    connection = Connection()
    exchange = exchange_on(connection)
    assert exchange.send_progress(Progress("a")) is None
    connection.congested = True
    for drained in (exchange.send_progress(Progress("b")), exchange.send_item(Item(1))):
        assert drained is not None
        await drained
    assert connection.sent == [(Progress("a"), 7), (Progress("b"), 7), (Item(1), 7)]
    assert connection.waited == 2


async def test_an_interruption_before_the_operation_begins_reaches_it():
    exchange = exchange_on(Connection())
    reason = ctld.Cancelled("no more")
    exchange.interrupt(reason)
    exchange.interrupt(ctld.Cancelled("the first reason stands"))
    operation = OperationTable().start("x", ctld.Peer())
    exchange.begun(operation)
    assert operation.interruption is reason


async def test_an_interruption_of_a_running_operation_is_the_operation_s():
    exchange = exchange_on(Connection())
    operation = OperationTable().start("x", ctld.Peer())
    exchange.begun(operation)
    exchange.interrupt(ctld.DeadlineExceeded("late"))
    assert operation.interruption is not None
    assert exchange.interruption is None


@pytest.mark.parametrize("gone", [True, False])
async def test_an_attached_command_whose_client_left_before_it_began_is_cancelled(gone: bool):
    connection = Connection()
    connection.gone = gone
    exchange = exchange_on(connection)
    operation = OperationTable().start("x", ctld.Peer())
    operation.on_disconnect = "cancel"
    exchange.begun(operation)
    assert (operation.interruption is not None) is gone


@pytest.mark.parametrize("delivered", [True, False])
async def test_settle_takes_the_cancellation_back_delivered_or_not(delivered: bool):
    exchange = exchange_on(Connection())

    async def serve() -> str:
        exchange.task = asyncio.current_task()
        if delivered:
            asyncio.get_running_loop().call_soon(exchange.interrupt, ctld.Cancelled("x"))
            with pytest.raises(asyncio.CancelledError):
                await asyncio.Event().wait()
        else:
            exchange.interrupt(ctld.Cancelled("x"))
        await exchange.settle()
        await exchange.settle()
        await asyncio.sleep(0)
        assert exchange.task is not None
        assert exchange.task.cancelling() == 0
        return "went on"

    assert await asyncio.get_running_loop().create_task(serve()) == "went on"


async def test_settle_lets_somebody_else_s_cancellation_through():
    exchange = exchange_on(Connection())

    async def serve() -> None:
        exchange.task = task = asyncio.current_task()
        exchange.interrupt(ctld.Cancelled("x"))
        assert task is not None
        task.cancel()
        await exchange.settle()

    task = asyncio.get_running_loop().create_task(serve())
    with pytest.raises(asyncio.CancelledError):
        await task


def test_become_and_version_are_the_handler_s():
    handler: Any = SimpleNamespace(peer=None, has_authorize=False, server_version=lambda: "3")
    exchange = exchange_on(Connection(), handler)
    exchange.become(ctld.Peer("alice"))
    assert handler.peer.name == "alice"
    assert exchange.server_version == "3"
    assert exchange.authorize is None


# From the request to its final message.


class Line(Connection):
    """A connection that also does what conversations ask for."""

    kind = "unix"
    input_ended = False

    def __init__(self) -> None:
        super().__init__()
        self.queued = 100
        self.charged = 1
        self.calls: list[str] = []
        self.unsendable: list[Any] = []

    def send(self, message: Any, request_id: Any, more: bool = True) -> None:
        if message in self.unsendable:
            raise LocalProtocolError("not on this wire")
        super().send(message, request_id)

    def regulate(self) -> None:
        self.calls.append("regulate")

    def hold(self) -> None:
        self.calls.append("hold")

    def resume(self) -> None:
        self.calls.append("resume")


class Talk:
    """A conversation of one request."""

    def __init__(self, handler: type[ctld.ClientHandler[Any]] = ctld.ClientHandler, peer: ctld.Peer = ALICE) -> None:
        commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()

        @commands.command("x", role="operate")
        async def x(ctx: ctld.Context, n: int = 0) -> int:
            return n

        @commands.command("wait", role="operate")
        async def wait(ctx: ctld.Context) -> str:
            self.entered.set()
            await self.gate.wait()
            return "waited"

        self.connection = Line()
        self.dispatcher = stage(commands)
        site = Site(None, self.dispatcher.runtime.server, self.dispatcher, Limits())
        sock: Any = None
        self.handler = handler(site, sock, peer)
        self.origin = Origin("1")
        self.beside = 0

    def others(self, exchange: Exchange) -> int:
        return self.beside

    def exchange(self, request: Any, **fields: Any) -> Exchange:
        handler = self.handler
        parties: Any = self
        fields = {"unusual": handler.has_authorize or handler.has_handle_cmd, **fields}
        return Exchange(parties, request, 10, **fields)

    async def answer(self, request: Any, **fields: Any) -> Any:
        return await self.exchange(request, **fields).answer(self.dispatcher, asyncio.current_task())


@pytest.mark.parametrize("unusual", [False, True])
async def test_an_ordinary_request_is_answered_by_its_command(unusual: bool):
    talk = Talk()
    assert await talk.answer(ctld.Request("x", {"n": 3}), unusual=unusual) == ctld.Reply(3)
    assert (await talk.answer(ctld.Request("y"), unusual=unusual)).code == "unknown-command"
    assert talk.exchange(None).origin is talk.origin


async def test_what_is_no_request_is_told_so():
    outcome = await Talk().answer(Invalid("syntax", "no JSON", None, {"at": 1}), unusual=True)
    assert outcome == ctld.Failure("no JSON", "syntax", {"at": 1})


async def test_n4_what_had_to_wait_too_long_or_was_cancelled_meanwhile_does_not_begin():
    talk = Talk()
    now = asyncio.get_running_loop().time()
    assert (await talk.answer(ctld.Request("x"), unusual=True, deadline=now - 1)).code == "deadline"
    exchange = talk.exchange(ctld.Request("x"))
    exchange.interrupt(ctld.Cancelled("no more"))
    assert (await exchange.answer(talk.dispatcher, asyncio.current_task())).code == "cancelled"
    assert talk.dispatcher.runtime.operations.started == 0


class Own(ctld.ClientHandler[Any]):
    """Answers in every way that there is."""

    async def handle_cmd(self, request: ctld.Request, /) -> Any:
        match request.cmd:
            case "own":
                return self.ok("own")
            case "error":
                return self.error("no", "x.no")
            case "silent":
                return self.error("")
            case "nothing":
                return None
            case "raise":
                raise ctld.CommandFailed("raised")
            case "crash":
                raise SystemExit(1)
            case "interrupt":
                raise KeyboardInterrupt
            case "hang":
                await asyncio.Event().wait()
        return await super().handle_cmd(request)


@pytest.mark.parametrize(
    ("cmd", "peer", "expected"),
    [
        ("own", ROOT, ctld.Reply("own")),
        ("own", ALICE, "denied"),
        ("error", ALICE, ctld.Failure("no", "x.no")),
        ("silent", ALICE, "internal"),
        ("nothing", ROOT, "internal"),
        ("raise", ALICE, ctld.Failure("raised")),
        ("crash", ROOT, "internal"),
        ("x", ALICE, ctld.Reply(0)),
        ("x", BOB, "denied"),
    ],
)
async def test_n7_what_a_handler_answers_by_itself_is_held_to_the_contract(cmd: str, peer: ctld.Peer, expected: Any):
    outcome = await Talk(Own, peer).answer(ctld.Request(cmd))
    assert (outcome.code if isinstance(expected, str) else outcome) == expected
    assert current_request.get() is None


async def test_whoever_ends_the_program_is_not_held_up_by_a_handler():
    with pytest.raises(KeyboardInterrupt):
        await Talk(Own, ROOT).answer(ctld.Request("interrupt"))


async def test_n4_a_deadline_bounds_the_handler_too():
    deadline = asyncio.get_running_loop().time() + 0.01
    assert (await Talk(Own).answer(ctld.Request("hang"), deadline=deadline)).code == "deadline"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    far = asyncio.get_running_loop().time() + 3600
    assert await Talk(Own).answer(ctld.Request("x"), deadline=far) == ctld.Reply(0)


async def test_a_cancellation_of_the_task_that_nobody_asked_the_request_for_goes_on():
    task = asyncio.create_task(Talk(Own).answer(ctld.Request("hang")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_n7_a_handler_is_asked_before_the_command():
    class Careful(ctld.ClientHandler[Any]):
        async def authorize(self, command: Any, opts: Any, /) -> None:
            if opts:
                raise ctld.Denied("not so")

    talk = Talk(Careful)
    assert await talk.answer(ctld.Request("x")) == ctld.Reply(0)
    assert (await talk.answer(ctld.Request("x", {"n": 1}))).code == "denied"


async def test_n1_what_somebody_else_has_answered_says_no_more():
    talk = Talk()
    exchange = talk.exchange(ctld.Request("x"))
    exchange.say(ctld.Failure("it did not end"), more=True)
    assert exchange.send_progress(Progress("on and on")) is exchange.send_item(Item(1)) is None
    assert talk.connection.sent == [(ctld.Failure("it did not end"), None)]


async def test_a_far_deadline_holds_on_to_nothing_once_the_request_is_answered():
    class Wrapping(ctld.ClientHandler[Any]):
        async def handle_cmd(self, request: ctld.Request, /) -> Any:
            return await super().handle_cmd(request)

    talk = Talk(Wrapping)
    exchange = talk.exchange(ctld.Request("x"), deadline=asyncio.get_running_loop().time() + 3600)
    assert await exchange.answer(talk.dispatcher, asyncio.current_task()) == ctld.Reply(0)
    answered = ref(exchange)
    del exchange
    gc.collect()
    assert answered() is None


async def test_an_answer_that_the_wire_cannot_carry_is_internal_and_gives_back_what_was_held():
    talk = Talk()
    talk.connection.unsendable.append(ctld.Reply("odd"))
    exchange = talk.exchange(ctld.Request("x"))
    exchange.hold()
    assert exchange.conclude(ctld.Reply("odd"), False) is False
    [(message, _)] = talk.connection.sent
    assert message.code == "internal"
    assert (talk.connection.queued, talk.connection.calls) == (90, ["hold", "regulate", "resume"])
    talk.connection.charged = 0
    assert exchange.conclude(ctld.Reply("fine"), True) is False
    assert talk.connection.calls == ["hold", "regulate", "resume"]


@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_n6_who_is_told_again_and_again_is_gone_over_tcp_when_it_sends_no_more(kind: str):
    talk = Talk()
    talk.connection.kind = kind
    exchange = talk.exchange(ctld.Request("wait"))

    async def serve() -> ctld.Reply | ctld.Failure:
        return await exchange.answer(talk.dispatcher, asyncio.current_task())

    answer = asyncio.create_task(serve())
    await talk.entered.wait()
    exchange.on_end_of_input()
    assert exchange.send_interim(ctld.Reply("subscribed")) is None
    assert exchange.operation is not None
    assert exchange.operation.interruption is None
    talk.connection.input_ended = True
    exchange.send_interim(ctld.Reply("news"))
    talk.gate.set()
    outcome = await answer
    assert (outcome == ctld.Reply("waited")) is (kind == "unix")


class Hijacked:
    """A connection that was taken over."""

    def __init__(self, connection: Any, way: Way) -> None:
        self.way = way
        self.goes_on = way is Way.FDS
        self.calls: list[Any] = []

    def say_continue(self, session_id: str, request_id: Any) -> None:
        self.calls.append((session_id, request_id))

    async def flush(self) -> None:
        self.calls.append("flush")

    def last_word(self, outcome: Any) -> Any:
        return outcome if self.goes_on else None

    def give_back(self) -> None:
        self.calls.append("give back")


@pytest.mark.parametrize("way", [Way.FDS, Way.RAW])
@pytest.mark.parametrize("session", [None, {"rows": 1}])
async def test_n5_a_connection_that_was_taken_over(monkeypatch: pytest.MonkeyPatch, way: Way, session: Any):
    monkeypatch.setattr("ctld.exchange.HijackedConnection", Hijacked)
    talk = Talk()
    exchange = talk.exchange(ctld.Request("x", id=7, session=session))
    exchange.hold()
    stream: Any = await exchange.take_over(way, "s1")
    assert stream.calls == [("" if session is None else "s1", 7), "flush"]
    assert exchange.session == session
    exchange.send_progress(Progress("a"))
    assert exchange.conclude(ctld.Reply("end"), True) is (way is Way.RAW)
    sent = [message for message, _ in talk.connection.sent]
    assert sent == ([Progress("a"), ctld.Reply("end")] if way is Way.FDS else [])
    assert stream.calls[-1] == "give back"


async def test_n5_who_may_not_take_the_connection_over():
    talk = Talk()
    exchange = talk.exchange(ctld.Request("x"))
    with pytest.raises(LocalProtocolError):
        await exchange.take_over(Way.RAW)
    exchange.hold()
    talk.beside = 1
    with pytest.raises(ctld.Busy):
        await exchange.take_over(Way.RAW)
    talk.beside = 0
    talk.connection.gone = True
    with pytest.raises(ctld.Cancelled):
        await exchange.take_over(Way.RAW)
    talk.connection.kind = "tcp"
    with pytest.raises(ctld.CommandFailed):
        await exchange.take_over(Way.FDS)
