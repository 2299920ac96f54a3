"""ctlctl.table: objects as tables and fields, within a width; pure."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctlctl.exits import UsageError
from ctlctl.table import cell, choose, columns_of, cut, display_width, fields, fit, is_table, order, pick, table

ROWS = [
    {"name": "web", "state": "running", "n": 5, "extra": None, "at": {"host": "a", "port": 1}},
    {"name": "Db", "state": "failed", "n": 10, "extra": "", "at": {"host": "b", "port": 2}},
    {"name": "api", "state": "odd", "n": None, "extra": None},
]


def test_a_table() -> None:
    assert table(ROWS).splitlines() == [
        "NAME  STATE     N  AT",
        "web   running   5  host=a port=1",
        "Db    failed   10  host=b port=2",
        "api   odd       -  -",
    ]


def test_columns_in_the_order_that_is_wanted() -> None:
    assert table(ROWS, columns=["at.port", "name"]).splitlines()[:2] == ["AT.PORT  NAME", "      1  web"]


def test_columns_that_are_empty_everywhere_are_left_out_unless_all_are() -> None:
    assert columns_of(ROWS) == ["name", "state", "n", "at"]
    assert columns_of(ROWS, keep=True) == ["name", "state", "n", "extra", "at"]
    assert columns_of([{"a": None}]) == ["a"]


@pytest.mark.parametrize(
    ("value", "yes"),
    [([{"a": 1}], True), ([], False), ([{}], False), ([{"a": 1}, 2], False), ({"a": 1}, False), ("x", False)],
)
def test_what_is_a_table(value: Any, yes: bool) -> None:
    assert is_table(value) == yes


@given(st.lists(st.integers(0, 60), min_size=1, max_size=8), st.integers(0, 120))
def test_widths_fit_and_take_from_the_widest(wanted: list[int], width: int) -> None:
    widths = fit(wanted, width)
    assert all(got <= want for got, want in zip(widths, wanted, strict=True))
    assert all(got >= min(want, 6) for got, want in zip(widths, wanted, strict=True))
    room = width - 2 * (len(wanted) - 1)
    if width and room >= 6 * len(wanted):
        assert sum(widths) <= room
        assert sum(wanted) > room or widths == wanted
        cut = [got for got, want in zip(widths, wanted, strict=True) if got < want]
        assert not cut or max(cut) - min(cut) <= max(cut, default=0)
    if not width:
        assert widths == wanted


def test_what_does_not_fit_is_cut_and_says_so() -> None:
    rows = [{"name": "a" * 30, "b": "c" * 50}]
    lines = table(rows, width=40).splitlines()
    assert max(map(len, lines)) == 40
    assert lines[1].count("…") == 2
    assert "…" not in table(rows)


def test_wide_letters_are_counted_as_they_are_shown() -> None:
    assert [display_width(text) for text in ("ab", "日本", "é", "e\u0301")] == [2, 4, 1, 1]
    lines = table([{"a": "日本語", "b": 1}, {"a": "abcdef", "b": 2}]).splitlines()
    assert lines[1] == "日本語  1"
    assert lines[2] == "abcdef  2"
    assert table([{"a": "日本語日本語"}], width=7).splitlines()[1] == "日本語…"


def test_nothing_of_a_value_steers_a_terminal() -> None:
    evil = "\x1b[2J\u202e\n"
    for text in (
        table([{evil: evil, "b": [evil], "c": {evil: evil}, "d": [{evil: evil}]}]),
        fields({evil: {evil: evil}}),
    ):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_colours_stand_around_whole_cells() -> None:
    lines = table(ROWS, columns=["state", "n"], colour=True).splitlines()
    assert lines[0].startswith("\x1b[1mSTATE\x1b[0m")
    assert lines[1].startswith("\x1b[32mrunning\x1b[0m")
    assert lines[2].startswith("\x1b[31mfailed\x1b[0m ")
    assert lines[3].startswith("\x1b[33modd\x1b[0m")
    assert lines[3].endswith("\x1b[2m-\x1b[0m")


def test_fields() -> None:
    value = {
        "name": "x",
        "rss_bytes": 2048,
        "inner": {"a": 1, "long_key": [1, 2]},
        "rows": [{"a": 1}],
        "text": "one\ntwo\n",
        "empty": {},
    }
    assert fields(value).splitlines() == [
        "name       x",
        "rss bytes  2.0 KiB",
        "inner:",
        "  a         1",
        "  long key  1, 2",
        "rows:",
        "  A",
        "  1",
        "text:",
        "  one",
        "  two",
        "empty      -",
    ]
    assert fields({"a": 1}, colour=True) == "\x1b[1ma\x1b[0m  1"


def test_what_is_nested_too_deeply_is_json() -> None:
    value: Any = {"x": [{}]}
    for _ in range(20):
        value = {"a": value}
    lines = fields(value).splitlines()
    assert len(lines) == 7
    assert lines[-1].strip().startswith('a  {"a":{')


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        ({}, "-"),
        (True, "yes"),
        (False, "no"),
        (3.5, "3.5"),
        (1e9, "1000000000.0"),
        (12345678901234567890, "12345678901234567890"),
        ("a\nb", "a b"),
        ([1, "a", None], "1, a, -"),
        ({"a": 1, "age": 2}, "a=1 age=2 s"),
        ([{"a": 1}], '[{"a":1}]'),
        ({"a": [1]}, '{"a":[1]}'),
    ],
)
def test_cells(value: Any, text: str) -> None:
    assert cell("x", value) == text


def test_order() -> None:
    assert [row["name"] for row in order(ROWS, ["name"])] == ["api", "Db", "web"]
    assert [row["name"] for row in order(ROWS, ["-n"])] == ["Db", "web", "api"], "nulls are last in any case"
    assert [row["name"] for row in order(ROWS, ["n"])] == ["web", "Db", "api"]
    assert [row["name"] for row in order(ROWS, ["at.host", "name"])] == ["web", "Db", "api"]
    mixed = [{"a": [2]}, {"a": "x"}, {"a": 1}, {"a": True}]
    assert [row["a"] for row in order(mixed, ["a"])] == [1, True, "x", [2]]
    two = [{"a": 1, "b": 2}, {"a": 1, "b": 1}, {"a": 0, "b": 3}]
    assert [(row["a"], row["b"]) for row in order(two, ["a", "b"])] == [(0, 3), (1, 1), (1, 2)]


@pytest.mark.parametrize(("columns", "sort"), [(["nope"], []), ([], ["-nope"]), (["at.nope"], []), (["n.x"], [])])
def test_an_unknown_column_is_a_mistake_and_the_known_ones_are_named(columns: list[str], sort: list[str]) -> None:
    with pytest.raises(UsageError, match=r"there is no column .*: there are name, state, n, extra, at"):
        choose(ROWS, columns, sort)


def test_choose() -> None:
    assert choose(ROWS, ["name"], ["name"]) == [{"name": "api"}, {"name": "Db"}, {"name": "web"}]
    assert choose({"a": 1, "b": 2}, ["b"], []) == {"b": 2}
    assert choose({"a": 1}, ["b"], []) == {}
    assert choose({"a": 1}, [], ["a"]) == {"a": 1}
    assert choose("x", ["b"], ["b"]) == "x"
    assert choose([], ["b"], ["b"]) == []
    assert pick({"a.b": 1, "a": {"b": 2}}, "a.b") == 1


@given(st.text(st.sampled_from("ab日本e\u0301")), st.integers(1, 12))
def test_what_is_cut_is_the_longest_beginning_that_fits(text: str, width: int) -> None:
    shown = cut(text, width)
    if display_width(text) <= width:
        assert shown == text
        return
    kept = shown.removesuffix("…")
    assert text.startswith(kept)
    assert display_width(shown) <= width
    assert display_width(kept + text[len(kept)]) > width - 1


def test_a_text_that_takes_no_room_is_looked_at_once() -> None:
    """Whoever is denied can put such a text into the history; with a look at all before for each it took minutes."""
    text = "a" * 20 + "\u0301" * 400_000
    assert cut(text, 10) == "a" * 9 + "…"
    assert cut("\u0301" * 400_000 + "a" * 20, 10).endswith("aaaa…")
