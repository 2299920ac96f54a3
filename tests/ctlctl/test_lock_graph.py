"""ctlctl.lock_graph: locks as a tree."""

from typing import Any

from ctlctl.lock_graph import picture
from tests.ctlctl.running import Run, answering


def row(operation: str, state: str, name: str, kind: str = "vm", **more: Any) -> dict[str, Any]:
    base = {"kind": kind, "name": name, "type": "exclusive", "state": state, "holder": f"'do {operation}'"}
    return base | {"peer": "root", "age": 3.0, "source": "vm.py:7", "operation": operation} | more


def test_who_waits_stands_below_the_one_it_waits_for() -> None:
    rows = [
        row("c", "waiting", "two"),
        row("a", "held", "one"),
        row("b", "waiting", "one", age=1.0),
        row("b", "held", "two"),
        row("d", "waiting", "one", source=""),
        row("e", "held", "three", type="manipulation"),
        row("f", "waiting", "three"),
    ]
    assert picture(rows).splitlines() == [
        "'do a' [a] of root",
        "│ holds vm one (exclusive, 3 s, vm.py:7)",
        "├─ 'do b' [b] of root: waits for vm one (exclusive, 1 s, vm.py:7)",
        "│  │ holds vm two (exclusive, 3 s, vm.py:7)",
        "│  └─ 'do c' [c] of root: waits for vm two (exclusive, 3 s, vm.py:7)",
        "└─ 'do d' [d] of root: waits for vm one (exclusive, 3 s)",
        "'do e' [e] of root",
        "  holds vm three (manipulation, 3 s, vm.py:7)",
        "'do f' [f] of root",
    ]


def test_who_waits_for_an_operation() -> None:
    rows = [row("a", "held", "one"), row("b", "waiting", "a", "operation", type="operation", age=None)]
    assert picture(rows).splitlines()[2] == "└─ 'do b' [b] of root: waits for operation a (vm.py:7)"


def test_a_circle_ends() -> None:
    rows = [
        row("a", "held", "one"),
        row("a", "waiting", "two"),
        row("b", "held", "two"),
        row("b", "waiting", "one"),
    ]
    text = picture(rows)
    assert text.count("(above: this is a circle)") == 1
    assert text.splitlines()[0] == "'do a' [a] of root"


def test_who_waits_for_two_stands_below_both_and_is_no_circle() -> None:
    rows = [
        row("a", "held", "one", type="shared"),
        row("b", "held", "one", type="shared"),
        row("c", "waiting", "one"),
        row("c", "held", "two"),
        row("d", "waiting", "two"),
    ]
    assert [line.partition("(")[0].rstrip() for line in picture(rows).splitlines()] == [
        "'do a' [a] of root",
        "│ holds vm one",
        "└─ 'do c' [c] of root: waits for vm one",
        "   │ holds vm two",
        "   └─ 'do d' [d] of root: waits for vm two",
        "'do b' [b] of root",
        "│ holds vm one",
        "└─ 'do c' [c] of root",
    ]
    assert picture(rows).splitlines()[-1].endswith("(as elsewhere): waits for vm one (exclusive, 3 s, vm.py:7)")
    assert "circle" not in picture(rows)


def test_an_upgrade_is_drawn_below_the_others_that_hold_the_lock() -> None:
    rows = [
        row("a", "held", "one", type="shared"),
        row("b", "held", "one", type="shared"),
        row("a", "waiting", "one"),
    ]
    lines = picture(rows).splitlines()
    assert lines[0] == "'do b' [b] of root"
    assert lines[2] == "└─ 'do a' [a] of root: waits for vm one (exclusive, 3 s, vm.py:7)"
    assert len(lines) == 4


def chain(links: int) -> list[dict[str, Any]]:
    """Everybody holds a lock, and waits for that of the one before."""
    held = [row(f"o{number}", "held", f"l{number}") for number in range(links + 1)]
    return held + [row(f"o{number}", "waiting", f"l{number - 1}") for number in range(1, links + 1)]


def names(lines: list[str]) -> list[str]:
    return [line.partition("[")[2].partition("]")[0] for line in lines]


def test_a_chain_of_5000_waits_is_drawn_whole_and_lines_stay_short() -> None:
    lines = picture(chain(5000)).splitlines()
    assert max(map(len, lines)) < 160
    drawn = [line for line in lines if "holds" not in line and "goes on below" not in line]
    assert names(drawn) == [f"o{number}" for number in range(5001)]
    assert sum("holds" in line for line in lines) == 5001
    # Where it goes on, the next tree begins with the same one, at the margin.
    margin = [line for line in lines if line.startswith("'")]
    assert names(margin)[1:] == names([line for line in lines if "goes on below" in line])
    assert names(margin)[:3] == ["o0", "o21", "o42"]


def test_a_circle_of_5000_closes_with_a_word() -> None:
    rows = [*chain(4999), row("o0", "waiting", "l4999")]
    lines = picture(rows).splitlines()
    assert lines[0] == "'do o0' [o0] of root"
    assert "[o0] of root (above: this is a circle): waits for vm l4999" in lines[-1]
    assert sum("circle" in line for line in lines) == 1


def test_5000_that_wait_for_one_are_drawn_once_each() -> None:
    rows = [row("a", "held", "one"), *(row(f"o{number}", "waiting", "one") for number in range(5000))]
    lines = picture(rows).splitlines()
    assert len(lines) == 5002
    assert lines[-1].startswith("└─ 'do o4999' [o4999]")


def test_what_a_daemon_sends_need_not_make_sense() -> None:
    assert picture(None) == ""
    assert picture([5, "x"]) == ""
    assert "\x1b" not in picture([row("\x1b", "held", "\x1b", holder="\x1b", source="\x1b", peer="\x1b")])
    assert picture([{"state": "held"}]).splitlines()[0] == "None"
    silly = {"kind": ["x"], "name": {"y": []}, "holder": 5}
    assert picture([silly | {"state": "held"}, silly | {"holder": None}]).splitlines() == [
        "5",
        "│ holds ['x'] {'y': []} (None)",
        "└─ None: waits for ['x'] {'y': []} (None)",
    ]


def test_the_command(run: Run) -> None:
    answers: dict[str, Any] = {"lock_list": [row("a", "held", "one")], "lock_graph": "digraph {}", "describe": []}
    address = run.serve(answering(answers)).address
    assert run("-s", address, "lock", "graph")[1].startswith("'do a' [a]")
    assert run("-s", address, "--json", "lock", "graph") == (0, '"digraph {}"\n', "")
    assert run("-s", address, "lock_graph") == (0, "digraph {}\n", "")
    answers["lock_list"] = []
    assert run("-s", address, "lock", "graph") == (0, "", "no lock is held\n")
    assert run("-q", "-s", address, "lock", "graph") == (0, "", "")
