"""Driving a command that yields (N4)."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ctld.commands.streaming import collect, send_items
from ctld.errors import TooLarge
from ctld.wire.messages import Item


class Stream:
    """Yields numbers, and notes what is thrown into it."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.cancelled_at: int | None = None
        self.closed = False

    async def items(self) -> AsyncIterator[int]:
        try:
            for number in range(self.count):
                try:
                    yield number
                except asyncio.CancelledError:
                    self.cancelled_at = number
                    raise
        finally:
            self.closed = True


async def test_each_item_is_taken_before_the_next_is_made() -> None:
    stream = Stream(3)
    sent: list[Any] = []

    async def send(item: Item) -> None:
        sent.append(item.item)

    items: Any = stream.items()
    await send_items(items, send)
    assert sent == [0, 1, 2]
    assert stream.closed


async def test_a_cancellation_while_an_item_waits_is_thrown_into_the_command() -> None:
    """PEP 789: to close the generator from outside would break a timeout around its `yield`."""
    stream = Stream(3)
    waiting = asyncio.Event()

    async def send(item: Item) -> None:
        waiting.set()
        await asyncio.Event().wait()

    items: Any = stream.items()
    task = asyncio.create_task(send_items(items, send))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stream.cancelled_at == 0
    assert stream.closed


async def test_items_are_collected_up_to_a_bound_as_json() -> None:
    items: Any = Stream(5).items()
    assert await collect(items, 100) == [0, 1, 2, 3, 4]
    stream = Stream(5)
    items = stream.items()
    with pytest.raises(TooLarge, match="exceeds 7 bytes"):
        await collect(items, 7)
    assert stream.closed


async def test_a_long_stream_gives_others_a_turn() -> None:
    turns = 0
    over = asyncio.Event()

    async def others() -> None:
        nonlocal turns
        while not over.is_set():
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    items: Any = Stream(1000).items()
    await collect(items, 100_000)
    over.set()
    await beside
    assert turns >= 3
