"""The cycle search against brute force, the graph against a model of all locks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctld.lock_queue import Claim, LockKey
from ctld.wait_graph import OperationWait, WaitGraph, dot, find_cycle, printable
from tests.locks.model import Model, Wish

KEYS: list[LockKey] = [("state", "ct", "a"), ("state", "ct", "b"), ("manipulation", "ct", "a")]
OWNERS = ["P", "Q", "R", "S"]


# --- find_cycle ---


def search(edges: set[tuple[int, int]], start: int) -> list[tuple[int, str]] | None:
    return find_cycle(start, lambda node: ((b, f"{a}->{b}") for a, b in sorted(edges) if a == node))


def distances_back(edges: set[tuple[int, int]], start: int) -> int | None:
    """The length of the shortest walk from `start` to itself, by stepping sets of nodes."""
    here = {start}
    for length in range(1, len(edges) + 1):
        here = {b for a, b in edges if a in here}
        if start in here:
            return length
    return None


@settings(max_examples=1000, deadline=None)
@given(edges=st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20), start=st.integers(0, 6))
def test_cycle_search_agrees_with_brute_force(edges, start):
    cycle, length = search(edges, start), distances_back(edges, start)
    assert (cycle is None) == (length is None)
    if cycle is not None:
        nodes = [node for node, _ in cycle]
        assert nodes[0] == start
        assert len(nodes) == len(set(nodes)) == length
        assert [label for _, label in cycle] == [
            f"{a}->{b}" for a, b in zip(nodes, [*nodes[1:], start], strict=True) if (a, b) in edges
        ]


def test_a_cycle_that_does_not_touch_the_waiter_is_none_of_its_business():
    assert search({(0, 1), (1, 2), (2, 1)}, 0) is None


def test_waiting_for_oneself_is_the_shortest_cycle():
    assert search({(0, 0), (0, 1), (1, 0)}, 0) == [(0, "0->0")]


def test_a_long_chain_needs_no_recursion():
    cycle = find_cycle(0, lambda node: [((node + 1) % 50_000, node)])
    assert cycle is not None
    assert len(cycle) == 50_000


# --- the graph of all locks against the model ---


@dataclass
class Live:
    claim: Claim
    wish: Wish


class Script:
    """Does everything twice, to the graph and to the model, and compares after every step."""

    def __init__(self) -> None:
        self.graph: WaitGraph[Claim] = WaitGraph()
        self.model = Model()
        self.live: list[Live] = []
        self.awaits: list[tuple[OperationWait[Claim], tuple[str, str]]] = []

    def request(self, owner: str, key: LockKey, exclusive: bool) -> None:
        claim, wish = Claim(owner, exclusive), Wish(owner, exclusive)
        expected = self.model.request(key, wish)
        if self.graph.request(key, claim):
            assert expected == "held"
        elif cycle := self.graph.cycle(owner):
            assert expected == "deadlock"
            self.check_cycle(cycle, owner)
            assert self.graph.withdraw(claim) == []
            return
        else:
            assert expected == "waiting"
        self.live.append(Live(claim, wish))

    def check_cycle(self, cycle: list, owner: str) -> None:
        edges = {(waiter, blocker) for waiter in OWNERS for blocker, _ in self.graph.waits(waiter)}
        owners = [waiter for waiter, _ in cycle]
        assert owners[0] == owner
        assert set(zip(owners, [*owners[1:], owner], strict=True)) <= edges
        assert len(set(owners)) == len(owners)

    def withdraw(self, number: int) -> None:
        if self.live:
            ended = self.live.pop(number % len(self.live))
            waiting = [live for live in self.live if not live.claim.party.holds]
            granted = self.graph.withdraw(ended.claim)
            self.model.withdraw(ended.wish)
            assert {id(claim) for claim in granted} == {id(live.claim) for live in waiting if live.claim.party.holds}

    def await_operation(self, waiter: str, target: str) -> None:
        wait = self.graph.await_operation(Claim(waiter, False), Claim(target, True))
        if cycle := self.graph.cycle(waiter):
            self.check_cycle(cycle, waiter)
            self.graph.end_await(wait)
            assert not self.model.await_operation(waiter, target)
        else:
            assert self.model.await_operation(waiter, target)
            self.awaits.append((wait, (waiter, target)))

    def end_await(self, number: int) -> None:
        if self.awaits:
            wait, edge = self.awaits.pop(number % len(self.awaits))
            self.graph.end_await(wait)
            self.model.awaits.remove(edge)

    def compare(self) -> None:
        held = {id(wish) for lock in self.model.locks.values() for wish in lock.held}
        assert {id(live.wish) for live in self.live if live.claim.party.holds} == held
        edges = {(owner, blocker) for owner in OWNERS for blocker, _ in self.graph.waits(owner)}
        assert edges == self.model.edges()
        assert self.model.reachable() == set(self.reached_by_nearest())
        assert not self.model.has_cycle(), "a cycle arose without a new wait"

    def reached_by_nearest(self) -> Iterator[tuple[str, str]]:
        for owner in OWNERS:
            todo = [blocker for blocker, _ in self.graph.nearest_waits(owner)]
            seen: set[str] = set()
            while todo:
                if (node := todo.pop()) not in seen:
                    seen.add(node)
                    todo += [blocker for blocker, _ in self.graph.nearest_waits(node)]
            yield from ((owner, node) for node in seen)

    def end(self) -> None:
        while self.live:
            self.withdraw(0)
        while self.awaits:
            self.end_await(0)
        assert not self.graph.locks
        assert not list(self.graph.owners())
        assert not list(self.graph.operation_waits())


owners = st.sampled_from(OWNERS)
steps = st.one_of(
    st.tuples(st.just("request"), owners, st.sampled_from(KEYS), st.booleans()),
    st.tuples(st.just("request"), owners, st.sampled_from(KEYS), st.booleans()),
    st.tuples(st.just("withdraw"), st.integers(0, 30)),
    st.tuples(st.just("await_operation"), owners, owners),
    st.tuples(st.just("end_await"), st.integers(0, 30)),
)


@settings(max_examples=1000, deadline=None)
@given(script=st.lists(steps, min_size=8, max_size=32))  # Hypothesis makes lists of about twice the least size
def test_random_scripts_agree_with_the_model(script):
    both = Script()
    for name, *arguments in script:
        getattr(both, name)(*arguments)
        both.compare()
    both.end()


# --- walks by hand: what a model with the same mistake would not show ---


@pytest.fixture
def graph() -> WaitGraph[Claim]:
    return WaitGraph()


def ask(graph: WaitGraph[Claim], owner: str, key: LockKey, *, exclusive: bool = True) -> Claim:
    claim = Claim(owner, exclusive)
    graph.request(key, claim)
    return claim


def around(cycle: list | None) -> list[tuple[str, LockKey]] | None:
    return cycle and [(owner, wait.key) for owner, wait in cycle]


def test_two_locks_in_opposite_order(graph):
    a, b, _ = KEYS
    ask(graph, "P", a)
    ask(graph, "Q", b)
    ask(graph, "P", b)
    assert graph.cycle("P") is None
    ask(graph, "Q", a)
    assert around(graph.cycle("Q")) == [("Q", a), ("P", b)]


def test_a_shared_lock_blocks_by_each_of_its_holders(graph):
    a, b, _ = KEYS
    for owner in ("P", "Q", "R"):
        ask(graph, owner, a, exclusive=False)
    ask(graph, "S", b)
    ask(graph, "S", a)
    assert graph.cycle("S") is None
    ask(graph, "R", b, exclusive=False)
    assert around(graph.cycle("R")) == [("R", b), ("S", a)]


def test_a_reader_behind_a_queued_writer_waits_for_the_writer(graph):
    a, b, _ = KEYS
    ask(graph, "P", a, exclusive=False)
    ask(graph, "R", b)
    ask(graph, "Q", a)
    ask(graph, "R", a, exclusive=False)  # readers hold it, yet R queues behind Q
    assert graph.cycle("R") is None
    ask(graph, "P", b)  # P -> R -> Q -> P
    assert around(graph.cycle("P")) == [("P", b), ("R", a), ("Q", a)]


def test_a_reader_does_not_wait_for_the_readers_before_it(graph):
    a, b, _ = KEYS
    ask(graph, "P", a)
    ask(graph, "Q", a, exclusive=False)
    ask(graph, "R", b)
    ask(graph, "R", a, exclusive=False)
    ask(graph, "Q", b)
    assert graph.cycle("Q") is None


def test_the_named_cycle_leaves_out_a_queue_that_is_not_part_of_it(graph):
    a, b, _ = KEYS
    ask(graph, "P", a)
    ask(graph, "Q", b)
    for owner in ("R", "S", "T"):
        ask(graph, owner, a)
    ask(graph, "P", b)
    ask(graph, "Q", a)
    assert around(graph.cycle("Q")) == [("Q", a), ("P", b)]


def test_waiting_for_an_operation_that_waits_for_my_lock(graph):
    a = KEYS[0]
    ask(graph, "P", a)
    ask(graph, "Q", a)
    graph.await_operation(Claim("P", False), Claim("Q", True))
    assert around(graph.cycle("P")) == [("P", ("operation", "operation", "Q")), ("Q", a)]


def test_two_operations_that_wait_for_each_other(graph):
    graph.await_operation(Claim("P", False), Claim("Q", True))
    assert graph.cycle("P") is None
    graph.await_operation(Claim("Q", False), Claim("P", True))
    assert around(graph.cycle("Q")) == [
        ("Q", ("operation", "operation", "P")),
        ("P", ("operation", "operation", "Q")),
    ]


def test_one_owner_may_wait_twice_for_the_same_operation(graph):
    first = graph.await_operation(Claim("P", False), Claim("Q", True))
    second = graph.await_operation(Claim("P", False), Claim("Q", True))
    graph.end_await(first)
    assert list(graph.operation_waits()) == [second]
    assert list(graph.waits("P")) == [("Q", second)]
    graph.end_await(second)
    assert list(graph.owners()) == []


def test_a_queue_of_thousands_costs_a_search_in_proportion(graph):
    """A search over all n * n / 2 edges of this queue would make the test time out."""
    a, b, _ = KEYS
    ask(graph, "waits for P's lock", b)
    ask(graph, "P", KEYS[2], exclusive=False)
    ask(graph, "P waits", KEYS[2])
    ask(graph, "holder", a)
    visited = 0
    for number in range(3000):
        ask(graph, f"{number}", a)
    ask(graph, "P", a)

    def counted(owner: str) -> Iterator:
        nonlocal visited
        for edge in graph.nearest_waits(owner):
            visited += 1
            yield edge

    assert find_cycle("P", counted) is None
    assert visited == 3001
    assert graph.cycle("P") is None


# --- text ---


def test_dot_of_nothing():
    assert dot({}, []) == "digraph locks {\n}\n"


def test_dot_has_a_line_for_each_node_and_edge():
    assert dot({"1": "stop\nalice", "2": "start"}, [("1", "2", "ct a (exclusive)")]) == (
        'digraph locks {\n  "1" [label="stop\\nalice"];\n  "2" [label="start"];\n'
        '  "1" -> "2" [label="ct a (exclusive)"];\n}\n'
    )


def test_names_cannot_break_out_of_the_picture():
    text = dot({"x": 'a"]; evil [label="\\N'}, [])
    assert text == 'digraph locks {\n  "x" [label="a\\"]; evil [label=\\"\\\\N"];\n}\n'


QUOTED = r'"(?:[^"\\\n]|\\["\\n])*"'


@given(name=st.text(), label=st.text())
def test_any_name_stays_one_quoted_string(name, label):
    picture = dot({printable(name): printable(label)}, [(printable(name), printable(name), printable(label))])
    first, node, edge, last = picture.splitlines()
    assert (first, last) == ("digraph locks {", "}")
    assert re.fullmatch(rf"  {QUOTED} \[label={QUOTED}\];", node)
    assert re.fullmatch(rf"  {QUOTED} -> {QUOTED} \[label={QUOTED}\];", edge)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("osctl ct stop ct1", "osctl ct stop ct1"),
        ("žluťoučký", "žluťoučký"),
        ("a\nb\x1b[31m\x00", "a\\nb\\x1b[31m\\x00"),
        ("\u202eevil", "\\u202eevil"),
        ("\udc80", "\\udc80"),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 197 + "..."),
    ],
)
def test_names_from_outside_are_made_printable(text, shown):
    assert printable(text) == shown


def test_a_larger_limit_shows_more():
    assert printable("x" * 300, 300) == "x" * 300


def test_what_an_owner_holds():
    graph: WaitGraph[Claim] = WaitGraph()
    held, queued = Claim("P", True), Claim("Q", True)
    assert graph.held_by("P") == []
    graph.request(KEYS[0], held)
    graph.request(KEYS[0], queued)
    assert graph.held_by("P") == [KEYS[0]]
    assert graph.held_by("Q") == [], "who waits does not hold"
    graph.withdraw(held)
    assert (graph.held_by("P"), graph.held_by("Q")) == ([], [KEYS[0]])
