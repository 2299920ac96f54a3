"""ctld.client.exchange: a request ends exactly once, and holds a bounded amount."""

import asyncio

import pytest

from ctld.client import exchange as module
from ctld.client.exchange import Exchange
from ctld.errors import Cancelled, ConnectionLost, CtldError, DeadlineExceeded, TooLarge


class Wire:
    """A connection that only takes notes."""

    def __init__(self, *, cancels: bool = True) -> None:
        self.cancels = cancels
        self.said: list[str] = []
        self.waiters = 0

    def send_cancel(self, exchange: Exchange) -> bool:
        self.said.append("cancel")
        return self.cancels

    def forget(self, exchange: Exchange) -> None:
        self.said.append("forget")

    def waiting(self, more: int) -> None:
        self.waiters += more

    def balance(self, exchange: Exchange) -> None:
        self.said.append(f"held {exchange.held}")


def make(*, cancels: bool = True) -> tuple[Wire, Exchange]:
    wire = Wire(cancels=cancels)
    return wire, Exchange(wire, 1, "backup")


async def started(exchange: Exchange, wire: Wire) -> asyncio.Task[None]:
    """Return a task that waits for news."""
    before = wire.waiters
    task = asyncio.create_task(exchange.changed())
    await waiters(wire, before + 1)
    return task


async def waiters(wire: Wire, count: int) -> None:
    """Let the loop turn until so many tasks wait."""
    while wire.waiters != count:
        await asyncio.sleep(0)


async def test_it_ends_once() -> None:
    _, exchange = make()
    exchange.end("first")
    exchange.end(error=ConnectionLost("second"))
    exchange.cancel()
    exchange.give_up(Cancelled("third"))
    assert (exchange.done, exchange.response, exchange.error) == (True, "first", None)


@pytest.mark.parametrize("news", ["progress", "item", "end"])
async def test_every_waiter_hears_of_news(news: str) -> None:
    wire, exchange = make()
    tasks = [await started(exchange, wire) for _ in range(3)]
    if news == "progress":
        exchange.on_progress({"progress": "p", "current": 1})
        exchange.on_progress({"progress": "q"})  # before anybody woke up
        assert [update.message for update in exchange.news] == ["p", "q"]
    elif news == "item":
        exchange.on_item(5, 10)
    else:
        exchange.end()
    await asyncio.gather(*tasks)
    assert wire.waiters == 0


async def test_progress_that_nobody_reads_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROGRESS_KEPT", 3)
    _, exchange = make()
    for number in range(10):
        exchange.on_progress({"progress": number})
    assert [update.message for update in exchange.news] == [7, 8, 9]


async def test_items_are_counted_in_and_out() -> None:
    wire, exchange = make()
    exchange.on_item("a", 10)
    exchange.on_item("b", 5)
    assert exchange.take_item() == "a"
    assert wire.said == ["held 10", "held 15", "held 5"]


async def test_a_stream_that_nobody_reads_is_given_up_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 20)
    wire, exchange = make()
    exchange.on_item("a", 15)
    exchange.on_item("b", 15)
    assert isinstance(exchange.error, TooLarge)
    assert "more than 20 bytes of backup were not read" in str(exchange.error)
    assert wire.said == ["held 15", "cancel", "forget"]


async def test_a_stream_that_is_left_holds_nothing() -> None:
    wire, exchange = make()
    exchange.on_item("a", 15)
    exchange.abandon()
    assert isinstance(exchange.error, Cancelled)
    assert wire.said == ["held 15", "cancel", "forget", "held 0"]
    exchange.abandon()
    assert wire.said[4:] == ["held 0"], "what has ended is not cancelled again"


async def test_cancel_asks_and_waits_for_the_answer() -> None:
    wire, exchange = make()
    exchange.cancel()
    assert wire.said == ["cancel"]
    assert not exchange.done


async def test_cancel_where_the_server_cannot() -> None:
    _, exchange = make(cancels=False)
    exchange.cancel()
    with pytest.raises(Cancelled, match="the daemon cannot cancel"):
        raise exchange.error or AssertionError


async def test_expire() -> None:
    wire, exchange = make()
    exchange.deadline = 1.5
    exchange.timer = asyncio.get_running_loop().call_later(1000, exchange.expire)
    timer = exchange.timer
    exchange.expire()
    assert isinstance(exchange.error, DeadlineExceeded)
    assert "within its deadline of 1.5 s" in str(exchange.error)
    assert wire.said == ["cancel", "forget"]
    assert timer.cancelled()


# -- cancelled tasks


@pytest.mark.parametrize("error", [None, Cancelled("on wish")])
async def test_a_cancelled_task_waits_for_the_final_message(error: CtldError | None) -> None:
    wire, exchange = make()
    task = await started(exchange, wire)
    task.cancel()
    await asyncio.sleep(0)
    await waiters(wire, 1)
    assert wire.said == ["cancel"]
    exchange.on_progress({"progress": "cleaning up"})
    await asyncio.sleep(0)
    assert not task.done()
    exchange.end(error=error)
    await asyncio.wait([task])
    assert task.cancelled()
    assert exchange.error is error
    assert wire.waiters == 0


@pytest.mark.parametrize("end_first", [True, False])
async def test_the_end_and_the_cancel_in_one_turn(end_first: bool) -> None:
    wire, exchange = make()
    task = await started(exchange, wire)
    if end_first:
        exchange.end("result")
        task.cancel()
    else:
        task.cancel()
        exchange.end("result")
    await asyncio.wait([task])
    assert task.cancelled()
    assert wire.said == [], "what has ended needs no cancel"
    assert exchange.response == "result"


async def test_a_cancelled_task_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CANCEL_WAIT", 0.01)
    wire, exchange = make()
    task = await started(exchange, wire)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert wire.said == ["cancel", "cancel", "forget"]
    assert "its end has not been seen" in str(exchange.error)


async def test_a_task_that_is_cancelled_twice_leaves_at_once() -> None:
    wire, exchange = make()
    task = await started(exchange, wire)
    task.cancel()
    await asyncio.sleep(0)
    await waiters(wire, 1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert exchange.done
    assert wire.waiters == 0


async def test_a_timeout_around_it_works() -> None:
    wire, exchange = make()
    asyncio.get_running_loop().call_later(0.02, exchange.end)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await exchange.changed()
    assert wire.said == ["cancel"]
    assert exchange.error is None


async def test_a_cancelled_task_where_the_server_cannot_cancel() -> None:
    wire, exchange = make(cancels=False)
    task = await started(exchange, wire)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert exchange.done
