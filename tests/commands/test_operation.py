import asyncio
import contextlib
import time

import pytest

from ctld.commands import operation as module
from ctld.commands.operation import OperationTable
from ctld.errors import Busy, Cancelled, CommandFailed, DeadlineExceeded, Locked, NotFound, ShuttingDown
from ctld.ownership import Owner
from ctld.peer import Peer
from ctld.wire.messages import Progress, Reply
from tests.commands.stage import ALICE


def begin(table=None, cli="", detached=False):
    operation = (OperationTable() if table is None else table).start("backup", ALICE, "operate", cli)
    operation.detached = detached
    return operation


def note(operation, *messages):
    for message in messages:
        operation.note(message, None, None, "", None)


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


# States.


def test_a_new_operation_runs():
    before = time.time()
    operation = begin(cli="osctl ct stop ct1")
    assert (operation.state, operation.finished, operation.error, operation.result) == ("running", False, None, None)
    assert (operation.command, operation.peer, operation.role) == ("backup", ALICE, "operate")
    assert operation.holder == "'osctl ct stop ct1'"
    assert begin().holder == "backup"
    assert before - 1 <= operation.started_at <= time.time()
    assert operation.age >= 0
    assert operation.interruption is None
    assert operation.latest == Progress()
    owner: Owner = operation
    assert owner.started <= time.monotonic()


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, "done"),
        (CommandFailed("no"), "failed"),
        (Locked("held"), "failed"),
        (Cancelled("cancelled"), "cancelled"),
        (DeadlineExceeded("late"), "cancelled"),
        (ShuttingDown("down"), "cancelled"),
    ],
)
async def test_how_it_ends(error, state):
    operation = begin()
    operation.finish(error or Reply(7))
    assert (operation.state, operation.finished) == (state, True)
    assert operation.error is error
    if error is None:
        assert await operation.wait() == operation.result == 7
    else:
        with pytest.raises(type(error)):
            await operation.wait()


# Waiting and watching.


async def test_everybody_who_waits_is_told():
    operation = begin()
    waiters = [asyncio.create_task(operation.wait()) for _ in range(3)]
    await turns()
    note(operation, "half")  # progress wakes them, and they wait on
    await turns()
    assert not any(waiter.done() for waiter in waiters)
    operation.finish(Reply("result"))
    assert await asyncio.gather(*waiters) == ["result"] * 3


async def test_a_cancelled_wait_leaves_the_operation_alone():
    operation = begin()
    waiter, other = asyncio.create_task(operation.wait()), asyncio.create_task(operation.wait())
    await turns()
    waiter.cancel()
    await asyncio.wait([waiter])
    assert waiter.cancelled()
    assert (operation.state, operation.interruption) == ("running", None)
    operation.finish(Reply(1))
    assert await other == 1


async def watch(operation, since=0):
    return [(update.seq, update.message) async for update in operation.updates(since)]


async def test_updates_of_the_past_and_to_come():
    operation = begin()
    note(operation, "one", "two")
    watchers = [asyncio.create_task(watch(operation, since)) for since in (0, 1, 2, 9)]
    await turns()
    note(operation, "three")
    await turns()
    note(operation, "four", "five")
    operation.finish(Reply())
    everything = [(1, "one"), (2, "two"), (3, "three"), (4, "four"), (5, "five")]
    assert await asyncio.gather(*watchers) == [everything, everything[1:], everything[2:], []]
    assert await watch(operation, 4) == [(5, "five")]


async def test_an_operation_without_progress_has_no_updates():
    operation = begin()
    watcher = asyncio.create_task(watch(operation))
    await turns()
    operation.finish(CommandFailed("no"))
    assert await watcher == []


async def test_a_slow_watcher_misses_what_the_ring_has_not_and_nothing_twice():
    operation = begin(OperationTable(progress_kept=3))
    updates = operation.updates()
    note(operation, "1")
    assert (await anext(updates)).seq == 1
    note(operation, *"2345678")
    assert [(await anext(updates)).seq for _ in range(3)] == [6, 7, 8]
    note(operation, "9")
    operation.finish(Reply())
    assert [update.seq async for update in updates] == [9]
    assert operation.latest.message == "9"


async def test_the_ring_is_bounded():
    operation = begin(OperationTable(progress_kept=10))
    note(operation, *map(str, range(1000)))
    operation.finish(Reply())
    assert [seq for seq, _ in await watch(operation)] == list(range(991, 1001))


async def test_a_watcher_that_falls_behind_while_others_wait():
    operation = begin()
    first = operation.updates()
    other = asyncio.create_task(watch(operation))
    await turns()
    note(operation, "one")
    assert (await anext(first)).message == "one"
    await turns()
    note(operation, "two")
    operation.finish(Reply())
    assert [update.message async for update in first] == ["two"]
    assert [message for _, message in await other] == ["one", "two"]


# Interrupting.


class Running:
    """A task that stands for a command, and tells what it met."""

    def __init__(self, operation, body=None):
        self.operation = operation
        self.met = []
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()
        self.task = asyncio.create_task((body or self.body)())
        operation.task = self.task

    async def body(self):
        self.started.set()
        try:
            await self.go_on.wait()
            self.met.append("end")
        except asyncio.CancelledError:
            self.met.append("cancelled")


async def test_an_interruption_cancels_what_the_task_awaits():
    operation = begin()
    running = Running(operation)
    await running.started.wait()
    operation.cancel()
    assert operation.cancel_sent
    await running.task
    assert running.met == ["cancelled"]
    assert operation.interruption.code == "cancelled"
    assert operation.interruption.message == "backup was cancelled"
    assert running.task.cancelling() == 1


async def test_the_first_reason_stands_and_cancels_once():
    operation = begin()
    running = Running(operation)
    await running.started.wait()
    operation.interrupt(DeadlineExceeded("late"))
    operation.cancel()
    operation.interrupt(ShuttingDown("down"))
    await running.task
    assert operation.interruption.code == "deadline"
    assert running.task.cancelling() == 1


async def test_what_has_ended_is_not_interrupted():
    operation = begin()
    running = Running(operation)
    await running.started.wait()
    operation.finish(Reply(1))
    operation.cancel()
    running.go_on.set()
    await running.task
    assert running.met == ["end"]
    assert operation.interruption is None
    assert operation.state == "done"


async def test_an_operation_without_a_task_notes_the_wish():
    operation = begin()
    operation.cancel()
    assert operation.interruption is not None
    assert not operation.cancel_sent


# Shielding.


async def test_a_shielded_section_is_finished_before_the_cancel_is_delivered():
    operation = begin()
    inside, go_on = asyncio.Event(), asyncio.Event()
    met = []

    async def body():
        try:
            async with operation.shield():
                inside.set()
                await go_on.wait()
                met.append("saved")
            await asyncio.sleep(0)
            met.append("not reached")
        except asyncio.CancelledError:
            met.append("cancelled")

    running = Running(operation, body)
    await inside.wait()
    operation.cancel()
    await turns()
    assert met == []
    assert not operation.cancel_sent
    go_on.set()
    await running.task
    assert met == ["saved", "cancelled"]


async def test_shields_nest():
    operation = begin()
    met = []

    async def body():
        async with operation.shield():
            async with operation.shield():
                operation.cancel()
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            met.append("outer")
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            met.append("cancelled")

    await Running(operation, body).task
    assert met == ["outer", "cancelled"]


async def test_a_cancel_at_the_last_moment_of_a_shield():
    operation = begin()
    met = []

    async def body():
        async with operation.shield():
            await asyncio.sleep(0)
            operation.cancel()  # nothing is awaited any more in here
            met.append("saved")
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            met.append("cancelled")

    await Running(operation, body).task
    assert met == ["saved", "cancelled"]
    assert operation.cancel_sent


async def test_a_cancel_that_came_before_the_shield_strikes_at_its_first_await():
    operation = begin()
    met = []

    async def body():
        operation.cancel()  # already under way: a shield cannot call it back
        try:
            async with operation.shield():
                await asyncio.sleep(0)
                met.append("not reached")
        except asyncio.CancelledError:
            met.append("cancelled")

    running = Running(operation, body)
    await running.task
    assert met == ["cancelled"]
    assert running.task.cancelling() == 1


async def test_an_error_within_a_shield_comes_through():
    operation = begin()
    with pytest.raises(ZeroDivisionError):
        async with operation.shield():
            raise ZeroDivisionError
    operation.task = task = asyncio.create_task(asyncio.sleep(60))
    operation.cancel()
    await asyncio.wait([task])
    assert task.cancelled()  # the shield is gone


async def test_a_shield_without_a_cancel_changes_nothing():
    operation = begin()
    operation.task = asyncio.current_task()
    async with operation.shield():
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not operation.cancel_sent
    operation.finish(Reply())


async def test_a_shield_that_outlasts_its_operation_leaves_the_task_alone():
    operation = begin()
    operation.task = task = asyncio.current_task()  # which goes on to the next request
    async with operation.shield():
        operation.cancel()
        operation.finish(Reply())
    await asyncio.sleep(0)
    assert not task.cancelling()


# Stopping.


async def test_a_wish_to_stop_is_seen_before_and_after_somebody_looks():
    early, late = begin(), begin()
    assert not early.stopping.is_set()
    waiter = asyncio.create_task(early.stopping.wait())
    await turns()
    early.request_stop()
    assert await waiter
    late.request_stop()
    assert late.stopping.is_set()
    assert late.stopping is late.stopping
    assert (early.state, late.state) == ("running", "running")


# The table.


def test_ids_are_unique_and_of_one_life_of_the_daemon():
    table = OperationTable()
    ids = {begin(table).id for _ in range(1000)}
    assert len(ids) == 1000
    assert table.started == 1000
    assert all(identity.startswith(f"{table.boot}-") for identity in ids)


def test_ids_of_another_life_find_nothing(monkeypatch):
    table = OperationTable()
    operation = begin(table)
    monkeypatch.setattr(module.time, "time_ns", lambda: 10**18)
    other = OperationTable()
    begin(other)
    with pytest.raises(NotFound):
        other.find(operation.id)
    assert table.find(operation.id) is operation


@pytest.mark.parametrize(
    "form",
    [
        "",
        "-",
        "x",
        "{boot}",
        "{boot}-",
        "{boot}-2",
        "{boot}-0",
        "{boot}--1",
        "{boot}-1 ",
        "{boot}-\u0661",
        "{boot}-1-1",
    ],
)
def test_what_is_no_id_is_not_found(form):
    table = OperationTable()
    begin(table)
    wanted = form.format(boot=table.boot)
    with pytest.raises(NotFound) as missing:
        table.find(wanted)
    assert missing.value.fields == {"kind": "operation", "name": wanted}


def test_a_number_as_long_as_a_novel_is_not_found():
    table = OperationTable()
    with pytest.raises(NotFound):
        table.find(f"{table.boot}-{'9' * 100_000}")


def test_only_what_ran_on_its_own_is_kept():
    table = OperationTable()
    attached, detached, running = begin(table), begin(table, detached=True), begin(table)
    assert list(table) == table.running() == [attached, detached, running]
    assert len(table) == 3
    attached.finish(Reply(1))
    detached.finish(Reply(2))
    assert list(table) == [detached, running]
    assert (table.running(), len(table)) == ([running], 1)
    assert table.find(detached.id).result == 2
    with pytest.raises(NotFound):
        table.find(attached.id)


def test_results_are_kept_by_number():
    table = OperationTable(kept=3)
    ended = [begin(table, detached=True) for _ in range(10)]
    for operation in ended:
        operation.finish(Reply())
    assert list(table) == ended[-3:]
    with pytest.raises(NotFound):
        table.find(ended[0].id)


def test_results_are_kept_for_a_time(monkeypatch):
    now = 1000.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    table = OperationTable(retention=900)
    early = begin(table, detached=True)
    early.finish(Reply())
    now += 500
    late, running = begin(table, detached=True), begin(table, detached=True)
    late.finish(Reply())
    now += 399.5
    assert list(table) == [early, late, running]
    now += 1
    assert list(table) == [late, running]
    with pytest.raises(NotFound):
        table.find(early.id)
    now += 10_000
    assert list(table) == [running]
    assert table.find(running.id) is running


async def test_what_is_no_longer_kept_still_answers_those_who_hold_it():
    table = OperationTable(kept=1)
    one, other = begin(table, detached=True), begin(table, detached=True)
    waiter = asyncio.create_task(one.wait())
    await turns()
    one.finish(Reply(1))
    other.finish(Reply(2))
    assert list(table) == [other]
    assert await waiter == 1


async def test_the_traces_of_those_who_waited_do_not_pile_up_in_the_error():
    operation = begin()
    error = Locked("no")
    operation.finish(error)

    def length() -> int:
        trace, count = error.__traceback__, 0
        while trace is not None:
            trace, count = trace.tb_next, count + 1
        return count

    lengths = []
    for _ in range(3):
        with pytest.raises(Locked):
            await operation.wait()
        lengths.append(length())
    assert lengths[0] == lengths[1] == lengths[2]


@pytest.mark.parametrize(
    ("most", "of_alice", "of_others", "admitted"),
    [(4, 1, 2, True), (4, 2, 0, False), (4, 0, 4, False), (1, 0, 0, True), (1, 1, 0, False)],
)
def test_what_runs_on_its_own_is_bounded_in_all_and_for_one_user(most, of_alice, of_others, admitted):
    table = OperationTable()
    begin(table)  # has a client
    for _ in range(of_alice):
        begin(table, detached=True)
    for uid in range(of_others):
        table.start("backup", Peer(uid=uid)).detached = True
    with (
        contextlib.nullcontext()
        if admitted
        else pytest.raises(Busy, match=rf"^{most if of_others else of_alice} operations run")
    ):
        table.check_detached(ALICE.uid, most)


async def test_an_end_that_cannot_be_noted_is_an_end(caplog):
    operation = begin(detached=True)
    operation.on_finished = lambda: 1 / 0
    waiting = asyncio.create_task(operation.wait())
    await turns()
    operation.finish(Reply("ok"))
    assert await waiting == "ok"
    assert "cannot be noted" in caplog.text
    assert operation.on_finished is None


def test_whoever_is_to_be_told_of_a_wish_to_stop_is_told():
    operation = begin()
    told = []
    operation.on_stop = lambda: told.append("stop")
    operation.request_stop()
    assert told == ["stop"]


@pytest.mark.parametrize("reason", [None, ShuttingDown("the daemon is shutting down")])
async def test_a_task_that_is_cancelled_before_it_began_ends_its_operation(reason):
    operation = begin(detached=True)
    if reason is not None:
        operation.interrupt(reason)
    task = asyncio.create_task(asyncio.sleep(0))
    task.cancel()
    await asyncio.wait([task])
    operation.abandon(task)
    operation.abandon(task)
    assert (operation.state, operation.error.code) == ("cancelled", "cancelled" if reason is None else "shutting-down")
