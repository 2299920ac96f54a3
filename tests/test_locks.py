"""State locks, owners and registries: what `async with` over a Lockable promises.

Manipulation locks, cancellation, the ancestor's defects and the random scripts have files of
their own in `tests/locks/`.
"""

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass

import msgspec
import pytest

from ctld.errors import CtldError, Deadlock, Locked
from ctld.locks import Lockable, LockRegistry, Manipulable, current_locks
from tests.locks.owners import Operation, Thing, acting, assert_no_trace, run_as, settle


@pytest.fixture
def locks() -> LockRegistry:
    return LockRegistry()


@pytest.fixture
def thing() -> Thing:
    return Thing("ct1")


class Log(list[str]):
    """What happened, in order."""

    async def hold(self, name: str, block, until: asyncio.Event | None = None) -> None:
        async with block:
            self.append(f"+{name}")
            if until is not None:
                await until.wait()
        self.append(f"-{name}")


# --- sharing and excluding ---


async def test_readers_share(locks, thing):
    log, leave = Log(), asyncio.Event()
    readers = [run_as(locks, Operation("list"), log.hold(name, thing.inclusively(), leave)) for name in "ab"]
    await settle()
    assert log == ["+a", "+b"]
    leave.set()
    await asyncio.gather(*readers)
    assert_no_trace(locks)


@pytest.mark.parametrize("mode", ["inclusively", "exclusively"])
async def test_a_writer_excludes_everybody(locks, thing, mode):
    log, leave = Log(), asyncio.Event()
    writer = run_as(locks, Operation("set"), log.hold("w", thing.exclusively(), leave))
    other = run_as(locks, Operation("x"), log.hold("x", getattr(thing, mode)()))
    await settle()
    assert log == ["+w"]
    leave.set()
    await asyncio.gather(writer, other)
    assert log == ["+w", "-w", "+x", "-x"]
    assert_no_trace(locks)


async def test_a_writer_waits_for_all_readers(locks, thing):
    log, leave = Log(), [asyncio.Event(), asyncio.Event()]
    tasks = [run_as(locks, Operation("r"), log.hold(f"r{i}", thing.inclusively(), leave[i])) for i in range(2)]
    tasks.append(run_as(locks, Operation("w"), log.hold("w", thing.exclusively())))
    for event in leave:
        await settle()
        assert "+w" not in log
        event.set()
    await asyncio.gather(*tasks)
    assert log[-2:] == ["+w", "-w"]


async def test_first_come_first_served(locks, thing):
    log, leave = Log(), asyncio.Event()
    tasks = [run_as(locks, Operation("first"), log.hold("first", thing.exclusively(), leave))]
    order = ["r1", "r2", "w1", "r3", "w2", "w3", "r4"]
    for name in order:
        block = thing.inclusively() if name.startswith("r") else thing.exclusively()
        tasks.append(run_as(locks, Operation(name), log.hold(name, block)))
    await settle()
    leave.set()
    await asyncio.gather(*tasks)
    assert [name[1:] for name in log if name.startswith("+")] == ["first", *order]


async def test_different_resources_have_nothing_to_do_with_each_other(locks):
    """B33: one global "busy" flag makes unrelated commands fail."""
    log, leave = Log(), asyncio.Event()
    task = run_as(locks, Operation("a"), log.hold("a", Thing("a").exclusively(), leave))
    await settle()
    with acting(locks, Operation("b")):
        async with Thing("b").exclusively(), Thing("a", kind="pool").exclusively():
            assert log == ["+a"]
    leave.set()
    await task


async def test_the_lock_is_found_by_resource_not_by_identity(locks):
    log, leave = Log(), asyncio.Event()
    tasks = [run_as(locks, Operation("x"), log.hold(f"{i}", Thing("same").exclusively(), leave)) for i in range(2)]
    await settle()
    assert log == ["+0"]
    leave.set()
    await asyncio.gather(*tasks)


async def test_a_resource_may_change_its_name_while_it_is_locked(locks, thing):
    with acting(locks, Operation("rename")):
        async with thing.exclusively():
            thing.name = "ct2"
            assert [row.name for row in locks.snapshot()] == ["ct1"]
    assert_no_trace(locks)


async def test_the_state_lock_and_the_manipulation_lock_are_two_locks(locks, thing):
    async with locks.manipulate(Operation("long"), [thing]):
        with acting(locks, Operation("short")):
            async with thing.exclusively():
                assert [row.type for row in locks.snapshot()] == ["manipulation", "exclusive"]
    assert_no_trace(locks)


async def test_an_exception_in_the_block_gives_the_lock_back(locks, thing):
    with acting(locks, Operation("x")), pytest.raises(ZeroDivisionError):
        async with thing.exclusively():
            1 / 0  # noqa: B018 - it raises
    assert_no_trace(locks)


# --- the mixins ---


class Struct(msgspec.Struct, Lockable, Manipulable):
    name: str

    def lock_resource(self) -> tuple[str, str]:
        return ("struct", self.name)


@dataclass(frozen=True, slots=True)
class Frozen(Lockable, Manipulable):
    name: str

    def lock_resource(self) -> tuple[str, str]:
        return ("frozen", self.name)


@pytest.mark.parametrize("make", [Struct, Frozen, Thing])
async def test_mixins_need_no_constructor_and_no_dict(locks, make):
    thing = make("x")
    with acting(locks, Operation("x")):
        async with thing.exclusively(), locks.manipulate(None, [thing]):
            assert len(locks.snapshot()) == 2
    assert Lockable.__slots__ == Manipulable.__slots__ == ()


async def test_a_lockable_without_a_name_says_so(locks):
    class Nameless(Lockable):
        pass

    wanted = r"Nameless must define lock_resource\(\) -> \(kind, name\)"
    with acting(locks, Operation("x")), pytest.raises(NotImplementedError, match=wanted):
        await Nameless().inclusively().__aenter__()
    assert_no_trace(locks)


async def test_one_block_is_entered_once(locks, thing):
    with acting(locks, Operation("x")):
        for block in (thing.inclusively(), locks.manipulate(None, [thing])):
            async with block:
                with pytest.raises(CtldError, match="entered before"):
                    await block.__aenter__()
            with pytest.raises(CtldError, match="entered before"):
                await block.__aenter__()
    assert_no_trace(locks)


# --- registries ---


async def test_two_registries_share_nothing(thing):
    one, two = LockRegistry(), LockRegistry()
    with acting(one, Operation("x")):
        async with thing.exclusively():
            with acting(two, Operation("y")):
                async with thing.exclusively():
                    assert [row.holder for row in one.snapshot()] == ["x"]
                    assert [row.holder for row in two.snapshot()] == ["y"]


async def test_a_block_gives_back_where_it_took(thing):
    one, two = LockRegistry(), LockRegistry()
    block = thing.exclusively()
    with acting(one, Operation("x")):
        await block.__aenter__()
    with acting(two, Operation("x")):
        await block.__aexit__(None, None, None)
    assert_no_trace(one)


async def test_without_a_registry_the_error_says_what_to_do(thing):
    assert current_locks.get() is None
    with pytest.raises(CtldError, match="no lock registry is current here: set `current_locks`"):
        async with thing.inclusively():
            pass


# --- owners ---


async def test_exclusive_includes_inclusive(locks, thing):
    with acting(locks, Operation("x")):
        async with thing.exclusively(), thing.inclusively(), thing.exclusively():
            assert [row.type for row in locks.snapshot()] == ["exclusive", "inclusive", "exclusive"]
    assert_no_trace(locks)


async def test_inclusive_twice_although_a_writer_waits(locks, thing):
    log = Log()
    with acting(locks, Operation("r")):
        async with thing.inclusively():
            writer = run_as(locks, Operation("w"), log.hold("w", thing.exclusively()))
            await settle()
            async with thing.inclusively():
                assert log == []
            await settle()
            assert log == []
    await writer
    assert_no_trace(locks)


async def test_leaving_the_outer_block_first_keeps_the_inner_one(locks, thing):
    """An owner whose exclusive block ends while an inclusive one goes on is a reader from then on."""
    log, leave = Log(), asyncio.Event()
    owner = Operation("x")
    with acting(locks, owner):
        async with AsyncExitStack() as inner:
            async with thing.exclusively():
                await inner.enter_async_context(thing.inclusively())
                tasks = [run_as(locks, Operation("r"), log.hold("r", thing.inclusively(), leave))]
                tasks.append(run_as(locks, Operation("w"), log.hold("w", thing.exclusively())))
                await settle()
                assert log == []
            await settle()
            assert log == ["+r"]
            leave.set()
            await settle()
            assert log == ["+r", "-r"]
    await asyncio.gather(*tasks)
    assert log == ["+r", "-r", "+w", "-w"]
    assert_no_trace(locks)


async def test_inclusive_then_exclusive_is_refused_at_once(locks, thing, caplog):
    with acting(locks, Operation("ct_set", cli="ctlctl ct set")):
        async with thing.inclusively():
            with pytest.raises(Deadlock, match="has it inclusively already") as caught:
                async with thing.exclusively():
                    pass
            assert [row.type for row in locks.snapshot()] == ["inclusive"]
    assert caught.value.fields["cycle"][0]["resource"] == "container ct1"
    assert_no_trace(locks)


async def test_inclusive_then_exclusive_is_refused_while_the_first_still_waits(locks, thing):
    """Two tasks of one operation: what would be refused later is refused now."""
    log, leave, owner = Log(), asyncio.Event(), Operation("x")
    first = run_as(locks, Operation("w"), log.hold("w", thing.exclusively(), leave))
    reader = run_as(locks, owner, log.hold("r", thing.inclusively()))
    await settle()
    with acting(locks, owner), pytest.raises(Deadlock):
        async with thing.exclusively():
            pass
    leave.set()
    await asyncio.gather(first, reader)
    assert_no_trace(locks)


async def test_tasks_of_one_operation_own_its_locks_together(locks, thing):
    """Ownership is the operation's: a task that the command starts inherits it."""
    log = Log()
    with acting(locks, Operation("x")):
        async with thing.exclusively():
            await asyncio.create_task(log.hold("task", thing.exclusively()))
    assert log == ["+task", "-task"]
    assert_no_trace(locks)


async def test_waiting_tasks_of_one_operation_are_granted_together(locks, thing):
    log, leave, owner = Log(), asyncio.Event(), Operation("x")
    first = run_as(locks, Operation("w"), log.hold("w", thing.exclusively(), leave))
    await settle()
    together = [run_as(locks, owner, log.hold("a", thing.exclusively()))]
    between = run_as(locks, Operation("between"), log.hold("b", thing.exclusively()))
    together.append(run_as(locks, owner, log.hold("c", thing.inclusively())))
    await settle()
    leave.set()
    await asyncio.gather(first, between, *together)
    assert [entry for entry in log if entry.startswith("+")] == ["+w", "+a", "+c", "+b"]
    assert_no_trace(locks)


async def test_a_finished_operation_takes_no_more_locks(locks, thing):
    owner = Operation("x", finished=True)
    with acting(locks, owner):
        for block in (thing.inclusively(), locks.manipulate(owner, [thing], "wait")):
            with pytest.raises(CtldError, match="x has finished and takes no more locks"):
                await block.__aenter__()
    assert_no_trace(locks)


@pytest.mark.parametrize("mode", ["exclusively", "manipulate"])
async def test_an_operation_that_finishes_while_a_task_of_it_waits_gets_no_lock(locks, thing, mode):
    log, leave, owner = Log(), asyncio.Event(), Operation("x")

    def block(who: Operation):
        return thing.exclusively() if mode == "exclusively" else locks.manipulate(who, [thing], "wait")

    other = Operation("w")
    first = run_as(locks, other, log.hold("w", block(other), leave))
    stray = run_as(locks, owner, log.hold("stray", block(owner)))
    await settle()
    last = run_as(locks, later := Operation("l"), log.hold("l", block(later)))
    await settle()
    owner.finished = True
    leave.set()
    with pytest.raises(CtldError, match="has finished"):
        await stray
    await asyncio.gather(first, last)
    assert log == ["+w", "-w", "+l", "-l"]
    assert_no_trace(locks)


async def test_outside_of_commands_a_task_owns_its_locks(locks, thing):
    log, leave = Log(), asyncio.Event()
    tasks = [run_as(locks, None, log.hold(name, thing.exclusively(), leave)) for name in "ab"]
    tasks[0].set_name("janitor")
    await settle()
    assert log == ["+a"]
    held, waiting = locks.snapshot()
    assert (held.state, waiting.state) == ("held", "waiting")
    assert held.operation != waiting.operation
    leave.set()
    await asyncio.gather(*tasks)
    assert_no_trace(locks)


async def test_a_task_is_one_owner_as_long_as_it_runs(locks, thing):
    async def janitor() -> None:
        async with thing.exclusively(), thing.inclusively(), locks.manipulate(None, [thing]):
            names.extend({row.holder for row in locks.snapshot()})
            peers.extend({row.peer for row in locks.snapshot()})

    names: list[str] = []
    peers: list[str] = []
    task = run_as(locks, None, janitor())
    task.set_name("janitor")
    await task
    assert (names, peers) == (["task janitor"], ["daemon"])
    assert_no_trace(locks)


async def test_a_tasks_child_is_another_owner(locks, thing):
    log = Log()
    with acting(locks, None):
        async with thing.exclusively():
            child = asyncio.create_task(log.hold("child", thing.exclusively()))
            await settle()
            assert log == []
        await child
    assert_no_trace(locks)


async def test_tasks_that_are_gone_are_forgotten(locks, thing):
    for _ in range(3):
        await run_as(locks, None, Log().hold("x", thing.exclusively()))
    await settle()
    assert len(locks._tasks) == 0


async def test_a_callback_owns_nothing(locks, thing):
    failed = asyncio.get_running_loop().create_future()

    def callback() -> None:
        try:
            locks.owner()
        except CtldError as error:
            failed.set_result(str(error))

    asyncio.get_running_loop().call_soon(callback)
    assert await failed == "locks are taken by commands and tasks, not by callbacks"


# --- manipulation: the rest is in tests/locks/test_manipulation.py ---


async def test_a_manipulated_resource_is_refused_or_waited_for(locks, thing):
    told, log, leave = [], Log(), asyncio.Event()

    async def on_wait(message: str) -> None:
        told.append(message)

    one, two = Operation("one"), Operation("two")
    first = run_as(locks, one, log.hold("one", locks.manipulate(one, [thing]), leave))
    await settle()
    with pytest.raises(Locked, match="container ct1 is held by one"):
        await locks.manipulate(two, [thing]).__aenter__()
    second = run_as(locks, two, log.hold("two", locks.manipulate(two, [thing], "wait", on_wait)))
    await settle()
    assert (told, log) == (["waiting: container ct1 is held by one"], ["+one"])
    leave.set()
    await asyncio.gather(first, second)
    assert log == ["+one", "-one", "+two", "-two"]
    assert_no_trace(locks)


# --- waits that would never end ---


async def test_a_wait_that_closes_a_cycle_is_refused_at_once_and_named(locks, caplog):
    """B38: the ancestor waits 90 seconds and says "internal error"."""
    a, b = Thing("a"), Thing("b")
    stop, start = Operation("ct_stop", cli="osctl ct stop a"), Operation("ct_start")
    with acting(locks, stop):
        async with a.exclusively():
            with acting(locks, start):
                async with b.exclusively():
                    waits = run_as(locks, stop, Log().hold("b", b.inclusively()))
                    await settle()
                    with caplog.at_level(logging.WARNING), pytest.raises(Deadlock) as caught:
                        async with a.exclusively():
                            pass
    await waits
    first, second = caught.value.fields["cycle"]
    assert set(first) == {"command", "resource", "lock", "caller", "age"}
    assert (first["command"], first["resource"], first["lock"]) == ("ct_start", "container a", "exclusive")
    assert (second["command"], second["resource"], second["lock"]) == ("ct_stop", "container b", "inclusive")
    assert first["caller"] == "alice"
    assert 0 <= first["age"] < 60
    assert "'osctl ct stop a' waits for container b (inclusive), blocked by ct_start" in str(caught.value)
    assert_no_trace(locks)


async def test_on_a_deadlock_the_registry_is_dumped_to_the_log(locks, thing, caplog):
    with acting(locks, Operation("x")), caplog.at_level(logging.WARNING, "ctld.locks"):
        async with thing.inclusively():
            with pytest.raises(Deadlock):
                async with thing.exclusively():
                    pass
    (record,) = caplog.records
    headline, held, waiting = record.getMessage().splitlines()
    assert headline.startswith("deadlock: x wants container ct1 (exclusive)")
    assert held.startswith("container ct1: inclusive held by x (alice, operation op")
    assert waiting.startswith("container ct1: exclusive waiting by x (alice, operation op")


async def test_a_cycle_through_a_manipulation_lock(locks, thing):
    one, two = Operation("one"), Operation("two")
    async with locks.manipulate(one, [thing]):
        with acting(locks, two):
            async with thing.exclusively():
                waits = run_as(locks, one, Log().hold("x", thing.exclusively()))
                await settle()
                with pytest.raises(Deadlock) as caught:
                    async with locks.manipulate(two, [thing], "wait"):
                        pass
        await waits
    assert [party["lock"] for party in caught.value.fields["cycle"]] == ["manipulation", "exclusive"]
    assert_no_trace(locks)


async def test_a_cycle_through_the_wait_for_an_operation(locks, thing):
    """`op_wait` for an operation that waits for my lock would never end."""
    outer, inner = Operation("outer"), Operation("inner")
    with acting(locks, outer):
        async with thing.exclusively():
            blocked = run_as(locks, inner, Log().hold("x", thing.inclusively()))
            await settle()
            with pytest.raises(Deadlock) as caught, locks.waiting_for_operation(outer, inner):
                raise AssertionError("must not be entered")
    await blocked
    assert [(party["resource"], party["lock"]) for party in caught.value.fields["cycle"]] == [
        (f"operation {inner.id}", "operation"),
        ("container ct1", "inclusive"),
    ]
    assert_no_trace(locks)


async def test_a_lock_whose_holder_waits_for_my_end_is_refused(locks, thing):
    outer, inner = Operation("outer"), Operation("inner")
    with acting(locks, outer):
        async with thing.exclusively():
            with locks.waiting_for_operation(None, inner), acting(locks, inner), pytest.raises(Deadlock):
                async with thing.inclusively():
                    pass
            with acting(locks, inner):
                waits = run_as(locks, inner, Log().hold("x", thing.inclusively()))
                await settle()
    await waits
    assert_no_trace(locks)


async def test_waiting_for_ones_own_end_is_refused(locks):
    me = Operation("me")
    with pytest.raises(Deadlock, match="me would wait for its own end"), locks.waiting_for_operation(me, me):
        pass
    assert_no_trace(locks)


async def test_waiting_for_an_operation_that_has_finished_is_no_wait(locks):
    done = Operation("done", finished=True)
    with locks.waiting_for_operation(done, done):
        assert locks.snapshot() == []


async def test_a_finished_operation_waits_for_nobody(locks):
    wait = locks.waiting_for_operation(Operation("x", finished=True), Operation("y"))
    with pytest.raises(CtldError, match="has finished"), wait:
        pass
    assert_no_trace(locks)


async def test_a_plain_task_that_waits_for_an_operation_is_an_owner_too(locks, thing):
    async def background() -> None:
        async with thing.exclusively():
            blocked = run_as(locks, operation, Log().hold("x", thing.exclusively()))
            await settle()
            with pytest.raises(Deadlock), locks.waiting_for_operation(None, operation):
                pass
        await blocked

    operation = Operation("launched")
    await run_as(locks, None, background())
    assert_no_trace(locks)


# --- diagnostics ---


async def test_diagnostics_answer_while_every_lock_is_held(locks):
    """B36: a wedged lock hangs the very commands that would tell who holds it."""
    things = [Thing(f"{number}") for number in range(5)]
    async with locks.manipulate(Operation("long"), things):
        with acting(locks, Operation("wedged")):
            async with AsyncExitStack() as stack:
                for thing in things:
                    await stack.enter_async_context(thing.exclusively())
                waits = run_as(locks, Operation("other"), Log().hold("x", things[0].inclusively()))
                await settle()
                # Plain calls: they cannot wait for anything.
                assert len(locks.snapshot()) == 11
                assert "wedged" in locks.dot()
                assert len(locks.dump().splitlines()) == 11
    await waits
    assert_no_trace(locks)


async def test_a_row_tells_the_line_of_the_command(locks, thing):
    with acting(locks, Operation("x")):
        async with thing.exclusively():
            first = test_a_row_tells_the_line_of_the_command.__code__.co_firstlineno
            (row,) = locks.snapshot()
    assert row.source == f"test_locks.py:{first + 2}"


async def test_the_line_is_the_commands_although_a_stack_enters_the_block(locks, thing):
    with acting(locks, Operation("x")):
        async with AsyncExitStack() as stack:
            first = test_the_line_is_the_commands_although_a_stack_enters_the_block.__code__.co_firstlineno
            await stack.enter_async_context(thing.inclusively())
            await stack.enter_async_context(locks.manipulate(None, [thing]))
            assert {row.source for row in locks.snapshot()} == {f"test_locks.py:{first + line}" for line in (4, 5)}


async def test_age_counts_from_the_grant(thing):
    now = 100.0
    locks = LockRegistry(clock=lambda: now)
    log, leave = Log(), asyncio.Event()
    first = run_as(locks, Operation("a"), log.hold("a", thing.exclusively(), leave))
    await settle()
    now = 110.0
    second = run_as(locks, Operation("b"), log.hold("b", thing.exclusively(), again := asyncio.Event()))
    await settle()
    now = 115.0
    assert [(row.state, row.age) for row in locks.snapshot()] == [("held", 15.0), ("waiting", 5.0)]
    leave.set()
    await settle()
    now = 117.0
    assert [(row.state, row.age) for row in locks.snapshot()] == [("held", 2.0)]
    again.set()
    await asyncio.gather(first, second)


async def test_a_lock_that_nobody_holds_leaves_nothing_behind(locks):
    with acting(locks, Operation("x")):
        for number in range(1000):
            async with Thing(f"{number}").exclusively(), locks.manipulate(None, [Thing(f"{number}")]):
                pass
    assert_no_trace(locks)


async def test_a_refused_wait_leaves_nothing_behind(locks, thing):
    with acting(locks, Operation("x")):
        async with thing.inclusively():
            for _ in range(3):
                with pytest.raises(Deadlock):
                    await thing.exclusively().__aenter__()
            assert len(locks.snapshot()) == 1
    assert_no_trace(locks)


async def test_what_is_in_use_and_who_holds_it():
    locks, owner = LockRegistry(), Operation("op")
    assert not locks.in_use
    async with locks.manipulate(owner, [Thing("a")]):
        assert locks.in_use
        assert locks.held_by(owner) == [("manipulation", "container", "a")]
        assert locks.held_by(Operation("other")) == []
    assert not locks.in_use
