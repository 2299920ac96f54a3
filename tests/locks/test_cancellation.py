"""A waiter that is cancelled, at whatever await, leaves no trace; and no lock gets lost."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from ctld.lock_queue import LockFamily
from ctld.lock_report import calling_source
from ctld.locks import LockRegistry
from tests.locks.owners import Operation, Thing, assert_no_trace, run_as, settle

THING = Thing("ct1")

Block = Callable[[LockRegistry], AbstractAsyncContextManager[None]]
BLOCKS: dict[str, Block] = {
    "inclusive": lambda locks: THING.inclusively(),
    "exclusive": lambda locks: THING.exclusively(),
    "manipulation": lambda locks: locks.manipulate(None, [THING], "wait"),
}


@pytest.fixture
def locks() -> LockRegistry:
    return LockRegistry()


class Party:
    """A task that takes a lock and keeps it until told to leave."""

    def __init__(self, locks: LockRegistry, block: AbstractAsyncContextManager[None], name: str = "x") -> None:
        self.inside = False
        self.leave = asyncio.Event()
        self.operation = Operation(name)
        self.task = run_as(locks, self.operation, self._run(block))

    async def _run(self, block: AbstractAsyncContextManager[None]) -> None:
        async with block:
            self.inside = True
            try:
                await self.leave.wait()
            finally:
                self.inside = False

    async def go(self) -> None:
        self.leave.set()
        await self.task


def writer(locks: LockRegistry, kind: str, name: str = "holder") -> Party:
    return Party(locks, BLOCKS["manipulation" if kind == "manipulation" else "exclusive"](locks), name)


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("order", ["released, cancelled", "cancelled, released"])
async def test_cancel_and_hand_over_in_the_same_turn(locks, kind, order):
    """The lock goes on to the next one, whichever came first."""
    family: LockFamily = "manipulation" if kind == "manipulation" else "state"
    claim = locks.request((family, "container", "ct1"), Operation("h"), exclusive=True, source=calling_source())
    waiter = Party(locks, BLOCKS[kind](locks), "waiter")
    await settle()
    following = writer(locks, kind, "following")
    await settle()
    assert (waiter.inside, following.inside) == (False, False)

    if order == "released, cancelled":
        locks.release(claim)
        assert [row.operation for row in locks.snapshot() if row.state == "held"] == [waiter.operation.id]
        waiter.task.cancel()
    else:
        waiter.task.cancel()
        locks.release(claim)

    await settle()
    assert waiter.task.cancelled()
    assert not waiter.inside
    assert following.inside
    assert [row.operation for row in locks.snapshot()] == [following.operation.id]
    await following.go()
    assert_no_trace(locks)


@pytest.mark.parametrize("kind", BLOCKS)
async def test_cancelled_while_waiting(locks, kind):
    holder = writer(locks, kind)
    await settle()
    waiter = Party(locks, BLOCKS[kind](locks))
    await settle()
    waiter.task.cancel()
    await settle()
    assert waiter.task.cancelled()
    assert [row.operation for row in locks.snapshot()] == [holder.operation.id]
    await holder.go()
    assert_no_trace(locks)


@pytest.mark.parametrize("kind", BLOCKS)
async def test_cancelled_inside_the_block(locks, kind):
    holder = Party(locks, BLOCKS[kind](locks))
    await settle()
    following = writer(locks, kind)
    await settle()
    holder.task.cancel()
    await settle()
    assert holder.task.cancelled()
    assert following.inside
    await following.go()
    assert_no_trace(locks)


@pytest.mark.parametrize("kind", BLOCKS)
async def test_cancelled_before_the_first_step(locks, kind):
    waiter = Party(locks, BLOCKS[kind](locks))
    waiter.task.cancel()
    await asyncio.wait([waiter.task])
    assert_no_trace(locks)


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("release_after", range(8))
async def test_cancelled_at_every_turn_of_the_loop(locks, turns, release_after):
    """Whenever the cancel comes: all or nothing, and nobody behind is forgotten."""
    things = [Thing("a"), Thing("b")]
    holder = Party(locks, locks.manipulate(None, [things[1]]))
    await settle()

    async def told(_: str) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    waiter = Party(locks, locks.manipulate(None, things, "wait", told))
    for turn in range(8):
        if turn == release_after:
            holder.leave.set()
        if turn == turns:
            waiter.task.cancel()
        await asyncio.sleep(0)
    holder.leave.set()
    await settle()
    assert waiter.task.cancelled()
    assert holder.task.done()
    assert_no_trace(locks)


async def test_a_cancelled_writer_lets_the_readers_behind_it_in(locks):
    reader = Party(locks, THING.inclusively())
    await settle()
    middle = Party(locks, THING.exclusively())
    await settle()
    late = [Party(locks, THING.inclusively()) for _ in range(3)]
    await settle()
    assert not any(party.inside for party in late)
    middle.task.cancel()
    await settle()
    assert all(party.inside for party in late)
    for party in (reader, *late):
        await party.go()
    assert_no_trace(locks)


async def test_when_the_writing_task_is_cancelled_the_operation_only_reads(locks):
    """Two tasks of one operation wait together; what is left of their wish is served."""
    reader = Party(locks, THING.inclusively())
    await settle()
    tasks = [Party(locks, THING.exclusively())]
    await settle()

    async def read() -> None:
        async with THING.inclusively():
            entered.set()

    entered = asyncio.Event()
    reading = run_as(locks, tasks[0].operation, read())
    await settle()
    assert not entered.is_set()
    tasks[0].task.cancel()
    await reading
    await reader.go()
    assert_no_trace(locks)


@pytest.mark.parametrize("kind", BLOCKS)
async def test_a_timeout_is_a_cancel(locks, kind):
    holder = writer(locks, kind)
    await settle()

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001), BLOCKS[kind](locks):
                raise AssertionError("must not be entered")

    await run_as(locks, Operation("impatient"), impatient())
    assert [row.operation for row in locks.snapshot()] == [holder.operation.id]
    await holder.go()
    assert_no_trace(locks)


async def test_cancelling_the_wait_for_an_operation_removes_its_edge(locks):
    async def wait() -> None:
        with locks.waiting_for_operation(None, target):
            await asyncio.Event().wait()

    target = Operation("target")
    task = run_as(locks, Operation("waiter"), wait())
    await settle()
    assert [row.type for row in locks.snapshot()] == ["operation"]
    task.cancel()
    await asyncio.wait([task])
    assert_no_trace(locks)
