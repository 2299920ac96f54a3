"""Driving a command that yields its result item by item: one after the other, or all in a list (N4)."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final

from ctld.errors import TooLarge
from ctld.wire.jsontext import encode
from ctld.wire.messages import Item

__all__ = ["collect", "send_items"]

# A stream that nobody is slow to read must not keep the loop from everybody else for longer.
_ITEMS_PER_TURN: Final = 256


async def send_items(generator: AsyncGenerator[Any, Any], send: Callable[[Item], Awaitable[None] | None]) -> None:
    """Send each item of a stream as it comes."""
    await _drive(generator, lambda item: send(Item(item)))


async def collect(generator: AsyncGenerator[Any, Any], max_size: int) -> list[Any]:
    """Return all items of a stream that nobody asked to stream (N4).

    Raises:
        TooLarge: As JSON they exceed `max_size` bytes.
    """
    items = []
    size = 2

    def keep(item: Any) -> None:
        nonlocal size
        size += len(encode(item)) + 1
        if size > max_size:
            raise TooLarge(f'the result exceeds {max_size} bytes: ask for it with "stream": true')
        items.append(item)

    await _drive(generator, keep)
    return items


async def _drive(generator: AsyncGenerator[Any, Any], take: Callable[[Any], Awaitable[None] | None]) -> None:
    """Have each item of a stream taken before the next one is made.

    A cancellation that strikes while an item waits for the client is thrown into the
    generator: closing it from outside would break a timeout around its `yield` (PEP 789).
    """
    advance = generator.__anext__()
    count = 0
    try:
        while True:
            item = await advance
            count += 1
            try:
                taken = take(item)
                if taken is not None:
                    await taken
                if count % _ITEMS_PER_TURN == 0:
                    await asyncio.sleep(0)
            except asyncio.CancelledError as exc:
                advance = generator.athrow(exc)
            else:
                advance = generator.__anext__()
    except StopAsyncIteration:
        return
    finally:
        await generator.aclose()
