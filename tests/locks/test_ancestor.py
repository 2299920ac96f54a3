"""The ancestor's defects in locks (osctld-behaviour.md 1.7, 1.8, 1.9), one test for each."""

import asyncio
import json
import threading
from dataclasses import asdict

import pytest

from ctld.errors import Deadlock, Locked
from ctld.locks import LockRegistry
from tests.locks.owners import Operation, Thing, acting, assert_no_trace, run_as, settle

THING = Thing("tank:ct1")


@pytest.fixture
def locks() -> LockRegistry:
    return LockRegistry()


async def hold(block, until: asyncio.Event | None = None) -> None:
    async with block:
        if until is not None:
            await until.wait()


def rows(locks: LockRegistry) -> list[tuple[str, str, str]]:
    return [(row.holder, row.type, row.state) for row in locks.snapshot()]


# --- 1.7 Manipulable ---


async def test_a_lock_is_not_entered_again_by_the_next_command_of_the_connection(locks):
    """1.7: the lock belonged to the connection's thread, and its next command just walked in.

    Here the two commands run in the same task, one after the other, as they do on a connection.
    """
    grab = locks.manipulate(Operation("grab"), [THING])
    await grab.__aenter__()
    with pytest.raises(Locked, match="container tank:ct1 is held by grab"):
        await hold(locks.manipulate(Operation("next"), [THING]))
    await grab.__aexit__(None, None, None)
    assert_no_trace(locks)


async def test_a_lock_does_not_vanish_with_the_task_that_took_it(locks):
    """1.7: a grabbed lock vanished when the connection's thread ended."""
    grab = locks.manipulate(Operation("grab"), [THING])
    await asyncio.create_task(grab.__aenter__())
    assert rows(locks) == [("grab", "manipulation", "held")]
    await grab.__aexit__(None, None, None)
    assert_no_trace(locks)


@pytest.mark.parametrize("kind", ["state", "manipulation"])
async def test_another_task_may_give_the_lock_back(locks, kind):
    """1.7: release from another thread raised ThreadError."""
    block = locks.manipulate(None, [THING]) if kind == "manipulation" else THING.exclusively()
    await run_as(locks, Operation("x"), block.__aenter__())
    assert len(rows(locks)) == 1
    await asyncio.create_task(block.__aexit__(None, None, None))
    assert_no_trace(locks)


async def test_the_holder_has_a_name_at_every_moment_of_a_hand_over(locks):
    """1.7: in the release race the holder was `NilClass`."""
    refusals: list[str] = []

    async def ask_all_the_time(stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await hold(locks.manipulate(Operation("asks"), [THING]))
            except Locked as error:
                refusals.append(str(error.fields["holder"]))
            await asyncio.sleep(0)

    async def work(owner: Operation) -> None:
        async with locks.manipulate(owner, [THING], "wait"):
            await asyncio.sleep(0)

    stop = asyncio.Event()
    owners = [Operation("ct_start", cli=f"osctl ct start {number}") for number in range(50)]
    asking = run_as(locks, None, ask_all_the_time(stop))
    await asyncio.gather(*(run_as(locks, owner, work(owner)) for owner in owners))
    stop.set()
    await asking
    assert len(refusals) > 10
    assert set(refusals) <= {owner.holder for owner in owners}
    assert_no_trace(locks)


async def test_a_wait_can_be_had_and_reports_itself(locks):
    """1.7: no waiting, and no "waiting for X" progress."""
    told: list[str] = []

    async def progress(message: str) -> None:
        told.append(message)

    leave = asyncio.Event()
    first = run_as(locks, one := Operation("x", cli="osctl ct stop ct1"), hold(locks.manipulate(one, [THING]), leave))
    await settle()
    second = run_as(locks, two := Operation("y"), hold(locks.manipulate(two, [THING], "wait", progress)))
    await settle()
    assert told == ["waiting: container tank:ct1 is held by 'osctl ct stop ct1'"]
    leave.set()
    await asyncio.gather(first, second)


# --- 1.8 Lockable ---


async def test_a_waiting_reader_is_in_the_registry(locks):
    """1.8: readers blocked on the holder's inner mutex, where no registry saw them."""
    leave = asyncio.Event()
    tasks = [run_as(locks, Operation("w"), hold(THING.exclusively(), leave))]
    tasks.append(run_as(locks, Operation("r"), hold(THING.inclusively())))
    await settle()
    assert rows(locks) == [("w", "exclusive", "held"), ("r", "inclusive", "waiting")]
    leave.set()
    await asyncio.gather(*tasks)


async def test_the_kind_of_lock_is_named_in_the_error(locks):
    """1.8: the message said "anyly"."""
    other = Thing("b")
    one, two = Operation("one"), Operation("two")
    with acting(locks, one):
        async with THING.exclusively():
            with acting(locks, two):
                async with other.inclusively():
                    waits = run_as(locks, one, hold(other.exclusively()))
                    await settle()
                    with pytest.raises(Deadlock) as caught:
                        await hold(THING.inclusively())
    await waits
    assert "two would wait for container tank:ct1 (inclusive)" in str(caught.value)
    assert "one waits for container b (exclusive)" in str(caught.value)
    assert_no_trace(locks)


async def test_readers_that_keep_coming_do_not_starve_a_writer(locks):
    """1.8: two overlapping loops of readers kept a writer out until its time-out."""
    wrote = asyncio.Event()
    reads = 0

    async def read_for_ever() -> None:
        nonlocal reads
        while not wrote.is_set():
            async with THING.inclusively():
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                reads += 1

    async def write() -> None:
        before = reads
        async with THING.exclusively():
            assert reads - before <= 2  # those that were inside finished, and nobody else came in
            wrote.set()

    first = run_as(locks, Operation("r1"), read_for_ever())
    await asyncio.sleep(0)
    second = run_as(locks, Operation("r2"), read_for_ever())  # out of step with the first: one is always inside
    await settle()
    assert reads > 2
    await asyncio.gather(first, second, run_as(locks, Operation("w"), write()))
    assert_no_trace(locks)


async def test_a_reader_does_not_go_before_a_writer_that_waits(locks):
    """1.8: a reader that arrived after a queued writer went first."""
    leave = asyncio.Event()
    tasks = [run_as(locks, Operation("r1"), hold(THING.inclusively(), leave))]
    await settle()
    tasks.append(run_as(locks, Operation("w"), hold(THING.exclusively())))
    await settle()
    tasks.append(run_as(locks, Operation("r2"), hold(THING.inclusively())))
    await settle()
    assert rows(locks) == [("r1", "inclusive", "held"), ("w", "exclusive", "waiting"), ("r2", "inclusive", "waiting")]
    leave.set()
    await asyncio.gather(*tasks)


async def test_a_writer_that_timed_out_is_gone(locks):
    """1.8: it stayed in the queue, the next writer was recorded in its name and then
    dead-locked on itself when it took the lock again."""

    async def time_out() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001), THING.exclusively():
                pass

    async def twice() -> None:
        async with THING.exclusively():
            assert rows(locks) == [("next", "exclusive", "held")]
            async with THING.exclusively():
                pass

    leave = asyncio.Event()
    first = run_as(locks, Operation("first"), hold(THING.exclusively(), leave))
    await settle()
    await run_as(locks, Operation("late"), time_out())
    assert rows(locks) == [("first", "exclusive", "held")]
    following = run_as(locks, Operation("next"), twice())
    await settle()
    leave.set()
    await asyncio.gather(first, following)
    assert_no_trace(locks)


async def test_taken_twice_and_given_back_once_is_still_held(locks):
    """1.8: `lock(:inclusive)` twice and one `unlock` released both."""
    with acting(locks, Operation("r")):
        outer, inner = THING.inclusively(), THING.inclusively()
        await outer.__aenter__()
        await inner.__aenter__()
        await inner.__aexit__(None, None, None)
        assert rows(locks) == [("r", "inclusive", "held")]
        writer = run_as(locks, Operation("w"), hold(THING.exclusively()))
        await settle()
        assert not writer.done()
        await outer.__aexit__(None, None, None)
    await writer
    assert_no_trace(locks)


async def test_a_refused_upgrade_leaves_no_row(locks):
    """1.8: it left a stale `exclusive/waiting` row in the registry."""
    with acting(locks, Operation("x")):
        async with THING.inclusively():
            with pytest.raises(Deadlock):
                await hold(THING.exclusively())
            assert rows(locks) == [("x", "inclusive", "held")]
    assert_no_trace(locks)


async def test_a_long_wait_is_not_taken_for_a_deadlock():
    """1.8: after 90 seconds any wait was a "deadlock"; and a real one took 90 seconds to tell."""
    now = 0.0
    locks = LockRegistry(clock=lambda: now)
    leave = asyncio.Event()
    first = run_as(locks, Operation("slow"), hold(THING.exclusively(), leave))
    second = run_as(locks, Operation("patient"), hold(THING.exclusively()))
    await settle()
    now = 86400.0
    await settle()
    assert rows(locks) == [("slow", "exclusive", "held"), ("patient", "exclusive", "waiting")]
    leave.set()
    await asyncio.gather(first, second)


# --- 1.9 LockRegistry ---


async def test_the_registry_is_always_there_and_always_exact(locks):
    """1.9: off by default; rows came and went through a queue and a thread, some time later."""
    threads = threading.active_count()
    with acting(locks, Operation("x")):
        async with THING.exclusively():
            assert rows(locks) == [("x", "exclusive", "held")]
        assert rows(locks) == []
    assert threading.active_count() == threads


async def test_rows_hold_names_and_numbers_only(locks):
    """1.9: objects and threads went over the wire as their `to_s`."""
    with acting(locks, Operation("x")):
        async with THING.inclusively():
            (row,) = locks.snapshot()
    assert json.loads(json.dumps(asdict(row))) == asdict(row)
    assert "0x" not in json.dumps(asdict(row))
    assert "/" not in row.source
