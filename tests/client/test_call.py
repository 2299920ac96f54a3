"""ctld.client.call: await it for the result, iterate it for news, leave it and it is cancelled."""

import contextlib
import gc
from typing import Any

import pytest

from ctld.client.call import Call, ItemStream
from ctld.client.exchange import Exchange
from ctld.errors import Busy, Cancelled, RemoteProtocolError
from ctld.wire.messages import Progress


class Wire:
    def __init__(self) -> None:
        self.cancelled = 0

    def send_cancel(self, exchange: Exchange) -> bool:
        self.cancelled += 1
        return True

    def forget(self, exchange: Exchange) -> None: ...

    def waiting(self, more: int) -> None: ...

    def balance(self, exchange: Exchange) -> None: ...


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def exchange(wire: Wire) -> Exchange:
    return Exchange(wire, 1, "backup")


async def test_the_result(exchange: Exchange) -> None:
    call: Call[Any] = Call(exchange, None)
    assert not call.done
    assert repr(call) == "<Call backup running>"
    exchange.on_progress({"progress": "p"})
    exchange.end([1])
    assert call.done
    assert repr(call) == "<Call backup done>"
    assert await call == [1]
    assert await call == [1], "as often as wanted"


async def test_a_typed_result(exchange: Exchange) -> None:
    exchange.end(["a"])
    assert await Call(exchange, set[str]) == {"a"}
    with pytest.raises(RemoteProtocolError, match="the result of backup is not as expected"):
        await Call(exchange, int)


async def test_an_error_can_be_met_often_and_does_not_grow(exchange: Exchange) -> None:
    exchange.end(error=Busy("full"))
    lengths = set()
    for _ in range(3):
        with pytest.raises(Busy) as caught:
            await Call(exchange, None)
        lengths.add(len(caught.traceback))
    assert len(lengths) == 1


async def test_progress_then_the_result(exchange: Exchange) -> None:
    call: Call[Any] = Call(exchange, None)
    exchange.on_progress({"progress": "a", "current": 1})
    exchange.on_progress({"progress": "b"})
    exchange.end(error=Busy("full"))
    assert [update async for update in call] == [Progress("a", current=1), Progress("b")]
    assert [update async for update in call] == []
    with pytest.raises(Busy):
        await call


async def test_cancel(exchange: Exchange, wire: Wire) -> None:
    Call(exchange, None).cancel()
    assert wire.cancelled == 1


async def test_a_call_that_nobody_awaits_goes_on(exchange: Exchange, wire: Wire) -> None:
    Call(exchange, None)
    gc.collect()
    assert wire.cancelled == 0


async def test_items_before_and_after_the_end(exchange: Exchange) -> None:
    seen: list[Progress] = []
    stream: ItemStream[Any] = ItemStream(exchange, None, seen.append)
    exchange.on_item(1, 1)
    assert await anext(stream) == 1
    exchange.on_progress({"progress": "p"})
    exchange.on_item(None, 1)
    exchange.end(error=Busy("full"))
    assert await anext(stream) is None
    for _ in range(2):
        with pytest.raises(Busy):
            await anext(stream)
    assert seen == [Progress("p")]


async def test_progress_of_a_stream_may_be_skipped(exchange: Exchange) -> None:
    exchange.on_progress({"progress": "p"})
    exchange.on_item("1", 1)
    exchange.end()
    assert [value async for value in ItemStream(exchange, str, None)] == ["1"]


async def test_typed_items(exchange: Exchange) -> None:
    exchange.on_item("x", 1)
    with pytest.raises(RemoteProtocolError, match="not as expected"):
        await anext(ItemStream(exchange, int, None))


@pytest.mark.parametrize(
    ("response", "items"), [(None, []), ([1, 2], [1, 2]), ([], []), ({"a": 1}, [{"a": 1}])], ids=repr
)
async def test_a_result_that_comes_whole(exchange: Exchange, response: Any, items: list[Any]) -> None:
    exchange.end(response)
    assert [value async for value in ItemStream(exchange, None, None)] == items


async def test_leaving_early_cancels_at_once(exchange: Exchange, wire: Wire) -> None:
    exchange.on_item(1, 1)
    exchange.on_item(2, 1)
    async for _ in ItemStream(exchange, None, None):
        break
    assert wire.cancelled == 1
    assert isinstance(exchange.error, Cancelled)
    assert not exchange.items


async def test_aclose(exchange: Exchange, wire: Wire) -> None:
    exchange.on_item(1, 1)
    async with contextlib.aclosing(ItemStream(exchange, None, None)) as stream:
        assert await anext(stream) == 1
    assert wire.cancelled == 1
    with pytest.raises(Cancelled, match="not read to the end"):
        await anext(stream)


async def test_cancelling_a_stream_keeps_what_has_come(exchange: Exchange, wire: Wire) -> None:
    stream: ItemStream[Any] = ItemStream(exchange, None, None)
    exchange.on_item(1, 1)
    stream.cancel()
    exchange.end(error=Cancelled("on wish"))
    assert wire.cancelled == 1
    assert await anext(stream) == 1
    with pytest.raises(Cancelled, match="on wish"):
        await anext(stream)
