"""The event bus: N6 of the native protocol, and the defects of the ancestor's (behaviour, 1.6)."""

import asyncio
import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from itertools import count

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctld.errors import Busy, InvalidOptions, LocalProtocolError, ShuttingDown
from ctld.event_filter import EventFilter
from ctld.events import GAP, QUEUE_SIZE, RING_SIZE, Event, EventBus, Subscription

START = 1_000_000


def bus(*, queue_size: int = 4, ring_size: int = 8) -> EventBus:
    """A bus whose numbers begin after START."""
    return EventBus(clock=lambda: 1.0, queue_size=queue_size, ring_size=ring_size)


def step(subscription: Subscription) -> Event | None:
    """Read one event as a coroutine without a loop would: None if it had to wait."""
    if subscription._next is None and subscription._lost is None and not subscription._queue:
        return None
    try:
        subscription.__anext__().send(None)
    except StopIteration as done:
        event = done.value
        assert isinstance(event, Event)
        return event
    raise AssertionError("it waits although there is something to read")


def drain(subscription: Subscription) -> Iterator[Event]:
    while (event := step(subscription)) is not None:
        yield event


def seqs(subscription: Subscription) -> list[int | str]:
    """What is there to read: numbers counted from the start, gaps as text."""
    return [
        f"{e.opts['from'] - START}-{e.opts['to'] - START}:{e.opts['count']}" if e.type == GAP else e.seq - START
        for e in drain(subscription)
    ]


# -- publishing and receiving ------------------------------------------------------------


async def test_n6_an_event_has_type_opts_seq_and_time():
    events = EventBus(clock=lambda: 1234.5)
    with events.subscribe() as subscription:
        events.publish("state", id="ct1", state="running")
        event = await anext(subscription)
    assert event == Event("state", {"id": "ct1", "state": "running"}, 1_234_500_001, 1234.5)
    assert json.loads(msgspec.json.encode(event)) == {
        "type": "state",
        "opts": {"id": "ct1", "state": "running"},
        "seq": 1_234_500_001,
        "time": 1234.5,
    }


def test_options_may_be_called_type_and_self():
    events = bus()
    with events.subscribe() as subscription:
        events.publish("x", type=1, self=2)
        assert [e.opts for e in drain(subscription)] == [{"type": 1, "self": 2}]


def test_n6_sequence_numbers_start_at_the_start_time_in_microseconds_and_grow_across_restarts():
    before = int(time.time() * 1_000_000)
    first = EventBus()
    assert before <= first.last_seq <= int(time.time() * 1_000_000)
    for _ in range(10):
        first.publish("x")
    later = EventBus(clock=lambda: time.time() + 1)
    assert later.last_seq > first.last_seq


async def test_a_reader_that_waits_is_woken():
    events = bus()
    with events.subscribe("x") as subscription:
        reader = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)
        assert not reader.done()
        events.publish("y")
        events.publish("x", n=1)
        events.publish("x", n=2)
        assert (await reader).opts == {"n": 1}
        assert (await anext(subscription)).opts == {"n": 2}


async def test_leaving_ends_the_iterator_even_of_another_task():
    events = bus()
    subscription = events.subscribe("x")

    async def read() -> list[Event]:
        return [event async for event in subscription]

    with subscription:
        reader = asyncio.create_task(read())
        await asyncio.sleep(0)
        events.publish("x")
        await asyncio.sleep(0)
    assert [e.seq for e in await reader] == [START + 1]
    assert len(events) == 0


async def test_misuse_is_refused_in_words():
    events = bus()
    subscription = events.subscribe("x")
    with pytest.raises(LocalProtocolError, match="enter it first"):
        await anext(subscription)
    with subscription:
        with pytest.raises(LocalProtocolError, match="entered once"), subscription:
            pass
        reader = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)
        with pytest.raises(LocalProtocolError, match="another task"):
            await anext(subscription)
        events.publish("x")
        assert (await reader).seq == START + 1  # the first reader was not disturbed
    with pytest.raises(LocalProtocolError, match="bus's own"):
        events.publish(GAP)


def test_a_bus_without_subscribers_is_still_a_bus():
    events = bus()
    assert events
    assert len(events) == 0


# -- cancellation and departure ----------------------------------------------------------


@pytest.mark.parametrize("wake_first", [True, False], ids=["woken, then cancelled", "cancelled, then published"])
async def test_a_cancelled_reader_leaves_no_trace_and_loses_nothing(wake_first: bool):
    events = bus()
    with events.subscribe("x") as subscription:
        reader = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0)
        if wake_first:
            events.publish("x", n=1)
            reader.cancel()
        else:
            reader.cancel()
            events.publish("x", n=1)
        await asyncio.wait([reader])
        assert reader.cancelled()
        assert subscription._waiter is None
        assert (await anext(subscription)).opts == {"n": 1}


async def test_defect_1_6_a_vanished_subscriber_whose_filter_never_matches_is_forgotten():
    events = bus()

    async def listen() -> None:
        with events.subscribe("never", opts={"id": "nothing"}) as subscription:
            async for _ in subscription:
                pytest.fail("nothing matches")

    listeners = [asyncio.create_task(listen()) for _ in range(20)]
    await asyncio.sleep(0)
    assert len(events) == 20
    events.publish("x")
    for listener in listeners:
        listener.cancel()
    await asyncio.wait(listeners)
    assert len(events) == 0
    assert not events._by_type  # not even the names of their types


async def test_defect_1_6_nobody_misses_an_event_because_another_leaves():
    events = bus(queue_size=QUEUE_SIZE)
    received: list[list[int]] = []

    async def stay() -> None:
        numbers: list[int] = []
        received.append(numbers)
        with events.subscribe() as subscription:
            async for event in subscription:
                numbers.append(event.opts["n"])
                if event.opts["n"] == 199:
                    return

    async def leave_after(n: int) -> None:
        with events.subscribe() as subscription:
            async for event in subscription:
                if event.opts["n"] == n:
                    return

    tasks = []
    for n in range(50):
        tasks += [asyncio.create_task(stay()), asyncio.create_task(leave_after(n * 3))]
    await asyncio.sleep(0)
    for n in range(200):
        events.publish("x", n=n)
        if n % 2:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert received == [list(range(200))] * 50


# -- filters -----------------------------------------------------------------------------


def test_defect_1_6_a_list_of_types_selects_these_types():
    events = bus()
    with events.subscribe("a", "b") as subscription:
        for type in ("a", "c", "b"):
            events.publish(type)
        assert [e.type for e in drain(subscription)] == ["a", "b"]


def test_n6_opts_are_equal_or_a_member_of_a_list():
    events = bus()
    with (
        events.subscribe(opts={"id": "ct1"}) as one,
        events.subscribe(opts={"id": ["ct1", "ct2"], "state": "up"}) as two,
        events.subscribe(opts={"id": []}) as none,
        events.subscribe("x", opts={"id": ["ct1"]}, since=START) as replayed,
    ):
        events.publish("x", id="ct1", state="down")
        events.publish("x", id="ct2", state="up")
        events.publish("x", state="up")
        events.publish("x", id=["ct1"], state="up")
        assert seqs(one) == [1]
        assert seqs(two) == [2]
        assert seqs(none) == []
        assert seqs(replayed) == [1]


def test_json_types_are_not_mixed_up():
    events = bus(queue_size=20)
    with (
        events.subscribe(opts={"v": 1}) as number,
        events.subscribe(opts={"v": True}) as true,
        events.subscribe(opts={"v": None}) as null,
        events.subscribe(opts={"v": "1"}) as text,
    ):
        for value in (1, 1.0, True, None, "1", [1], {"v": 1}):
            events.publish("x", v=value)
        events.publish("x")
        assert (seqs(number), seqs(true), seqs(null), seqs(text)) == ([1, 2], [3], [4], [5])


def test_a_filter_that_cannot_be_used_is_refused_before_anybody_listens():
    events = bus()
    with pytest.raises(InvalidOptions):
        events.subscribe(opts={"id": {"a": 1}})
    assert len(events) == 0


def test_publishing_survives_values_that_no_filter_expects():
    class Odd:
        __hash__ = None  # type: ignore[assignment]  # hostile on purpose

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("never compare me")

    deep: list[object] = []
    for _ in range(sys.getrecursionlimit() * 2):
        deep = [deep]
    events = bus()
    with events.subscribe(opts={"v": [1, "a", None]}) as subscription:
        events.publish("x", v=Odd())
        events.publish("x", v=deep)
        events.publish("x", v="a")
        assert seqs(subscription) == [3]


# -- overflow ----------------------------------------------------------------------------


def test_n6_on_overflow_one_gap_says_what_was_lost_in_its_place():
    events = bus(queue_size=4)
    with events.subscribe() as subscription:
        for _ in range(10):
            events.publish("x")
        gap = step(subscription)
        assert gap == Event(GAP, {"from": START + 1, "to": START + 6, "count": 6}, START + 6, 1.0)
        assert seqs(subscription) == [7, 8, 9, 10]
        events.publish("x")
        assert seqs(subscription) == [11]


def test_a_gap_counts_only_what_the_filter_wants():
    events = bus(queue_size=2, ring_size=20)
    with events.subscribe("x", opts={"n": [0, 2, 4, 6]}) as subscription:
        for n in range(8):
            events.publish("x", n=n)
            events.publish("y", n=n)
        assert seqs(subscription) == ["1-5:2", 9, 13]


def test_b39_what_was_lost_can_be_fetched_from_the_ring():
    events = EventBus()
    with events.subscribe() as slow:
        for n in range(QUEUE_SIZE * 3):
            events.publish("x", n=n)
        gap = step(slow)
    assert gap is not None
    assert gap.opts["count"] == QUEUE_SIZE * 2
    with events.subscribe(since=gap.opts["from"] - 1) as again:
        assert [e.opts["n"] for e in drain(again)] == list(range(QUEUE_SIZE * 3))


def test_a_reader_slower_than_the_publishers_still_gets_on():
    events = bus(queue_size=3)
    with events.subscribe() as slow:
        read = []
        for _ in range(6):
            for _ in range(5):
                events.publish("x")
            read.append(step(slow))
    assert [e.type if e else None for e in read] == [GAP, "x"] * 3
    assert [e.seq - START for e in read if e] == [2, 3, 12, 13, 22, 23]


async def test_publishing_never_blocks_on_a_subscriber_that_does_not_read():
    events = bus()
    with events.subscribe() as silent, events.subscribe() as reading:
        for n in range(100):
            events.publish("x", n=n)
            assert (await anext(reading)).opts == {"n": n}
        assert seqs(silent) == ["1-96:96", 97, 98, 99, 100]


def test_10_000_subscribers_that_never_read_cost_bounded_memory():
    """Queues grow on demand, hold references, and share the newest events."""
    events = EventBus()
    subscriptions = [events.subscribe(opts={"n": 1}) if i % 2 else events.subscribe() for i in range(10_000)]
    gc.collect()
    tracemalloc.start()
    try:
        for subscription in subscriptions:
            subscription.__enter__()
        for _ in range(4):
            events.publish("x", n=1, text="y" * 1000)
        few, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert few < 10_000 * 1000
    # The rest of the rule needs fewer of them: what each holds is a queue of references.
    for subscription in subscriptions[100:]:
        subscription.__exit__(None, None, None)
    for n in range(QUEUE_SIZE * 10):
        events.publish("x", n=1, number=n)
    assert all(len(s._queue) == QUEUE_SIZE for s in subscriptions[:100])
    assert len({id(event) for s in subscriptions[:100] for event in s._queue}) == QUEUE_SIZE
    for subscription in subscriptions[:100]:
        subscription.__exit__(None, None, None)
    assert len(events) == 0


# -- since -------------------------------------------------------------------------------


def test_n6_since_is_exclusive_and_replays_from_the_ring():
    events = bus(ring_size=8)
    for n in range(5):
        events.publish("x" if n % 2 else "y")
    with (
        events.subscribe(since=START + 2) as some,
        events.subscribe("x", since=START) as filtered,
        events.subscribe(since=events.last_seq) as nothing,
    ):
        events.publish("x")
        assert seqs(some) == [3, 4, 5, 6]
        assert seqs(filtered) == [2, 4, 6]
        assert seqs(nothing) == [6]


def test_n6_since_begins_with_a_gap_where_the_ring_does_not_reach():
    events = bus(ring_size=3)
    for _ in range(10):
        events.publish("x")
    with events.subscribe(since=START + 2) as everything, events.subscribe("x", since=START + 2) as filtered:
        assert seqs(everything) == ["3-7:5", 8, 9, 10]
        assert seqs(filtered) == ["3-7:None", 8, 9, 10]  # how many of the gone were of that type, nobody knows


@pytest.mark.parametrize("published", [0, 2, 10])
def test_since_of_an_earlier_run_begins_with_a_gap_of_unknown_size(published: int):
    events = bus(ring_size=3)
    for _ in range(published):
        events.publish("x")
    gone = max(published - 3, 0)
    with events.subscribe(since=5) as subscription:
        first = step(subscription)
        assert first is not None
        assert first.opts == {"from": 6, "to": START + gone, "count": None}
        assert seqs(subscription) == list(range(gone + 1, published + 1))


def test_since_from_the_future_means_the_clock_was_set_back():
    events = bus()
    events.publish("x")
    with events.subscribe(since=START * 2) as subscription:
        first = step(subscription)
        assert first is not None
        assert first.opts == {"from": START, "to": START, "count": None}
        events.publish("x")
        assert seqs(subscription) == [1, 2]


def test_since_on_an_empty_ring_of_the_same_run_is_no_gap():
    events = bus()
    with events.subscribe(since=events.last_seq) as subscription:
        assert seqs(subscription) == []


def test_b40_snapshot_then_subscribe_misses_nothing_and_repeats_nothing():
    events = bus()
    state: list[int] = []

    def change(n: int) -> None:
        state.append(n)
        events.publish("x", n=n)

    change(1)
    seq, snapshot = events.last_seq, list(state)
    change(2)
    with events.subscribe(since=seq) as subscription:
        change(3)
        assert snapshot + [e.opts["n"] for e in drain(subscription)] == [1, 2, 3]


def test_a_replay_longer_than_the_queue_is_not_lost_before_it_could_be_read():
    events = EventBus()
    first = events.last_seq
    for n in range(RING_SIZE):
        events.publish("x", n=n)
    with events.subscribe(since=first) as subscription:
        for n in range(QUEUE_SIZE):
            events.publish("x", n=RING_SIZE + n)
        assert [e.opts["n"] for e in drain(subscription)] == list(range(RING_SIZE + QUEUE_SIZE))
        for n in range(QUEUE_SIZE + 1):  # the extra room is used up by now
            events.publish("x", n=n)
        gap = step(subscription)
        assert gap is not None
        assert gap.opts["count"] == 1


# -- accounting, as a property -------------------------------------------------------------

actions = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from("xy"), st.integers(1, 4)),
        st.tuples(st.just("read"), st.just(""), st.integers(1, 3)),
    ),
    max_size=30,
)


@given(
    before=st.integers(0, 12),
    script=actions,
    queue_size=st.integers(1, 4),
    ring_size=st.integers(1, 6),
    since=st.none() | st.integers(0, 14),
    types=st.sampled_from([(), ("x",)]),
)
@settings(max_examples=400, deadline=None)
def test_no_event_is_both_delivered_and_lost_and_none_vanishes(
    before: int,
    script: list[tuple[str, str, int]],
    queue_size: int,
    ring_size: int,
    since: int | None,
    types: tuple[str],
):
    events = bus(queue_size=queue_size, ring_size=ring_size)
    published: list[tuple[int, str]] = []

    def publish(type: str) -> None:
        events.publish(type)
        published.append((events.last_seq, type))

    for n in range(before):
        publish("xy"[n % 2])
    since = None if since is None else START + min(since, before)
    begin = START + before if since is None else since
    received: list[Event] = []
    with events.subscribe(*types, since=since) as subscription:
        for action, type, times in script:
            for _ in range(times):
                if action == "publish":
                    publish(type)
                elif (event := step(subscription)) is not None:
                    received.append(event)
        received += drain(subscription)
    wanted = {seq for seq, type in published if seq > begin and (not types or type in types)}
    delivered = [e.seq for e in received if e.type != GAP]
    lost: set[int] = set()
    for gap in (e for e in received if e.type == GAP):
        inside = {seq for seq in wanted if gap.opts["from"] <= seq <= gap.opts["to"]}
        assert gap.opts["from"] <= gap.opts["to"] == gap.seq
        assert gap.opts["count"] in (None, len(inside))
        assert not inside & lost
        lost |= inside
        if gap.opts["count"] is None:
            assert types
            assert gap is received[0]
    assert len(set(delivered)) == len(delivered)
    assert not lost & set(delivered)
    assert lost | set(delivered) == wanted
    assert [e.seq for e in received] == sorted(e.seq for e in received)


# -- the end -------------------------------------------------------------------------------


async def test_n6_closing_ends_every_subscriber_with_shutting_down_after_what_was_queued():
    events = bus()
    with events.subscribe() as all_types, events.subscribe("x") as waiting, events.subscribe("bye") as one:
        waiter = asyncio.create_task(anext(waiting))
        await asyncio.sleep(0)
        events.publish("bye")
        events.close()
        with pytest.raises(ShuttingDown, match="shutting down"):
            await waiter
        for subscription in (all_types, one):
            assert (await anext(subscription)).type == "bye"
            for _ in range(2):
                with pytest.raises(ShuttingDown):
                    await anext(subscription)
        events.publish("x")  # commands still end, and say so
        assert len(events) == 0
    with events.subscribe("x", since=START) as late:
        assert (await anext(late)).type == "x"
        with pytest.raises(ShuttingDown):
            await anext(late)


async def test_every_reader_gets_an_error_of_its_own():
    events = bus()
    given = Busy("later", retry=5)
    with events.subscribe() as one, events.subscribe("x") as two:
        events.close(given)
        caught = []
        for subscription in (one, two):
            with pytest.raises(Busy, match="later") as info:
                await anext(subscription)
            caught.append(info.value)
    assert caught[0] is not caught[1] is not given
    assert [e.fields for e in caught] == [{"retry": 5}] * 2
    assert given.__traceback__ is None


def test_publishing_costs_what_the_interested_cost():
    """A subscriber of another type is not even asked."""
    events = bus()
    asked = count()

    class Watched(EventFilter, frozen=True):
        def wants(self, opts: Mapping[str, object]) -> bool:
            next(asked)
            return False

    with Subscription(events, Watched.of(["x"], {"a": 1}), None):
        events.publish("y", a=1)
        assert next(asked) == 0
        events.publish("x", a=1)
        assert next(asked) == 2


# --- the past, without a subscription ---


def test_the_past_is_the_newest_in_order():
    events = bus(ring_size=8)
    for n in range(20):
        events.publish("odd" if n % 2 else "even", n=n)
    assert [event.opts["n"] for event in events.past(limit=3)] == [17, 18, 19]
    assert [event.opts["n"] for event in events.past("odd", limit=2)] == [17, 19]
    assert [event.opts["n"] for event in events.past(opts={"n": [12, 14, 3]}, limit=9)] == [12, 14]
    assert events.past("none", limit=9) == []


def test_the_past_since_a_number_goes_on_there_or_begins_with_a_gap():
    events = bus(ring_size=8)
    for n in range(20):
        events.publish("n", n=n)
    assert [event.opts["n"] for event in events.past(since=START + 18, limit=9)] == [18, 19]
    assert [event.opts["n"] for event in events.past(since=START + 14, limit=2)] == [14, 15]
    assert events.past(since=events.last_seq, limit=9) == []
    gap, *rest = events.past(since=START + 3, limit=4)
    assert (gap.type, gap.opts) == (GAP, {"from": START + 4, "to": START + 12, "count": 9})
    assert [event.opts["n"] for event in rest] == [12, 13, 14], "the gap counts among the limit"
    assert events.past("n", since=5, limit=1)[0].opts["count"] is None


def test_the_past_checks_its_filter():
    with pytest.raises(InvalidOptions, match="plain value"):
        bus().past(opts={"a": {}}, limit=1)
