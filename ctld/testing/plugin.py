"""A pytest plugin: `pytest_plugins = ["ctld.testing.plugin"]` in a `conftest.py`.

It needs pytest-asyncio, and gives one fixture, `serve`: `client = await serve(commands)`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest_asyncio

from ctld.client.asynchronous import AsyncClient
from ctld.testing.live import serving

__all__ = ["serve"]


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[AsyncClient]]]:
    """Return a function that takes what `serving()` takes; what it started ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(*args: Any, **options: Any) -> AsyncClient:
            return await stack.enter_async_context(serving(*args, **options))

        yield start
