"""Manipulation locks: one holder each, all or none, and three ways to meet a held one."""

import asyncio
import time

import pytest

from ctld.errors import Deadlock, Locked
from ctld.locks import LockRegistry
from tests.locks.owners import Operation, Thing, acting, assert_no_trace, run_as, settle

A, B, C = Thing("a"), Thing("b"), Thing("c")


@pytest.fixture
def locks() -> LockRegistry:
    return LockRegistry()


@pytest.fixture
def stop() -> Operation:
    return Operation("ct_stop", cli="osctl ct stop ct1")


@pytest.fixture
def other() -> Operation:
    return Operation("ct_start")


class Told(list[str]):
    """Takes the progress that a waiting command would report."""

    async def __call__(self, message: str) -> None:
        self.append(message)


async def hold(block, until: asyncio.Event | None = None) -> None:
    async with block:
        if until is not None:
            await until.wait()


def held(locks: LockRegistry) -> list[tuple[str, str]]:
    return [(row.name, row.operation) for row in locks.snapshot() if row.state == "held"]


async def test_by_default_a_held_resource_is_refused_at_once(locks, stop, other):
    """N3: `<kind> <name> is held by <holder>`, with resource, holder and since."""
    async with locks.manipulate(stop, [Thing("tank:ct1")]):
        with pytest.raises(Locked) as caught:
            await hold(locks.manipulate(other, [Thing("tank:ct1")]))
    assert str(caught.value) == "container tank:ct1 is held by 'osctl ct stop ct1'"
    assert caught.value.code == "locked"
    since = caught.value.fields.pop("since")
    assert caught.value.fields == {"resource": "container tank:ct1", "holder": "'osctl ct stop ct1'"}
    assert abs(time.time() - since) < 5
    assert_no_trace(locks)


async def test_since_is_a_point_in_time_however_long_ago(stop, other):
    now = 1000.0
    locks = LockRegistry(clock=lambda: now)
    async with locks.manipulate(stop, [A]):
        now = 5000.0
        with pytest.raises(Locked) as caught:
            await hold(locks.manipulate(other, [A]))
    assert abs(time.time() - 4000 - caught.value.fields["since"]) < 5


async def test_without_a_command_line_the_holder_is_the_commands_name(locks, stop, other):
    async with locks.manipulate(other, [A]):
        with pytest.raises(Locked, match=r"^container a is held by ct_start$"):
            await hold(locks.manipulate(stop, [A]))


async def test_a_resource_that_others_wait_for_is_still_held_by_its_holder(locks, stop, other):
    leave = asyncio.Event()
    first = run_as(locks, stop, hold(locks.manipulate(stop, [A]), leave))
    second = run_as(locks, other, hold(locks.manipulate(other, [A], "wait")))
    await settle()
    with pytest.raises(Locked, match="is held by 'osctl ct stop ct1'"):
        await hold(locks.manipulate(Operation("third"), [A]))
    with pytest.raises(Locked, match="is held by 'osctl ct stop ct1'"):
        await hold(locks.manipulate(other, [A]))  # its other task waits, but does not hold
    leave.set()
    await asyncio.gather(first, second)
    assert_no_trace(locks)


async def test_wait_tells_what_it_waits_for_and_then_goes_on(locks, stop, other):
    """B33: wait with "waiting for X held by Y" instead of failing."""
    leave, told = asyncio.Event(), Told()
    first = run_as(locks, stop, hold(locks.manipulate(stop, [A]), leave))
    await settle()
    second = run_as(locks, other, hold(locks.manipulate(other, [A], "wait", told), again := asyncio.Event()))
    await settle()
    assert told == ["waiting: container a is held by 'osctl ct stop ct1'"]
    assert held(locks) == [("a", stop.id)]
    leave.set()
    await settle()
    assert held(locks) == [("a", other.id)]
    again.set()
    await asyncio.gather(first, second)
    assert_no_trace(locks)


async def test_wait_is_silent_when_there_is_nothing_to_wait_for(locks, stop):
    told = Told()
    async with locks.manipulate(stop, [A, B], "wait", told), locks.manipulate(stop, [A], "wait", told):
        pass
    assert told == []
    assert_no_trace(locks)


async def test_wait_can_do_without_a_listener(locks, stop, other):
    leave = asyncio.Event()
    first = run_as(locks, stop, hold(locks.manipulate(stop, [A]), leave))
    await settle()
    second = run_as(locks, other, hold(locks.manipulate(other, [A], "wait")))
    await settle()
    leave.set()
    await asyncio.gather(first, second)


async def test_those_who_wait_are_served_in_order(locks):
    order: list[int] = []

    async def work(number: int) -> None:
        async with locks.manipulate(None, [A], "wait"):
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(run_as(locks, Operation(f"{number}"), work(number)) for number in range(20)))
    assert order == list(range(20))
    assert_no_trace(locks)


async def test_ignore_takes_no_lock(locks, stop, other):
    async with locks.manipulate(stop, [A]), locks.manipulate(other, [A], "ignore"):
        assert held(locks) == [("a", stop.id)]
    async with locks.manipulate(other, [A], "ignore"):
        assert_no_trace(locks)


async def test_nested_commands_share_the_lock(locks, stop, other):
    """`ctx.call`: the inner command has the outer one's locks, and leaving it gives nothing away."""
    async with locks.manipulate(stop, [A]):
        async with locks.manipulate(stop, [B, A]):
            assert held(locks) == [("a", stop.id), ("a", stop.id), ("b", stop.id)]
        with pytest.raises(Locked):
            await hold(locks.manipulate(other, [A]))
    assert_no_trace(locks)


async def test_without_an_operation_the_current_one_is_meant(locks, stop):
    with acting(locks, stop):
        async with locks.manipulate(None, [A]):
            assert held(locks) == [("a", stop.id)]


async def test_naming_a_resource_twice_takes_it_once(locks, stop):
    async with locks.manipulate(stop, [A, Thing("a"), A]):
        assert held(locks) == [("a", stop.id)]


async def test_no_resources_no_locks(locks, stop):
    async with locks.manipulate(stop, []):
        assert_no_trace(locks)


async def test_several_are_taken_in_the_order_of_kind_and_name(locks, stop):
    things = [Thing("a", "pool"), Thing("b"), Thing("a"), Thing("z", "account")]
    async with locks.manipulate(stop, things):
        taken = [key[1:] for key in locks._graph.locks]
    assert taken == [("account", "z"), ("container", "a"), ("container", "b"), ("pool", "a")]


async def test_the_order_of_the_arguments_makes_no_deadlock(locks):
    async def work(*things: Thing) -> None:
        for _ in range(10):
            async with locks.manipulate(None, things, "wait"):
                await asyncio.sleep(0)

    await asyncio.gather(
        *(run_as(locks, Operation("x"), work(*things)) for things in [(A, B, C), (C, B, A), (B, A), (C, A)])
    )
    assert_no_trace(locks)


async def test_refused_at_the_last_one_none_is_kept(locks, stop, other):
    async with locks.manipulate(stop, [C]):
        with pytest.raises(Locked, match="container c"):
            await hold(locks.manipulate(other, [C, A, B]))
        assert held(locks) == [("c", stop.id)]
    assert_no_trace(locks)


async def test_cancelled_at_the_last_one_none_is_kept(locks, stop, other):
    async with locks.manipulate(stop, [C]):
        waits = run_as(locks, other, hold(locks.manipulate(other, [A, B, C], "wait")))
        await settle()
        assert len(held(locks)) == 3
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        assert [row.operation for row in locks.snapshot()] == [stop.id]
    assert_no_trace(locks)


async def test_a_deadlock_at_the_last_one_keeps_none(locks, stop, other):
    async with locks.manipulate(stop, [C]):
        with acting(locks, other):
            async with C.exclusively():
                waits = run_as(locks, stop, hold(C.exclusively()))
                await settle()
                with pytest.raises(Deadlock):
                    await hold(locks.manipulate(other, [A, B, C], "wait"))
                assert held(locks) == [("c", stop.id), ("c", other.id)]
        await waits
    assert_no_trace(locks)


async def test_a_listener_that_fails_keeps_none(locks, stop, other):
    async def fail(message: str) -> None:
        raise OSError(message)

    async with locks.manipulate(stop, [B]):
        with pytest.raises(OSError, match="waiting: container b"):
            await hold(locks.manipulate(other, [A, B], "wait", fail))
        assert [row.operation for row in locks.snapshot()] == [stop.id]
    assert_no_trace(locks)


async def test_the_place_in_the_queue_is_taken_before_the_listener_is_told(locks, stop, other):
    """A listener that is slow to take the news costs nobody his turn."""
    leave, listening, third_leaves = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(_: str) -> None:
        await listening.wait()

    first = run_as(locks, stop, hold(locks.manipulate(stop, [A]), leave))
    await settle()
    second = run_as(locks, other, hold(locks.manipulate(other, [A], "wait", slow)))
    await settle()
    third = run_as(locks, last := Operation("last"), hold(locks.manipulate(last, [A], "wait"), third_leaves))
    await settle()
    leave.set()
    await settle()
    assert held(locks) == [("a", other.id)]
    listening.set()
    await settle()
    assert held(locks) == [("a", last.id)]
    third_leaves.set()
    await asyncio.gather(first, second, third)
    assert_no_trace(locks)


async def test_an_exception_in_the_block_gives_all_back(locks, stop):
    with pytest.raises(ZeroDivisionError):
        async with locks.manipulate(stop, [A, B]):
            1 / 0  # noqa: B018 - it raises
    assert_no_trace(locks)
