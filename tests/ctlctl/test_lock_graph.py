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


def test_what_a_daemon_sends_need_not_make_sense() -> None:
    assert picture(None) == ""
    assert picture([5, "x"]) == ""
    assert "\x1b" not in picture([row("\x1b", "held", "\x1b", holder="\x1b", source="\x1b", peer="\x1b")])
    assert picture([{"state": "held"}]).splitlines()[0] == "None"


def test_the_command(run: Run) -> None:
    answers: dict[str, Any] = {"lock_list": [row("a", "held", "one")], "lock_graph": "digraph {}", "describe": []}
    address = run.serve(answering(answers)).address
    assert run("-s", address, "lock", "graph")[1].startswith("'do a' [a]")
    assert run("-s", address, "--json", "lock", "graph") == (0, '"digraph {}"\n', "")
    assert run("-s", address, "lock_graph") == (0, "digraph {}\n", "")
    answers["lock_list"] = []
    assert run("-s", address, "lock", "graph") == (0, "no lock is held\n", "")
