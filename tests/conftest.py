"""Every test runs on both loops, and leaves no descriptor, task or process behind."""

import asyncio
import functools
import gc
import inspect
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
import uvloop
from hypothesis import HealthCheck, settings

# A shared machine is slow at times, and coverage slows every line; that is no finding.
settings.register_profile("ctld", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ctld")

# The first loop of libuv opens a pipe for signals that stays for the life of the process.
uvloop.new_event_loop().close()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def bounded(test: Callable[..., Coroutine[Any, Any, None]], seconds: float) -> Callable[..., Coroutine[Any, Any, None]]:
    """End a test that waits for ever from within: the alarm of pytest-timeout does not wake uvloop."""

    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(seconds):
            await test(*args, **kwargs)

    return run


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            # In this order: a loop may open what it closes only with itself (libuv: /dev/null).
            item.fixturenames[:0] = ["nothing_left_behind", "no_tasks_left"]
            item.obj = bounded(item.obj, float(config.getini("timeout")) * 0.9)


@pytest_asyncio.fixture
async def no_tasks_left() -> AsyncIterator[None]:
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left behind: {left}"


def open_descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
    return found


def living_children() -> set[str]:
    with open(f"/proc/self/task/{os.getpid()}/children") as listing:
        return set(listing.read().split())


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    descriptors, children = open_descriptors(), living_children()
    yield
    extra = open_descriptors().items() - descriptors.items()
    if extra:
        gc.collect()  # a transport in a reference cycle is closed by its finaliser, with a warning that fails the test
        extra = open_descriptors().items() - descriptors.items()
    assert not extra, f"descriptors left behind: {sorted(extra)}"
    assert not living_children() - children, "processes left behind"
