"""A step in a thread: its caller leaves after it, never before."""

import asyncio
import threading

import pytest

from ctld.gatherer.threads import in_thread


async def test_a_result_and_an_error() -> None:
    assert await in_thread(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)


async def test_cancelling_waits_for_the_end_and_gives_the_result_to_undo() -> None:
    loop = asyncio.get_running_loop()
    begun, go_on = asyncio.Event(), threading.Event()
    undone: list[str] = []

    def step() -> str:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(20)
        return "result"

    task = asyncio.create_task(in_thread(step, undo=undone.append))
    await begun.wait()
    for _ in range(3):  # whoever is impatient waits as well
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert undone == ["result"]


async def test_cancelling_tells_the_step_to_stop() -> None:
    loop = asyncio.get_running_loop()
    begun, stop = asyncio.Event(), threading.Event()

    def step() -> None:
        loop.call_soon_threadsafe(begun.set)
        assert stop.wait(20)
        raise ValueError("nobody hears of this")

    task = asyncio.create_task(in_thread(step, stop=stop.set, undo=lambda _: pytest.fail("there is no result")))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_without_undo() -> None:
    begun = threading.Event()
    task = asyncio.create_task(in_thread(begun.set))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert begun.is_set()
