"""ctlctl.detaching: which operation is ours, and whether it goes on without us."""

import os
from typing import Any

import pytest

from ctlctl.arguments import Arguments
from ctlctl.caller import Caller
from ctlctl.detaching import find_operation
from tests.client.scripted import Serve
from tests.ctlctl.running import answering

ME = {"transport": "unix", "pid": os.getpid(), "running": ["op-1"]}
OPERATION = {"id": "op-1", "state": "running", "command": "x", "cli": "ctlctl x"}
ANSWERS = {
    "describe": {"name": "x", "on_disconnect": "continue", "session": False},
    "connection_list": [ME],
    "op_list": [OPERATION],
}


def found(serve: Serve, **changed: Any) -> str | None:
    answers = {name: value for name, value in (ANSWERS | changed).items() if value is not None}
    return find_operation(Caller(Arguments(), "ctlctl", serve(answering(answers)).address), "x", "ctlctl x")


def test_ours(serve: Serve) -> None:
    assert found(serve) == "op-1"


@pytest.mark.parametrize(
    "changed",
    [
        {"describe": {"name": "x", "on_disconnect": "cancel"}},
        {"describe": {"name": "x", "on_disconnect": "continue", "session": True}},
        {"describe": "nonsense"},
        {"describe": None},
        {"op_list": None},
        {"op_list": []},
        {"op_list": "nonsense"},
        {"op_list": [OPERATION | {"state": "done"}]},
        {"op_list": [OPERATION | {"cli": "ctlctl y"}]},
        {"op_list": [OPERATION | {"command": "y"}]},
        {"op_list": [OPERATION | {"id": "op-2"}]},
        {"connection_list": None},
        {"connection_list": [], "op_list": [OPERATION, OPERATION | {"id": "op-2"}]},
    ],
    ids=repr,
)
def test_whatever_is_missing_makes_it_none(serve: Serve, changed: dict[str, Any]) -> None:
    assert found(serve, **changed) is None


def test_an_alias_and_a_transport_that_knows_no_processes(serve: Serve) -> None:
    description = ANSWERS["describe"] | {"name": "real"}  # type: ignore[operator]  # it is a dict
    operation = OPERATION | {"command": "real"}
    assert found(serve, describe=description, op_list=[operation], connection_list=[{"transport": "tcp"}]) == "op-1"


def test_nobody_there() -> None:
    assert find_operation(Caller(Arguments(), "ctlctl", "unix:@ctld-test-nobody"), "x", "ctlctl x") is None
