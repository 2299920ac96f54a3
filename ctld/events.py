"""Events: what happens in the daemon, told to whoever listens.

Theory of operation.  `publish()` makes one frozen `Event`, keeps it in a ring for those
who come back, and puts a reference to it into the queue of every subscription that wants
it.  It never waits: it runs no code of a subscriber, it only appends and wakes.  Waking is
a future, and its callbacks run in a later turn of the loop, so the table of subscriptions
cannot change while `publish()` walks over it: nobody misses an event because another leaves.

A queue that is full loses its oldest event.  Thus there is at most one gap per queue and it
is always at its front, where three numbers describe it; and since all queues hold the newest
events, slow subscribers share them with the ring and with each other instead of each keeping
alive a past of its own.  The reader gets the gap as an event, in the place of what it missed.

Sequence numbers are dense, and start where the clock stood (in microseconds) when the bus
was made, so that they grow across restarts and a number from an earlier life of the daemon
is recognised: it is answered with a gap of unknown size, never with silence.

The bus belongs to one event loop: `publish()` and the subscriptions are used on its thread.
"""

import asyncio
import copy
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, islice
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from ctld.errors import CommandFailed, LocalProtocolError, ShuttingDown
from ctld.event_filter import EventFilter

__all__ = ["GAP", "QUEUE_SIZE", "RING_SIZE", "Event", "EventBus", "Subscription"]

GAP: Final = "gap"
"""The type of the event that stands for lost ones; no one else may publish it."""

# What one subscriber may leave unread.  A burst (a few hundred resources, each with a few
# events at the start of the daemon) fits; a queue of references to shared events costs 8 KiB.
QUEUE_SIZE: Final = 1024

# What a subscriber that comes back can catch up on: four full queues, so that one which
# overflowed can fetch what it lost.
RING_SIZE: Final = 4096


class Event(msgspec.Struct, frozen=True, gc=False):
    """Something happened.

    Attributes:
        type: What kind of thing.
        opts: Its details: plain JSON values.  They are shared by all who receive the event,
            so whoever published it must not change them afterwards.
        seq: Its number: each is greater than the one before, across restarts too.
        time: When, in seconds since the epoch.
    """

    type: str
    opts: Mapping[str, Any]
    seq: int
    time: float


def _gap(lost: tuple[int, int, int | None], now: float) -> Event:
    first, last, count = lost
    return Event(GAP, {"from": first, "to": last, "count": count}, last, now)


class Subscription:
    """One listener: a context manager, and within it an asynchronous iterator of events.

    It listens from `__enter__` to `__exit__`; what happens in between is queued whether or
    not somebody iterates.  One task at a time may wait in it.  Made by `EventBus.subscribe()`.
    """

    __slots__ = (
        "_bus",
        "_entered",
        "_error",
        "_left",
        "_lost",
        "_next",
        "_queue",
        "_room",
        "_waiter",
        "filter",
        "since",
    )

    def __init__(self, bus: "EventBus", wanted: EventFilter, since: int | None) -> None:
        self.filter = wanted
        self.since = since
        self._bus = bus
        self._queue: deque[Event] = deque()
        self._room = bus.queue_size
        # First and last number that was lost since the reader was last told, and how many
        # events that were; None for a number that nobody can know.
        self._lost: tuple[int, int, int | None] | None = None
        self._next: Event | None = None  # what the last gap has to be followed by
        self._waiter: asyncio.Future[None] | None = None
        self._error: CommandFailed | None = None
        self._entered = False
        self._left = False

    def __enter__(self) -> Self:
        """Start to listen.

        Raises:
            LocalProtocolError: It has been used before.
        """
        if self._entered:
            raise LocalProtocolError("a subscription is entered once")
        self._entered = True
        self._bus.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop to listen; the iterator ends."""
        self._left = True
        self._bus.discard(self)
        self._queue.clear()
        self._lost = self._next = None
        self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Return the next event, or the gap that stands for those that were lost.

        Raises:
            ShuttingDown: The bus was closed, and everything queued before has been read.
            LocalProtocolError: Another task waits already, or nobody entered the context.
        """
        if not self._entered:
            raise LocalProtocolError("a subscription listens from `with` on: enter it first")
        while True:
            if self._next is not None:
                event, self._next = self._next, None
                return event
            if self._lost is not None:
                return self._take_gap(self._lost)
            if self._queue:
                return self._take()
            if self._left:
                raise StopAsyncIteration
            if self._error is not None:
                raise copy.copy(self._error)  # each reader its own: a traceback belongs to one task
            await self._wait()

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise LocalProtocolError("another task is waiting for events of this subscription")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            # The future carries no event: a reader cancelled between waking and running loses none.
            await self._waiter
        finally:
            self._waiter = None

    def _take(self) -> Event:
        # A replay got room beyond the usual: it goes as the replay is read.
        self._room = max(self._room - 1, self._bus.queue_size)
        return self._queue.popleft()

    def _take_gap(self, lost: tuple[int, int, int | None]) -> Event:
        self._lost = None
        # What follows the gap is safe from now on: a reader slower than the publishers would
        # else find a new gap at the front each time, and never an event.
        self._next = self._take() if self._queue else None
        return _gap(lost, self._bus.clock())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def offer(self, event: Event) -> None:
        """Take a live event: the bus's side."""
        if not self.filter.opts or self.filter.wants(event.opts):
            if len(self._queue) >= self._room:
                self._lose(self._queue.popleft())
            self._queue.append(event)
            self._wake()

    def _lose(self, event: Event) -> None:
        if self._lost is None:
            self._lost = (event.seq, event.seq, 1)
        else:
            first, _, count = self._lost
            self._lost = (first, event.seq, None if count is None else count + 1)

    def replay(self, events: Iterable[Event], lost: tuple[int, int, int | None] | None) -> None:
        """Start with what was before: the bus's side.

        Args:
            events: Those of the past that the ring still has.
            lost: First and last number, and count if known, of those before that it has not.
        """
        self._lost = lost
        self._queue.extend(event for event in events if self.filter.matches(event.type, event.opts))
        # The replay is not held against the reader, who had no chance yet to read.
        self._room = self._bus.queue_size + len(self._queue)

    def end(self, error: CommandFailed) -> None:
        """Learn that there will be no more events: the bus's side."""
        self._error = error
        self._wake()


class EventBus:
    """Where events are published and subscribed to.

    Args:
        clock: Tells the time, in seconds since the epoch.
        queue_size: How many events one subscriber may leave unread.
        ring_size: How many past events are kept for `since`.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.time, queue_size: int = QUEUE_SIZE, ring_size: int = RING_SIZE
    ) -> None:
        self.clock = clock
        self.queue_size = queue_size
        self._ring: deque[Event] = deque(maxlen=ring_size)
        self._start = self._seq = int(clock() * 1_000_000)
        # Dictionaries are ordered sets here.  A type that nobody wants any more has no entry,
        # because clients choose the names.
        self._by_type: dict[str, dict[Subscription, None]] = {}
        self._of_all_types: dict[Subscription, None] = {}
        self._error: CommandFailed | None = None

    @property
    def last_seq(self) -> int:
        """The number of the newest event: take it, take a snapshot, and subscribe with it as `since`."""
        return self._seq

    def __len__(self) -> int:
        """Count the subscriptions."""
        return len({subscription for some in self._by_type.values() for subscription in some}) + len(self._of_all_types)

    def __bool__(self) -> bool:
        return True

    def publish(self, type: str, /, **opts: object) -> None:
        """Tell everybody who wants to know.

        Costs what the interested subscribers cost, waits for none of them, and does not fail
        on account of one.

        Args:
            type: What kind of thing happened; not `gap`.
            opts: Its details: plain JSON values that do not change any more.

        Raises:
            LocalProtocolError: The type is reserved.
        """
        if type == GAP:
            raise LocalProtocolError(f"events of type {GAP!r} are the bus's own")
        self._seq += 1
        event = Event(type, opts, self._seq, self.clock())
        self._ring.append(event)
        for subscription in self._by_type.get(type, ()):
            subscription.offer(event)
        for subscription in self._of_all_types:
            subscription.offer(event)

    def subscribe(
        self, *types: str, since: int | None = None, opts: Mapping[str, object] | None = None
    ) -> Subscription:
        """Prepare to listen: `with bus.subscribe("state") as events: async for event in events: ...`.

        Args:
            types: The wanted types; none: all of them.
            since: The number of the last event that is known already: what came after it is
                replayed, or a gap says what cannot be.
            opts: For each key the value that an event must have, or a list of such values.

        Raises:
            InvalidOptions: The filter cannot be used.
        """
        return Subscription(self, EventFilter.of(types, opts), since)

    def past(
        self, *types: str, since: int | None = None, opts: Mapping[str, object] | None = None, limit: int
    ) -> list[Event]:
        """Return events of the past, as far as the ring has them, the oldest first.

        Args:
            types: The wanted types; none: all of them.
            since: The number of the last event that is known: those that came next are
                returned, after a gap if some are gone; None: the newest.
            opts: For each key the value that an event must have, or a list of such values.
            limit: How many.

        Raises:
            InvalidOptions: The filter cannot be used.
        """
        wanted = EventFilter.of(types, opts)
        if since is None:
            fitting = (event for event in reversed(self._ring) if wanted.matches(event.type, event.opts))
            return [*islice(fitting, limit)][::-1]
        events, lost = self._past(since, selective=wanted.selective)
        gap = [] if lost is None else [_gap(lost, self.clock())]
        return [*islice(chain(gap, (event for event in events if wanted.matches(event.type, event.opts))), limit)]

    def close(self, error: CommandFailed | None = None) -> None:
        """End every subscription, now and to come, once what is queued has been read.

        Args:
            error: What the iterators raise then; by default `ShuttingDown`.
        """
        self._error = error or ShuttingDown("the daemon is shutting down")
        for some in (*self._by_type.values(), self._of_all_types):
            for subscription in some:
                subscription.end(self._error)
        self._by_type.clear()
        self._of_all_types.clear()

    def add(self, subscription: Subscription) -> None:
        """Let a subscription take part: its own side, used by `with`."""
        if subscription.since is not None:
            subscription.replay(*self._past(subscription.since, selective=subscription.filter.selective))
        if self._error is not None:
            subscription.end(self._error)
            return
        for some in self._places(subscription):
            some[subscription] = None

    def discard(self, subscription: Subscription) -> None:
        """Let a subscription leave: its own side, used by `with`."""
        for some in self._places(subscription):
            some.pop(subscription, None)
        for type in subscription.filter.types:
            if not self._by_type[type]:
                del self._by_type[type]

    def _places(self, subscription: Subscription) -> Iterable[dict[Subscription, None]]:
        if not subscription.filter.types:
            return (self._of_all_types,)
        return [self._by_type.setdefault(type, {}) for type in subscription.filter.types]

    def _past(self, since: int, *, selective: bool) -> tuple[Iterable[Event], tuple[int, int, int | None] | None]:
        """Return the events after `since` that the ring has, and what of them it has not.

        What is gone cannot be matched any more, so its number is known only to a subscription
        that wants everything; and never for a `since` of an earlier run.
        """
        gone = self._ring[0].seq - 1 if self._ring else self._seq  # the newest number that the ring has not
        if gone <= since <= self._seq:
            return islice(self._ring, since - gone, None), None
        counted = self._start <= since < gone and not selective
        # A number from the future is of a run whose clock was ahead: all that we know is news.
        return self._ring, (min(since + 1, gone), gone, gone - since if counted else None)
