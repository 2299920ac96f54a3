"""Servers with sessions, and what tests of them share."""

from collections.abc import AsyncIterator

import pytest_asyncio

from ctld.limits import Limits
from tests.native import RawClient, Served, serving

# A program that ignores SIGHUP is killed soon.
LIMITS = Limits(stop_grace=5.0, cancel_grace=5.0, drain_timeout=5.0, session_grace=0.3)


@pytest_asyncio.fixture
async def served(tmp_path) -> AsyncIterator[Served]:
    async with serving(tmp_path, limits=LIMITS) as served:
        yield served


@pytest_asyncio.fixture
async def client(served) -> RawClient:
    return await served.connect()


@pytest_asyncio.fixture
async def other(served) -> RawClient:
    return await served.connect()
