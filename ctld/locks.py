"""Locks that know their owner: state locks, manipulation locks, and what waits for them.

Who owns a lock.  The operation that is current where the lock is taken (`current_owner`):
nested commands and the tasks that a command starts share its locks, and a lock is re-entrant
among them.  Outside of commands there is no operation; there the running asyncio task owns
the lock, for itself alone.  An operation that has finished takes no more locks.

Where the locks live.  In a `LockRegistry`, which whoever runs commands makes current
(`current_locks`) around them.  The mixins keep nothing in the objects they are mixed into:
a lock is found by `lock_resource()`, and two objects that name the same resource share it.
Two registries share nothing.

Every wait asks the wait-for graph first and is refused at once when it would never end.
Granting, handing over and withdrawing are synchronous and complete before any task runs
again; a waiting task only sleeps on a future.  So the one thing a cancelled waiter has to
do, at whatever await and on whichever side of the hand-over, is to withdraw its claim: that
takes it out of the queue, or passes a lock that it was just given on to the next one.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Literal, TypeAlias
from weakref import WeakKeyDictionary

from ctld.errors import CtldError, Deadlock, Locked
from ctld.lock_queue import LockKey
from ctld.lock_report import Blocker, LockClaim, LockRow, Source, calling_source, deadlock, dump, picture, rows
from ctld.ownership import Owner, current_owner
from ctld.peer import Peer
from ctld.wait_graph import WaitGraph, printable

__all__ = ["LockRegistry", "Lockable", "Manipulable", "ManipulationMode", "OnWait", "current_locks"]

logger = logging.getLogger(__name__)

ManipulationMode: TypeAlias = Literal["fail", "wait", "ignore"]
OnWait: TypeAlias = Callable[[str], Awaitable[object]]
"""Is told in one line what a command begins to wait for."""

_NO_REGISTRY: Final = "no lock registry is current here: set `current_locks` around code outside of a server"
_ENTERED: Final = "this lock block was entered before: make another one for each `async with`"
# A cycle is worth more room in the log than a single name.
_MAX_LOGGED: Final = 2000


class _TaskOwner:
    """An asyncio task as the owner of its locks, where no operation is."""

    finished = False  # it acts only while it runs

    def __init__(self, name: str, number: int, started: float) -> None:
        self.id = f"task-{number}"
        self.command = self.holder = f"task {name}"
        self.peer = Peer.DAEMON
        self.started = started


class LockRegistry:
    """The locks of one server, or of several that share it; for one event loop.

    Args:
        clock: A monotonic clock; owners' `started` must be by the same one.

    Attributes:
        in_use: The locks that somebody holds; only to be looked at.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._graph: WaitGraph[LockClaim] = WaitGraph()
        self._tasks: WeakKeyDictionary[asyncio.Task[object], _TaskOwner] = WeakKeyDictionary()
        self._task_count = 0
        # Empty while nobody holds anything: cheaper to look at than to ask.
        self.in_use = self._graph.locks

    # Taking and giving back; the mixins and `manipulate` are what commands use.

    def owner(self) -> Owner:
        """Who is at work here: the current operation, else the running task."""
        owner = current_owner.get()
        if owner is not None:
            return owner
        task = asyncio.current_task()
        if task is None:
            raise CtldError("locks are taken by commands and tasks, not by callbacks")
        if (anonymous := self._tasks.get(task)) is None:
            self._task_count += 1
            anonymous = self._tasks[task] = _TaskOwner(task.get_name(), self._task_count, self._clock())
        return anonymous

    def request(self, key: LockKey, owner: Owner, *, exclusive: bool, source: Source) -> LockClaim:
        """Take a lock, or a place in its queue; `settle` waits for it, `release` ends either.

        Raises:
            Deadlock: The wait would close a cycle.
            CtldError: The owner has finished.
        """
        claim = LockClaim(_alive(owner), exclusive, self._clock(), source)
        if not self._graph.request(key, claim):
            claim.granted = asyncio.get_running_loop().create_future()
            if cycle := self._graph.cycle(claim.owner_id):
                error = self._refuse(cycle)  # while the claim is there, so that the dump shows it
                self.release(claim)
                raise error
        return claim

    async def settle(self, claim: LockClaim) -> None:
        """Wait until a claim is granted; when that is interrupted, the caller releases it.

        Raises:
            CtldError: The owner has finished while this task of its waited.
        """
        if claim.granted is not None:
            await claim.granted
            _alive(claim.owner)

    def release(self, claim: LockClaim) -> None:
        """Withdraw a claim that is held or waits; locks that become free go to the next ones."""
        for lucky in self._graph.withdraw(claim):
            lucky.since = self._clock()
            assert lucky.granted is not None, "only what has waited is handed over"
            # A waiter that is being cancelled is granted too: it passes the lock on when it wakes.
            if not lucky.granted.done():
                lucky.granted.set_result(None)

    def manipulate(
        self,
        owner: Owner | None,
        resources: Collection["Manipulable"],
        mode: ManipulationMode = "fail",
        on_wait: OnWait | None = None,
    ) -> AbstractAsyncContextManager[None]:
        """Hold the manipulation locks of resources: all of them, or none.

        They are taken in the order of kind and name, whatever order they come in, so that two
        commands that manipulate the same resources at once never block each other half-way.

        Args:
            owner: The operation; None for whoever is at work where the block is entered.
            resources: What is manipulated.
            mode: `fail` raises `Locked` at once, `wait` queues without a time-out of its own,
                `ignore` takes no lock: the caller has checked that this is allowed.
            on_wait: Told what is waited for, each time a wait begins.
        """
        resource_keys = {resource.lock_resource() for resource in resources}
        keys: list[LockKey] = [("manipulation", kind, name) for kind, name in sorted(resource_keys)]
        return _Manipulation(self, owner, [] if mode == "ignore" else keys, mode == "wait", on_wait)

    def holder(self, key: LockKey) -> LockClaim | None:
        """Who holds a lock, or one of those who do."""
        lock = self._graph.locks.get(key)
        return None if lock is None else next(iter(lock.holders.values())).claims[0]

    def locked(self, key: LockKey, claim: LockClaim) -> Locked:
        """Make the error that says that somebody's claim is in the way."""
        resource = f"{key[1]} {key[2]}"
        holder = claim.owner.holder
        since = round(time.time() - (self._clock() - claim.since), 3)
        return Locked(f"{resource} is held by {holder}", resource=resource, holder=holder, since=since)

    @contextmanager
    def waiting_for_operation(self, waiter: Owner | None, target: Owner) -> Iterator[None]:
        """Note in the wait-for graph that the block waits for the end of an operation.

        Args:
            waiter: The operation that waits; None for whoever is at work here.
            target: The operation that is waited for.

        Raises:
            Deadlock: The target waits, by whatever detour, for the waiter.
            CtldError: The waiter has finished.
        """
        if target.finished:  # its result is there: nobody waits
            yield
            return
        source, now = calling_source(), self._clock()
        claim = LockClaim(_alive(self.owner() if waiter is None else waiter), False, now, source)
        wait = self._graph.await_operation(claim, LockClaim(target, True, now, source))
        try:
            if cycle := self._graph.cycle(claim.owner_id):
                raise self._refuse(cycle)
            yield
        finally:
            self._graph.end_await(wait)

    # Diagnostics: plain reads of a consistent state, since nothing here changes across an await.

    def snapshot(self) -> list[LockRow]:
        """List every lock that is held or waited for, sorted by resource; takes no locks."""
        return rows(self._graph, self._clock())

    def held_by(self, owner: Owner) -> list[LockKey]:
        """List the locks that an owner holds; takes no locks."""
        return self._graph.held_by(owner.id)

    def dot(self) -> str:
        """Draw who waits for whom, in the DOT language; takes no locks."""
        return picture(self._graph)

    def dump(self) -> str:
        """Describe all locks and waits in lines for the log; takes no locks."""
        return dump(self._graph, self._clock())

    def _refuse(self, cycle: list[tuple[str, Blocker]]) -> Deadlock:
        error = deadlock(cycle, self._clock())
        logger.warning("%s\n%s", printable(error.message, _MAX_LOGGED), self.dump())
        return error


def _alive(owner: Owner) -> Owner:
    if owner.finished:
        raise CtldError(f"{owner.holder} has finished and takes no more locks")
    return owner


current_locks: Final[ContextVar[LockRegistry | None]] = ContextVar("current_locks", default=None)
"""The registry in which Lockables find their locks; set by whoever runs commands."""


class _StateLock:
    """One `async with` over a state lock."""

    __slots__ = ("_claim", "_entered", "_exclusive", "_locks", "_source", "_thing")
    _locks: LockRegistry
    _claim: LockClaim

    def __init__(self, thing: "Lockable", exclusive: bool) -> None:
        self._thing = thing
        self._exclusive = exclusive
        self._source = calling_source()
        self._entered = False

    async def __aenter__(self) -> None:
        locks = current_locks.get()
        if locks is None:
            raise CtldError(_NO_REGISTRY)
        if self._entered:
            raise CtldError(_ENTERED)
        self._entered = True
        self._locks = locks
        kind, name = self._thing.lock_resource()
        claim = locks.request(("state", kind, name), locks.owner(), exclusive=self._exclusive, source=self._source)
        self._claim = claim
        if claim.granted is not None:
            try:
                await locks.settle(claim)
            except BaseException:
                locks.release(claim)
                raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._locks.release(self._claim)


class _Manipulation:
    """One `async with` over manipulation locks."""

    def __init__(
        self, locks: LockRegistry, owner: Owner | None, keys: list[LockKey], waits: bool, on_wait: OnWait | None
    ) -> None:
        self._locks = locks
        self._owner = owner
        self._keys = keys
        self._waits = waits
        self._on_wait = on_wait
        self._source = calling_source()
        self._claims: list[LockClaim] = []
        self._entered = False

    async def __aenter__(self) -> None:
        if self._entered:
            raise CtldError(_ENTERED)
        self._entered = True
        owner = self._locks.owner() if self._owner is None else self._owner
        try:
            for key in self._keys:
                await self._take(key, owner)
        except BaseException:
            self._give_back()
            raise

    async def _take(self, key: LockKey, owner: Owner) -> None:
        obstacle = self._locks.holder(key)
        if obstacle is not None and obstacle.owner_id != owner.id and not self._waits:
            raise self._locks.locked(key, obstacle)
        claim = self._locks.request(key, owner, exclusive=True, source=self._source)
        self._claims.append(claim)  # from here on the block gives it back, held or waiting
        if claim.granted is not None and obstacle is not None and self._on_wait is not None:
            await self._on_wait(f"waiting: {self._locks.locked(key, obstacle)}")
        await self._locks.settle(claim)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._give_back()

    def _give_back(self) -> None:
        while self._claims:
            self._locks.release(self._claims.pop())


class _Resource:
    __slots__ = ()

    def lock_resource(self) -> tuple[str, str]:
        """Name the resource: its kind and its name, such as `("container", "tank:ct1")`.

        Objects that give the same answer are the same resource.
        """
        raise NotImplementedError(f"{type(self).__name__} must define lock_resource() -> (kind, name)")


class Lockable(_Resource):
    """Mixin: a resource with a short state lock, shared or exclusive.

    Fair: whoever comes first is served first, and no reader overtakes a writer that waits.
    Re-entrant per operation, where exclusive includes inclusive; the other way round raises
    `Deadlock`, because two operations that both tried would wait for each other.
    """

    __slots__ = ()

    def inclusively(self) -> AbstractAsyncContextManager[None]:
        """Share the lock with other readers for the time of an `async with` block."""
        return _StateLock(self, exclusive=False)

    def exclusively(self) -> AbstractAsyncContextManager[None]:
        """Have the lock alone for the time of an `async with` block."""
        return _StateLock(self, exclusive=True)


class Manipulable(_Resource):
    """Mixin: a resource that one long operation at a time may work on; see `Context.manipulate`."""

    __slots__ = ()
