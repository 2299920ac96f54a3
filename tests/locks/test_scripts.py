"""Random lock scripts: never hang, never break mutual exclusion, deadlock exactly when there is one.

Stepwise scripts are compared with the model after every step.  Free-running ones have no model,
only rules that hold whatever happens; their operations nest locks as commands do, in any order.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from ctld.errors import Deadlock, Locked
from ctld.locks import LockRegistry
from tests.locks.model import Model, Wish
from tests.locks.owners import Operation, Thing, assert_no_trace, run_as, settle

THINGS = [Thing("a"), Thing("b"), Thing("c")]
KINDS = ["inclusive", "exclusive", "manipulation"]
TOO_TAME = "the scripts meet too few deadlocks to show anything"
LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of deadlocks on purpose need no log."""
    logger = logging.getLogger("ctld.locks")
    logger.disabled = True
    yield
    logger.disabled = False


def block_of(locks: LockRegistry, owner: Operation, kind: str, thing: Thing) -> AbstractAsyncContextManager[None]:
    match kind:
        case "inclusive":
            return thing.inclusively()
        case "exclusive":
            return thing.exclusively()
        case _:
            return locks.manipulate(owner, [thing], "wait")


# --- stepwise, against the model ---


@dataclass
class Wanted:
    """One wish, in the registry and in the model."""

    task: asyncio.Task[None]
    leave: asyncio.Event
    wish: Wish | None = None
    edge: tuple[str, str] | None = None
    inside: list[bool] = field(default_factory=list)


class Stepwise:
    def __init__(self) -> None:
        self.locks = LockRegistry()
        self.model = Model()
        self.operations = [Operation(f"c{number}") for number in range(4)]
        self.live: list[Wanted] = []
        self.deadlocks = 0

    async def take(self, who: int, kind: str, which: int) -> None:
        owner, thing = self.operations[who], THINGS[which]
        wish = Wish(owner.id, kind != "inclusive")
        expected = self.model.request((kind == "manipulation", thing.name), wish)
        wanted = await self._start(owner, block_of(self.locks, owner, kind, thing), expected == "deadlock")
        if expected != "deadlock":
            wanted.wish = wish
            self.live.append(wanted)

    async def await_operation(self, who: int, target: int) -> None:
        waiter, other = self.operations[who], self.operations[target]

        @asynccontextmanager
        async def block():
            with self.locks.waiting_for_operation(waiter, other):
                yield

        allowed = self.model.await_operation(waiter.id, other.id)
        wanted = await self._start(waiter, block(), not allowed)
        if allowed:
            wanted.edge = (waiter.id, other.id)
            self.live.append(wanted)

    async def _start(self, owner: Operation, block: AbstractAsyncContextManager[None], refused: bool) -> Wanted:
        leave, inside = asyncio.Event(), []

        async def run() -> None:
            async with block:
                inside.append(True)
                await leave.wait()

        wanted = Wanted(run_as(self.locks, owner, run()), leave, inside=inside)
        await settle()
        if refused:
            self.deadlocks += 1
            assert wanted.task.done(), "a wait that never ends was not refused at once"
            assert isinstance(wanted.task.exception(), Deadlock)
            assert not inside
        elif wanted.task.done():
            raise AssertionError(f"refused without need: {wanted.task.exception()}")
        return wanted

    async def end(self, numbers: list[int]) -> None:
        """End some wishes within one turn of the loop: those inside leave or are cancelled, others are cancelled."""
        for number in numbers:
            if not self.live:
                break
            wanted = self.live.pop(number % len(self.live))
            if wanted.inside and number % 2:
                wanted.leave.set()
            else:
                wanted.task.cancel()
            if wanted.wish is not None:
                self.model.withdraw(wanted.wish)
            if wanted.edge is not None:
                self.model.awaits.remove(wanted.edge)
        await settle()

    def compare(self) -> None:
        held = {id(wish) for lock in self.model.locks.values() for wish in lock.held}
        for wanted in self.live:
            assert not wanted.task.done()
            assert bool(wanted.inside) == (wanted.edge is not None or id(wanted.wish) in held)
        rows = self.locks.snapshot()
        assert len(rows) == len(self.live)
        assert sum(row.state == "held" for row in rows) == len(held)
        assert_mutual_exclusion(self.locks)

    async def finish(self) -> None:
        """Nobody hangs: when those who are inside leave, everybody gets in."""
        while self.live:
            inside = [wanted for wanted in self.live if wanted.inside]
            assert inside, "everybody waits for somebody"
            for wanted in inside:
                wanted.leave.set()
                self.live.remove(wanted)
            await settle()
        assert_no_trace(self.locks)


def assert_mutual_exclusion(locks: LockRegistry) -> None:
    owners: dict[tuple[str, str, bool], set[str]] = {}
    exclusive: set[tuple[str, str, bool]] = set()
    for row in locks.snapshot():
        if row.state == "held":
            key = (row.kind, row.name, row.type == "manipulation")
            owners.setdefault(key, set()).add(row.operation)
            if row.type != "inclusive":
                exclusive.add(key)
    assert all(len(owners[key]) == 1 for key in exclusive)


operation, thing = st.integers(0, 3), st.integers(0, 2)
steps = st.one_of(
    st.tuples(st.just("take"), operation, st.sampled_from(KINDS), thing),
    st.tuples(st.just("take"), operation, st.sampled_from(KINDS), thing),
    st.tuples(st.just("await_operation"), operation, operation),
    st.tuples(st.just("end"), st.lists(st.integers(0, 20), min_size=1, max_size=3)),
)


@LOOPS
def test_stepwise_scripts_do_what_the_model_does(loop):
    deadlocks = 0

    async def play(script: list) -> None:
        nonlocal deadlocks
        both = Stepwise()
        for name, *arguments in script:
            await getattr(both, name)(*arguments)
            both.compare()
        await both.finish()
        deadlocks += both.deadlocks

    with asyncio.Runner(loop_factory=loop) as runner:

        @settings(max_examples=1000, deadline=None)
        @given(st.lists(steps, min_size=8, max_size=24))
        def scripts(script: list) -> None:
            runner.run(play(script))

        scripts()
    assert deadlocks > 100, TOO_TAME


# --- free-running ---


class Free:
    """Operations that nest locks, wait for each other, give way on a deadlock, and are cancelled."""

    def __init__(self, plans: list[list], cancels: list[tuple[int, int]]) -> None:
        self.locks = LockRegistry()
        self.plans = plans
        self.cancels = cancels
        self.operations = [Operation(f"c{number}") for number in range(len(plans))]
        self.ended = [asyncio.Event() for _ in plans]
        self.deadlocks = 0
        self.readers: dict[tuple[str, bool], list[str]] = {}
        self.writers: dict[tuple[str, bool], list[str]] = {}

    @contextmanager
    def inside(self, owner: str, kind: str, thing: Thing) -> Iterator[None]:
        """What mutual exclusion means, checked by those who rely on it."""
        key = (thing.name, kind == "manipulation")
        readers, writers = self.readers.setdefault(key, []), self.writers.setdefault(key, [])
        assert all(other == owner for other in writers)
        if kind != "inclusive":
            assert all(other == owner for other in readers)
        mine = readers if kind == "inclusive" else writers
        mine.append(owner)
        try:
            yield
        finally:
            mine.remove(owner)

    async def run(self, number: int) -> None:
        operation = self.operations[number]
        try:
            async with AsyncExitStack() as stack:
                for kind, which, pauses in self.plans[number]:
                    if kind == "operation":
                        other = which % len(self.plans)
                        with self.locks.waiting_for_operation(operation, self.operations[other]):
                            await self.ended[other].wait()
                    else:
                        thing = THINGS[which % len(THINGS)]
                        await stack.enter_async_context(block_of(self.locks, operation, kind, thing))
                        stack.enter_context(self.inside(operation.id, kind, thing))
                    for _ in range(pauses):
                        await asyncio.sleep(0)
        except Deadlock:
            self.deadlocks += 1

    def over(self, number: int) -> None:
        self.operations[number].finished = True
        self.ended[number].set()

    async def go(self) -> None:
        tasks = [run_as(self.locks, owner, self.run(number)) for number, owner in enumerate(self.operations)]
        for number, task in enumerate(tasks):
            task.add_done_callback(lambda _, number=number: self.over(number))  # also when it never began
        for turn in range(40):
            for when, number in self.cancels:
                if when == turn:
                    tasks[number % len(tasks)].cancel()
            await asyncio.sleep(0)
            assert_mutual_exclusion(self.locks)
        async with asyncio.timeout(20):
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}
        assert_no_trace(self.locks)


plans = st.lists(
    st.lists(
        st.tuples(st.sampled_from([*KINDS, "operation"]), st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=6
    ),
    min_size=2,
    max_size=6,
)
cancels = st.lists(st.tuples(st.integers(0, 39), st.integers(0, 5)), max_size=4)


@LOOPS
def test_free_running_scripts_end_and_exclude_each_other(loop):
    deadlocks = 0

    async def play(plans: list[list], cancels: list[tuple[int, int]]) -> None:
        nonlocal deadlocks
        free = Free(plans, cancels)
        await free.go()
        deadlocks += free.deadlocks

    with asyncio.Runner(loop_factory=loop) as runner:

        @settings(max_examples=500, deadline=None)
        @given(plans, cancels)
        def scripts(plans: list[list], cancels: list[tuple[int, int]]) -> None:
            runner.run(play(plans, cancels))

        scripts()
    assert deadlocks > 100, TOO_TAME


async def test_a_thousand_writers_at_one_lock():
    locks, thing, order = LockRegistry(), Thing("a"), []

    async def write(number: int) -> None:
        async with thing.exclusively():
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(run_as(locks, Operation("w"), write(number)) for number in range(1000)))
    assert order == list(range(1000))
    assert_no_trace(locks)


async def test_many_operations_that_fail_at_once_or_hold():
    locks, done = LockRegistry(), []

    async def manipulate(number: int) -> None:
        try:
            async with locks.manipulate(None, [THINGS[number % 3], THINGS[(number + 1) % 3]]):
                await asyncio.sleep(0)
                assert_mutual_exclusion(locks)
                done.append("held")
        except Locked as error:
            done.append(error.code)

    await asyncio.gather(*(run_as(locks, Operation("m"), manipulate(number)) for number in range(100)))
    assert set(done) == {"held", "locked"}
    assert_no_trace(locks)
