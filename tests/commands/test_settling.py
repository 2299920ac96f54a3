"""A task outlives the requests that are cancelled in it."""

import asyncio

import pytest

from ctld.commands.settling import settle


async def in_a_task(body):
    return await asyncio.get_running_loop().create_task(body())


@pytest.mark.parametrize("delivered", [True, False])
async def test_a_cancellation_is_taken_back_delivered_or_not(delivered):
    async def body():
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if delivered:
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(0)
        await settle(task, interrupted=True)
        assert task.cancelling() == 0
        await asyncio.sleep(0)
        return "went on"

    assert await in_a_task(body) == "went on"


async def test_a_second_one_is_somebody_else_s():
    async def body():
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        task.cancel()
        await settle(task, interrupted=True)

    with pytest.raises(asyncio.CancelledError):
        await in_a_task(body)


async def fail():
    raise LookupError


async def a_failing_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        await asyncio.Event().wait()


async def test_what_a_task_group_left_behind_is_forgotten():
    async def body():
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(ExceptionGroup):
            await a_failing_group()
        await settle(task, interrupted=False)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.sleep(0)
        await settle(task, interrupted=True)
        assert task.cancelling() == 0

    await in_a_task(body)
