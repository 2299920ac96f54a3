"""ctld.client.link: which answer belongs to whom, and how much of it is read."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
import pytest_asyncio

from ctld.client import exchange as exchange_module
from ctld.client import link as module
from ctld.client.exchange import Exchange
from ctld.client.link import Link
from ctld.errors import (
    Busy,
    Cancelled,
    ConnectionLost,
    DeadlineExceeded,
    LocalProtocolError,
    RemoteProtocolError,
    ShuttingDown,
    TooLarge,
)
from tests.client.scripted import BANNER

OLD_BANNER = {"version": "24.05.0"}


async def turns(reached: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    while not reached():
        await asyncio.sleep(0)


class Both:
    """A link, and the other end of its connection."""

    def __init__(self, link: Link, sock: socket.socket) -> None:
        self.link = link
        self.sock = sock
        self._buffer = b""

    def ask(self, command: str = "x", opts: Any = None, **further: Any) -> Exchange:
        wanted: dict[str, Any] = {"stream": False, "deadline": None, "detach": False} | further
        return self.link.send(command, opts or {}, **wanted)

    async def request(self) -> Any:
        while b"\n" not in self._buffer:
            data = await asyncio.get_running_loop().sock_recv(self.sock, 1 << 20)
            assert data, "the client hung up"
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return orjson.loads(line)

    async def say(self, *messages: Any) -> None:
        for message in messages:
            data = message if isinstance(message, bytes) else orjson.dumps(message) + b"\n"
            await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def tell(self, message: Any) -> None:
        """Say the first message, and wait until the client has understood it."""
        await self.say(message)
        await turns(lambda: self.link.protocol > 0)

    async def end_of(self, *exchanges: Exchange) -> None:
        for exchange in exchanges:
            while not exchange.done:
                await exchange.changed()


@pytest_asyncio.fixture
async def both() -> AsyncIterator[Both]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    _, link = await loop.create_connection(lambda: Link("unix:/x", 1 << 20), sock=ours)
    yield Both(link, theirs)
    link.close()
    link.abort()
    await link.closed
    theirs.close()


def response(value: Any, request_id: Any = None) -> dict[str, Any]:
    return {"status": True, "response": value} | ({} if request_id is None else {"id": request_id})


def failure(code: str, request_id: Any = None) -> dict[str, Any]:
    return {"status": False, "message": f"it is {code}", "code": code} | (
        {} if request_id is None else {"id": request_id}
    )


# -- whose answer


async def test_n4_answers_find_their_requests_by_id(both: Both) -> None:
    await both.say(BANNER)
    exchanges = [both.ask(f"c{number}") for number in range(5)]
    ids = [(await both.request())["id"] for _ in exchanges]
    assert len(set(ids)) == 5
    await both.say(*[response(number, number) for number in reversed(ids)])
    await both.end_of(*exchanges)
    assert [exchange.response for exchange in exchanges] == ids
    assert both.link.banner == BANNER


async def test_n2_requests_leave_before_the_banner(both: Both) -> None:
    first, second = both.ask("a"), both.ask("b")
    ids = [(await both.request())["id"], (await both.request())["id"]]
    await both.say(BANNER, response("b", ids[1]), response("a", ids[0]))
    await both.end_of(first, second)
    assert (first.response, second.response) == ("a", "b")


@pytest.mark.parametrize("banner", [[], [OLD_BANNER]], ids=["no banner", "old banner"])
async def test_n1_answers_without_ids_come_in_order(both: Both, banner: list[Any]) -> None:
    first, second = both.ask("a"), both.ask("b")
    await both.say(*banner, {"status": True, "progress": "p"}, response("a"), failure("busy"))
    await both.end_of(first, second)
    assert first.news[0].message == "p"
    assert first.response == "a"
    assert isinstance(second.error, Busy)


async def test_version_1_is_sent_no_ids_once_it_is_known(both: Both) -> None:
    first = both.ask("a")
    assert "id" in await both.request()
    await both.say(OLD_BANNER, response("a"))
    await both.end_of(first)
    second = both.ask("b")
    assert await both.request() == {"cmd": "b", "opts": {}}
    await both.say(response("b"))
    await both.end_of(second)
    assert both.link.protocol == 1


async def test_late_news_of_a_call_that_was_given_up_is_dropped(both: Both) -> None:
    first, second = both.ask("a"), both.ask("b")
    ids = [(await both.request())["id"], (await both.request())["id"]]
    await both.tell(BANNER)
    first.give_up(Cancelled("enough"))
    assert await both.request() == {"cancel": ids[0]}
    await both.say({"status": True, "progress": "p", "id": ids[0]}, response("late", ids[0]), response("b", ids[1]))
    await both.end_of(second)
    assert (first.response, second.response) == (None, "b")


async def test_version_1_keeps_the_place_of_a_call_that_was_given_up(both: Both) -> None:
    await both.tell(OLD_BANNER)
    first, second = both.ask("a"), both.ask("b")
    first.cancel()
    assert isinstance(first.error, Cancelled)
    assert [(await both.request())["cmd"], (await both.request())["cmd"]] == ["a", "b"]
    await both.say({"status": True, "progress": "p"}, response("a"), response("b"))
    await both.end_of(second)
    assert (second.response, first.response, list(first.news)) == ("b", None, [])


@pytest.mark.parametrize("request_id", ["1", 99, 1.0, True, [], {}], ids=repr)
async def test_answers_with_ids_of_nobody_are_nobodys(both: Both, request_id: Any) -> None:
    await both.say(BANNER)
    exchange = both.ask()
    own = (await both.request())["id"]
    await both.say(response("stray", request_id), response("own", own))
    await both.end_of(exchange)
    assert exchange.response == "own"


async def test_items_and_progress(both: Both) -> None:
    await both.say(BANNER)
    exchange = both.ask(stream=True)
    request = await both.request()
    assert request["stream"] is True
    own = {"id": request["id"], "status": True}
    await both.say(own | {"progress": "p", "current": 1, "total": 2, "unit": "u"}, own | {"item": 5}, response(None, 1))
    await both.end_of(exchange)
    assert exchange.take_item() == 5
    update = exchange.news[0]
    assert (update.message, update.current, update.total, update.unit) == ("p", 1, 2, "u")


# -- refusals, ends, garbage


async def test_a_refusal_before_any_call_is_raised_by_the_next(both: Both) -> None:
    await both.tell(failure("busy"))
    assert isinstance(both.ask().error, Busy)
    assert isinstance(both.ask().error, Busy)


async def test_a_refusal_is_heard_even_if_the_request_cannot_be_written(both: Both) -> None:
    both.sock.sendall(orjson.dumps(failure("busy")) + b"\n")
    both.sock.shutdown(socket.SHUT_RDWR)
    exchange = both.ask()  # before the loop had a turn to read
    await both.end_of(exchange)
    assert isinstance(exchange.error, Busy)


async def test_a_request_that_cannot_be_written_to_a_server_that_said_nothing(both: Both) -> None:
    both.sock.shutdown(socket.SHUT_RDWR)
    exchange = both.ask()
    await both.end_of(exchange)
    assert isinstance(exchange.error, ConnectionLost)


async def test_in_version_2_a_failure_without_id_speaks_of_the_connection(both: Both) -> None:
    await both.say(BANNER)
    exchanges = [both.ask(), both.ask()]
    await both.say(failure("shutting-down"))
    both.sock.shutdown(socket.SHUT_WR)
    await both.end_of(*exchanges)
    assert all(isinstance(exchange.error, ShuttingDown) for exchange in exchanges)
    await both.link.closed
    assert isinstance(both.ask().error, ShuttingDown), "which says more than that the connection is over"


@pytest.mark.parametrize(
    "garbage",
    [b"garbage\n", b"[]\n", b'{"status":1}\n', b"\xff\n", b"x" * (1 << 20) + b"xx", b'{"version":"2"}\n'],
    ids=["text", "array", "status", "bytes", "endless line", "second banner"],
)
async def test_garbage_ends_every_call_and_the_connection(both: Both, garbage: bytes) -> None:
    await both.say(BANNER)
    exchanges = [both.ask(), both.ask()]
    await both.say(garbage)
    await both.end_of(*exchanges)
    assert all(isinstance(exchange.error, RemoteProtocolError) for exchange in exchanges)
    await both.link.closed
    assert isinstance(both.link.lost, RemoteProtocolError)


@pytest.mark.parametrize("pending", [True, False])
async def test_an_answer_that_nobody_asked_for_ends_the_connection(both: Both, pending: bool) -> None:
    await both.say(BANNER)
    exchange = both.ask() if pending else None
    await both.say(response("unasked"))
    await both.link.closed
    assert isinstance(both.link.lost, RemoteProtocolError)
    assert exchange is None or isinstance(exchange.error, RemoteProtocolError)


@pytest.mark.parametrize("half", [b"", b'{"status":tr'])
async def test_b34_a_server_that_goes_away_ends_every_call(both: Both, half: bytes) -> None:
    await both.say(BANNER, half)
    exchanges = [both.ask(), both.ask()]
    both.sock.shutdown(socket.SHUT_WR)
    await both.end_of(*exchanges)
    for exchange in exchanges:
        assert isinstance(exchange.error, ConnectionLost)
        assert ("in the middle of a message" in str(exchange.error)) == bool(half)
    await both.link.closed
    assert isinstance(both.ask().error, ConnectionLost)


async def test_a_lost_connection_says_why(both: Both) -> None:
    exchange = both.ask()
    both.link.connection_lost(OSError("the network is down"))
    with pytest.raises(ConnectionLost, match="was lost: the network is down"):
        raise exchange.error or AssertionError


WIRE = (
    b'{"version":"1","protocol":2}\n{"status":true,"progress":"\xc3\xa9","id":1}\n{"status":true,"response":5,"id":1}\n'
)


@pytest.mark.parametrize("cut", range(len(WIRE) + 1))
async def test_the_answer_may_be_cut_anywhere(cut: int) -> None:
    link = Link("x", 1000)
    transport = _Transport()
    link.connection_made(transport)
    exchange = link.send("x", {}, stream=False, deadline=None, detach=False)
    link.data_received(WIRE[:cut])
    link.data_received(WIRE[cut:])
    assert exchange.response == 5
    assert exchange.news[0].message == "é"


class _Transport(asyncio.Transport):
    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send it nowhere."""


async def test_close_ends_what_is_under_way(both: Both) -> None:
    exchange = both.ask()
    held = both.ask(detach=True)
    both.link.close()
    both.link.close()
    await both.link.closed
    for ended in (exchange, held, both.ask()):
        assert isinstance(ended.error, ConnectionLost)
    assert both.link.lost is None


async def test_closing_what_never_was_open() -> None:
    link = Link("x", 1000)
    link.close()
    link.abort()
    assert not link.over
    link.closed.cancel()


# -- cancel, deadline, detach, bounds


async def test_n4_cancel_names_the_id(both: Both) -> None:
    await both.say(BANNER)
    exchange = both.ask()
    own = (await both.request())["id"]
    exchange.cancel()
    assert await both.request() == {"cancel": own}
    await both.say(failure("cancelled", own))
    await both.end_of(exchange)
    assert isinstance(exchange.error, Cancelled)
    assert str(exchange.error) == "it is cancelled"
    assert not both.link.send_cancel(exchange), "it has ended"


@pytest.mark.parametrize("given_up", [True, False])
async def test_a_cancel_before_the_banner_waits_for_it(both: Both, given_up: bool) -> None:
    first, second = both.ask("a"), both.ask("b")
    if given_up:
        first.give_up(Cancelled("enough"))
    else:
        first.cancel()
    ids = [(await both.request())["id"], (await both.request())["id"]]
    await both.tell(BANNER)
    assert await both.request() == {"cancel": ids[0]}
    await both.say(failure("cancelled", ids[0]), response("b", ids[1]))
    await both.end_of(first, second)
    assert isinstance(first.error, Cancelled)
    assert second.response == "b"


@pytest.mark.parametrize("banner", [[], [OLD_BANNER]], ids=["no banner", "old banner"])
async def test_version_1_is_sent_no_cancel_that_it_would_answer(both: Both, banner: list[Any]) -> None:
    first, second = both.ask("a"), both.ask("b")
    first.cancel()
    await both.say(*banner, {"status": True, "progress": "p"}, response("a"), response("b"))
    await both.end_of(first, second)
    assert isinstance(first.error, Cancelled)
    assert second.response == "b"
    both.ask("c")
    assert [(await both.request())["cmd"] for _ in range(3)] == ["a", "b", "c"]


async def test_b24_a_silent_server_is_given_up_after_the_deadline(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE_GRACE", 0.01)
    await both.say(BANNER)
    exchange = both.ask(deadline=0.01)
    request = await both.request()
    assert request["deadline"] == 0.01
    await both.end_of(exchange)
    assert isinstance(exchange.error, DeadlineExceeded)
    assert await both.request() == {"cancel": request["id"]}


async def test_version_1_knows_no_deadline_so_the_client_keeps_it_alone(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE_GRACE", 1000.0)
    await both.say(OLD_BANNER)
    exchange = both.ask(deadline=0.02)
    await both.end_of(exchange)
    assert isinstance(exchange.error, DeadlineExceeded)


async def test_an_answer_in_time_stops_the_clock(both: Both) -> None:
    exchange = both.ask(deadline=1000)
    timer = exchange.timer
    assert timer is not None
    await both.say(BANNER, response(1, 1))
    await both.end_of(exchange)
    assert timer.cancelled()


async def test_deadlines_and_options_are_checked_before_anything_is_sent(both: Both) -> None:
    with pytest.raises(ValueError, match="deadline"):
        both.ask(deadline=-1)
    with pytest.raises(LocalProtocolError):
        both.ask(opts={"a": object()})
    both.ask("good")
    assert (await both.request())["cmd"] == "good"


async def test_a_request_that_the_server_would_skip_is_not_sent(both: Both) -> None:
    await both.tell(BANNER | {"max_line": 60})
    assert isinstance(both.ask(opts={"a": "x" * 100}).error, TooLarge)
    both.ask("good")
    assert (await both.request())["cmd"] == "good"


async def test_n4_detach_waits_for_the_banner(both: Both) -> None:
    exchange = both.ask("a", detach=True)
    both.ask("b")
    assert (await both.request())["cmd"] == "b"
    await both.say(BANNER)
    request = await both.request()
    assert (request["cmd"], request["detach"]) == ("a", True)
    await both.say(response({"operation": "op1"}, request["id"]))
    await both.end_of(exchange)
    later = both.ask("c", detach=True)
    assert (await both.request())["cmd"] == "c"
    assert not later.done


async def test_b48_an_old_daemon_is_not_asked_to_detach(both: Both) -> None:
    exchange = both.ask("a", detach=True)
    await both.say(OLD_BANNER)
    await both.end_of(exchange)
    with pytest.raises(LocalProtocolError, match="too old to detach"):
        raise exchange.error or AssertionError
    assert isinstance(both.ask("a", detach=True).error, LocalProtocolError)
    both.ask("b")
    assert (await both.request())["cmd"] == "b"


async def test_detach_without_a_banner(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BANNER_WAIT", 0.01)
    given_up = both.ask("a", detach=True)
    given_up.give_up(Cancelled("enough"))
    both.ask("b", detach=True)
    assert (await both.request())["cmd"] == "b"


# -- how much to read


async def test_a_stream_that_nobody_reads_stops_the_reading(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HIGH_WATER", 100_000)
    await both.say(BANNER)
    exchange = both.ask(stream=True)
    own = {"id": (await both.request())["id"], "status": True}
    line = orjson.dumps(own | {"item": "x" * 10_000}) + b"\n"
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(both.say(*[line] * 10_000), 0.3)
    assert 100_000 < exchange.held < 2_000_000, "what fits in one read may come on top"
    while exchange.items:
        exchange.take_item()
    await both.say(line)  # there is room again
    exchange.abandon()


async def test_reading_goes_on_while_somebody_waits(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a task that calls from within the loop over a stream would wait for ever."""
    monkeypatch.setattr(module, "HIGH_WATER", 1000)
    await both.say(BANNER)
    stream, call = both.ask("list", stream=True), both.ask("start")
    ids = [(await both.request())["id"], (await both.request())["id"]]
    items = [{"id": ids[0], "status": True, "item": "x" * 900} for _ in range(100)]
    sending = asyncio.create_task(both.say(*items, response("started", ids[1]), response(None, ids[0])))
    await both.end_of(call)
    await sending
    assert call.response == "started"
    await both.end_of(stream)
    assert len(stream.items) == 100


async def test_a_stream_that_is_left_lets_the_others_read_on(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HIGH_WATER", 10)
    await both.say(BANNER)
    stream = both.ask("list", stream=True)
    own = {"id": (await both.request())["id"], "status": True}
    await both.say(own | {"item": "x" * 900})
    await turns(lambda: stream.held > 0)
    stream.abandon()
    call = both.ask("ping")
    assert await both.request() == {"cancel": own["id"]}
    await both.say(own | {"item": "late"}, response("pong", (await both.request())["id"]))
    await both.end_of(call)
    assert call.response == "pong"
    assert not stream.items


async def test_a_stream_that_holds_too_much_is_given_up(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "MAX_HELD", 2000)
    await both.say(BANNER)
    stream, call = both.ask("list", stream=True), both.ask("start")
    ids = [(await both.request())["id"], (await both.request())["id"]]
    await both.say(*[{"id": ids[0], "status": True, "item": "x" * 900} for _ in range(10)], response(1, ids[1]))
    await both.end_of(call, stream)
    assert isinstance(stream.error, TooLarge)
    assert await both.request() == {"cancel": ids[0]}
