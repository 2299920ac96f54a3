"""What people see of locks: rows, pictures, log lines, and the text of a deadlock."""

import inspect
from contextlib import contextmanager

import pytest

from ctld.lock_queue import LockKey
from ctld.lock_report import LockClaim, LockRow, calling_source, deadlock, dump, picture, rows
from ctld.peer import Peer
from ctld.wait_graph import WaitGraph
from tests.locks.owners import Operation

CT1: LockKey = ("state", "container", "ct1")
CT2: LockKey = ("state", "container", "ct2")
MANIPULATED: LockKey = ("manipulation", "container", "ct1")


@pytest.fixture
def graph() -> WaitGraph[LockClaim]:
    return WaitGraph()


@pytest.fixture
def stop() -> Operation:
    return Operation("ct_stop", Peer(name="alice"), id="op-stop", started=10.0, cli="osctl ct stop ct1")


@pytest.fixture
def start() -> Operation:
    return Operation("ct_start", Peer(uid=1001), id="op-start", started=20.0)


def ask(graph, owner, key, *, exclusive=True, now=100.0) -> LockClaim:
    claim = LockClaim(owner, exclusive, now, calling_source())
    graph.request(key, claim)
    return claim


def line_of_caller() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_nothing_to_show(graph):
    assert rows(graph, 100.0) == []
    assert dump(graph, 100.0) == ""
    assert picture(graph) == "digraph locks {\n}\n"


def test_a_row_says_who_holds_what_since_when_and_where(graph, stop):
    claim = LockClaim(stop, True, 100.0, calling_source())
    line = line_of_caller() - 1
    graph.request(CT1, claim)
    assert rows(graph, 102.5) == [
        LockRow(
            kind="container",
            name="ct1",
            type="exclusive",
            state="held",
            holder="'osctl ct stop ct1'",
            peer="alice",
            age=2.5,
            source=f"test_lock_report.py:{line}",
            operation="op-stop",
        )
    ]


def test_rows_are_sorted_by_resource_holders_first(graph, stop, start):
    ask(graph, start, CT2, exclusive=False)
    ask(graph, stop, CT1)
    ask(graph, start, CT1, exclusive=False)
    ask(graph, start, MANIPULATED)
    assert [(row.name, row.type, row.state, row.operation) for row in rows(graph, 100.0)] == [
        ("ct1", "manipulation", "held", "op-start"),
        ("ct1", "exclusive", "held", "op-stop"),
        ("ct1", "inclusive", "waiting", "op-start"),
        ("ct2", "inclusive", "held", "op-start"),
    ]


def test_a_wait_for_an_operation_is_a_row_too(graph, stop, start):
    graph.await_operation(LockClaim(stop, False, 100.0, calling_source()), LockClaim(start, True, 0, calling_source()))
    (row,) = rows(graph, 101.0)
    assert (row.kind, row.name, row.type, row.state, row.operation) == (
        "operation", "op-start", "operation", "waiting", "op-stop",
    )  # fmt: skip


def test_the_source_is_the_caller_behind_contextlib():
    @contextmanager
    def helper():
        yield calling_source_from_contextlib()

    def calling_source_from_contextlib():
        # what `ctld.locks` does: it is a go-between itself
        namespace = {"__name__": "ctld.locks", "calling_source": calling_source}
        exec("def take():\n    return calling_source()", namespace)
        return namespace["take"]()

    with helper() as (code, _):
        assert code.co_name == "calling_source_from_contextlib"


def test_the_walk_to_the_caller_is_bounded():
    namespace = {"__name__": "ctld.locks", "calling_source": calling_source}
    exec("def take(n):\n    return take(n - 1) if n else calling_source()", namespace)
    code, _ = namespace["take"](5)
    assert code.co_name == "test_the_walk_to_the_caller_is_bounded"
    code, _ = namespace["take"](500)
    assert code.co_name == "take"


def test_a_position_that_belongs_to_no_line_is_shown_as_its_function(graph, stop):
    # a position that belongs to no line, as compilers make for what they add themselves
    code, _ = calling_source()
    graph.request(CT1, LockClaim(stop, True, 0.0, (code, 10**6)))
    assert rows(graph, 0.0)[0].source == f"test_lock_report.py:{code.co_firstlineno}"


def test_the_dump_has_a_line_for_each_row(graph, stop, start):
    ask(graph, stop, CT1)
    ask(graph, start, CT1, now=101.0)
    held, waiting = dump(graph, 102.0).splitlines()
    assert held.startswith(
        "container ct1: exclusive held by 'osctl ct stop ct1' (alice, operation op-stop) for 2.000 s at test_lock_"
    )
    assert waiting.startswith("container ct1: exclusive waiting by ct_start (uid 1001, operation op-start) for 1.000 s")


def test_no_name_forges_a_log_line(graph):
    liar = Operation("x", Peer(name="m\nroot"), id="i\nd", cli="stop\nERROR forged\x1b[2J")
    ask(graph, liar, ("state", "container\n", "a\rb"))
    text = dump(graph, 100.0)
    assert len(text.splitlines()) == 1
    assert text.isprintable()


def test_the_dump_is_bounded(graph, stop):
    for number in range(250):
        ask(graph, stop, ("state", "container", f"{number:03}"))
    lines = dump(graph, 100.0).splitlines()
    assert len(lines) == 201
    assert lines[-1] == "and 50 more"


def test_the_picture_names_parties_and_what_they_wait_for(graph, stop, start):
    ask(graph, stop, CT1)
    ask(graph, start, CT1, exclusive=False)
    graph.await_operation(LockClaim(stop, False, 0.0, calling_source()), LockClaim(start, True, 0.0, calling_source()))
    assert picture(graph).splitlines() == [
        "digraph locks {",
        '  "op-start" [label="ct_start\\nuid 1001\\nop-start"];',
        '  "op-stop" [label="\'osctl ct stop ct1\'\\nalice\\nop-stop"];',
        '  "op-start" -> "op-stop" [label="container ct1 (inclusive)"];',
        '  "op-stop" -> "op-start" [label="the end of operation op-start"];',
        "}",
    ]


def test_no_name_adds_lines_to_the_picture(graph, start):
    ask(graph, start, CT1)
    ask(graph, Operation('"\n}', Peer(name='\\"\n')), CT1)
    assert len(picture(graph).splitlines()) == 5


def test_a_deadlock_names_the_cycle_for_programs_and_for_people(graph, stop, start):
    ask(graph, stop, CT1)
    ask(graph, start, CT2)
    ask(graph, start, MANIPULATED)
    ask(graph, stop, MANIPULATED)
    ask(graph, start, CT1, exclusive=False)
    cycle = graph.cycle("op-start")
    assert cycle is not None
    error = deadlock(cycle, 100.0)
    assert error.code == "deadlock"
    assert error.fields["cycle"] == [
        {"command": "ct_start", "resource": "container ct1", "lock": "inclusive", "caller": "uid 1001", "age": 80.0},
        {"command": "ct_stop", "resource": "container ct1", "lock": "manipulation", "caller": "alice", "age": 90.0},
    ]
    assert str(error) == (
        "deadlock: ct_start would wait for container ct1 (inclusive), blocked by 'osctl ct stop ct1'; "
        "'osctl ct stop ct1' waits for container ct1 (manipulation), blocked by ct_start"
    )


def test_a_deadlock_by_waiting_for_operations(graph, stop, start):
    graph.await_operation(LockClaim(stop, False, 0.0, calling_source()), LockClaim(start, True, 0.0, calling_source()))
    graph.await_operation(LockClaim(start, False, 0.0, calling_source()), LockClaim(stop, True, 0.0, calling_source()))
    error = deadlock(graph.cycle("op-start"), 100.0)
    assert [(party["resource"], party["lock"]) for party in error.fields["cycle"]] == [
        ("operation op-stop", "operation"),
        ("operation op-start", "operation"),
    ]
    assert str(error) == (
        "deadlock: ct_start would wait for the end of operation op-stop, blocked by 'osctl ct stop ct1'; "
        "'osctl ct stop ct1' waits for the end of operation op-start, blocked by ct_start"
    )


def test_waiting_for_oneself_has_its_own_sentence(graph, start):
    claims = [LockClaim(start, False, 0.0, calling_source()) for _ in range(2)]
    graph.await_operation(*claims)
    assert str(deadlock(graph.cycle("op-start"), 100.0)) == "deadlock: ct_start would wait for its own end"


def test_an_upgrade_has_its_own_sentence(graph, start):
    ask(graph, start, CT1, exclusive=False)
    ask(graph, start, CT1)
    error = deadlock(graph.cycle("op-start"), 100.0)
    assert str(error) == (
        "deadlock: ct_start wants container ct1 (exclusive) and has it inclusively already: take it exclusively first"
    )
    assert [party["lock"] for party in error.fields["cycle"]] == ["exclusive"]


def test_a_long_cycle_is_complete_in_the_fields_and_short_in_the_message(graph):
    ring = [Operation(f"c{number}") for number in range(30)]
    for number, owner in enumerate(ring):
        ask(graph, owner, ("state", "ct", str(number)))
    for number, owner in enumerate(ring):
        ask(graph, owner, ("state", "ct", str((number + 1) % 30)))
    error = deadlock(graph.cycle(ring[-1].id), 100.0)
    assert len(error.fields["cycle"]) == 30
    steps = str(error).split("; ")
    assert len(steps) == 9
    assert steps[-2] == "and so on for 22 more"
    assert steps[-1] == "c28 waits for ct 29 (exclusive), blocked by c29"
