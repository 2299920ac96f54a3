"""ctlctl.output: every result is text, and no text steers a terminal."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctlctl.output import (
    complain,
    error_line,
    is_terminal,
    json_line,
    neutral,
    one_line,
    plain,
    progress_line,
    write_line,
)
from ctld.client import Update
from ctld.errors import CtldError, Denied, InternalError, error_from_wire

NASTY = "a\x1b[2J\x07\x00\x7f\x9b\u202e\u2028\ud800\U000e0001é"


def test_what_steers_a_terminal_is_shown_as_its_escape() -> None:
    assert neutral(NASTY) == (r"a\u001b[2J\u0007\u0000\u007f\u009b\u202e\u2028\ud800\udb40\udc01é")
    assert neutral("tab\tand\nnewline") == "tab\tand\nnewline"
    assert neutral("carriage\rreturn") == r"carriage\u000dreturn"
    assert neutral("plain") == "plain"


@given(st.text())
def test_no_text_gets_through_unharmed(text: str) -> None:
    assert all(letter.isprintable() or letter in "\n\t" for letter in neutral(text))
    assert one_line(text).isprintable()
    neutral(text).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
)


@given(JSON)
def test_json_means_the_same_after_it_was_made_harmless(value: Any) -> None:
    line = json_line(value)
    assert line.isprintable()
    assert json.loads(line) == value
    if value is not None and not isinstance(value, str):
        assert json.loads(plain(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("pong", "pong"),
        ("two\nlines", "two\nlines"),
        (5, "5"),
        (True, "true"),
        ([], "[]"),
        ({"é": [1]}, '{\n  "é": [\n    1\n  ]\n}'),
        ("\x1b]0;title\x07", r"\u001b]0;title\u0007"),
    ],
)
def test_plain(value: Any, text: str) -> None:
    assert plain(value) == text


def test_one_line_of_anything() -> None:
    assert one_line("a\nb\r\nc") == "a b c"
    assert one_line({"a": 1}) == '{"a":1}'


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ({"progress": "copied"}, "copied"),
        ({"progress": "copied", "current": 3}, "copied [3]"),
        ({"progress": "copied", "current": 3, "unit": "chunks"}, "copied [3 chunks]"),
        ({"progress": "copied", "current": 3, "total": 10, "unit": "chunks"}, "copied [3/10 chunks]"),
        ({"progress": "copied", "current": 1.5, "total": 2}, "copied [1.5/2]"),
        ({"progress": "", "current": 1, "total": 2}, "[1/2]"),
        ({"progress": None}, ""),
        ({"progress": {"type": "step"}}, '{"type":"step"}'),
        ({"progress": "a\nb\x1b[1m", "current": 1, "unit": "\x07"}, r"a b\u001b[1m [1 \u0007]"),
        ({"progress": "x", "total": 5}, "x"),
    ],
)
def test_progress(message: dict[str, Any], line: str) -> None:
    assert progress_line(Update(message)) == line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (Denied("no", role="admin", remedy="ask root"), "no: ask root"),
        (Denied("no: ask root", remedy="ask root"), "no: ask root"),
        (Denied("no", remedy=5), "no"),
        (InternalError("internal error", ref="ab12"), "internal error (reference ab12)"),
        (CtldError("two\nlines\x1b"), r"two lines\u001b"),
        (Denied(""), "denied"),
        (Denied("no", remedy="a\nb"), "no: a b"),
        (error_from_wire("", "\x1b]0;x\x07"), r"\u001b]0;x\u0007"),
    ],
)
def test_errors_are_one_line(error: CtldError, line: str) -> None:
    assert error_line(error) == line


def test_progress_in_bytes_is_read_by_people() -> None:
    update = Update({"progress": "x", "current": 1536, "total": 3 * 1024**2, "unit": "bytes"})
    assert progress_line(update) == "x [1.5 KiB/3.0 MiB]"
    assert progress_line(Update({"progress": "x", "current": 5, "unit": "bytes"})) == "x [5 B]"
    assert progress_line(Update({"progress": "", "current": 1e6, "total": 1e9})) == "[1000000/1000000000]"


@pytest.mark.parametrize(("term", "yes"), [("xterm", True), ("dumb", False), ("", False), (None, False)])
def test_a_terminal_is_one_that_understands_more_than_lines(
    monkeypatch: pytest.MonkeyPatch, term: str | None, yes: bool
) -> None:
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("os.isatty", lambda fd: True)
    assert is_terminal(1) == yes
    monkeypatch.setattr("sys.stdout", None)
    assert not is_terminal(1), "its number may be that of something else by now"


def test_nothing_is_written_where_nothing_is_to_be_said(monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    write_line("")
    monkeypatch.setattr("sys.stdout", None)
    write_line("x")
    monkeypatch.setattr("sys.stderr", None)
    complain("x", "y")
    assert capfd.readouterr() == ("", "")
