"""ctlctl.look: how wide, how coloured, and rows that come one by one."""

import os
from typing import Any

import pytest

from ctlctl import look
from ctlctl.arguments import Arguments
from ctlctl.look import Rows, coloured, result, tell_nothing, width
from tests.client.scripted import Serve
from tests.ctlctl.running import answering


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], ""),
        ({}, "{}"),
        ([1, "a\x07", None, True], "1\na\\u0007\n-\nyes"),
        ([[1], 2], "[\n  [\n    1\n  ],\n  2\n]"),
        ({"a": 1}, "a  1"),
        ([{"a": 1}], "A\n1"),
    ],
)
def test_results(value: Any, text: str) -> None:
    assert result(value, Arguments()) == text


@pytest.mark.parametrize(
    ("columns", "quiet", "said"),
    [(80, False, ("(none)\n", "")), (80, True, ("(none)\n", "")), (0, False, ("", "(none)\n")), (0, True, ("", ""))],
)
def test_nothing_is_said_to_people_and_not_to_programs(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], columns: int, quiet: bool, said: tuple[str, str]
) -> None:
    monkeypatch.setattr(look, "width", lambda number=1: columns)
    arguments = Arguments()
    arguments.quiet = quiet
    tell_nothing(arguments)
    assert capfd.readouterr() == said


def test_the_width_of_no_terminal_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda fd: False)
    assert width() == 0
    monkeypatch.setattr("sys.stdout", None)
    assert width() == 0
    assert not coloured()


@pytest.mark.parametrize(("told", "meant"), [(120, 120), (5, 20), (0, 80), (None, 80)])
def test_the_width_of_a_terminal(monkeypatch: pytest.MonkeyPatch, told: int | None, meant: int) -> None:
    def size(fd: int) -> os.terminal_size:
        if told is None:
            raise OSError
        return os.terminal_size((told, 24))

    monkeypatch.setattr(os, "isatty", lambda fd: True)
    monkeypatch.setattr(os, "get_terminal_size", size)
    assert width() == meant


@pytest.mark.parametrize(
    ("environ", "yes"),
    [({"TERM": "xterm"}, True), ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({}, False)],
)
def test_colours_are_for_terminals_that_can_and_people_who_want(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], yes: bool
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "isatty", lambda fd: True)
    assert coloured() == yes


def test_rows_keep_the_columns_of_the_first_and_lose_nothing() -> None:
    rows = Rows(Arguments())
    assert rows.next({"n": 1, "text": "a"}) == "N         TEXT\n1         a"
    assert rows.next({"text": "x" * 20, "n": 123456789012}) == "123456789012  " + "x" * 20
    assert rows.next({"other": "x" * 10}) == "OTHER\n" + "x" * 10
    assert rows.next({"n": 1, "text": "a"}) == "N         TEXT\n1         a"


def test_rows_with_columns_that_are_wanted() -> None:
    arguments = Arguments()
    arguments.columns = ["b", "c.d"]
    assert Rows(arguments).next({"a": 1, "b": 2, "c": {"d": 3}}) == "B         C.D\n2         3"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child does nothing but exec
@pytest.mark.parametrize("environ", [{}, {"NO_COLOR": "1"}], ids=["colour", "NO_COLOR"])
def test_a_table_on_a_terminal(serve: Serve, terminal: Any, environ: dict[str, str]) -> None:
    rows = [{"name": "x" * 50, "state": "running", "what": "y" * 50}]
    address = serve(answering({"job_list": rows})).address
    status, said = terminal("-s", address, "job_list", columns=60, **environ).finish()
    assert status == 0
    plain = said.decode()
    assert ("\x1b[32mrunning\x1b[0m" in plain) == (not environ)
    for code in ("\x1b[1m", "\x1b[32m", "\x1b[0m"):
        plain = plain.replace(code, "")
    assert "\x1b" not in plain
    assert 55 < max(map(len, plain.splitlines())) <= 60
