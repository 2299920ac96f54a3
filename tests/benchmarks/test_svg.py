"""Plots: well-formed, legible in both palettes, and true to the figures."""

import re
from xml.etree import ElementTree

import pytest

from benchmarks.svg import LABELS, VALUES, WIDTH, Bar, Curve, bars, curves

SVG = "{http://www.w3.org/2000/svg}"
GROUPS = [("ctld & co", [Bar(1.0, 0.5, 2.0), None]), ("<other>", [Bar(0.5, 0.5, 0.5), Bar(0.25, 0.2, 0.3)])]


def parsed(text):
    return ElementTree.fromstring(text)


def texts(text):
    return [element.text for element in parsed(text).iter(f"{SVG}text")]


def test_bars_are_as_long_as_their_values():
    drawn = parsed(bars("A title", "x", ["ping", "echo"], GROUPS))
    widths = [float(rect.get("width")) for rect in drawn.iter(f"{SVG}rect") if rect.get("x") == str(LABELS)]
    scale = (WIDTH - LABELS - VALUES) / 2.0  # the longest is the upper end of a spread
    assert widths == pytest.approx([scale, scale * 0.5, scale * 0.25], abs=0.1)


def test_the_mark_stands_where_its_value_is():
    drawn = parsed(bars("A title", "x", ["ping", "echo"], GROUPS, mark=4.0))
    (mark,) = [line for line in drawn.iter(f"{SVG}line") if line.get("class") == "mark"]
    assert float(mark.get("x1")) == float(mark.get("x2")) == WIDTH - VALUES


def test_names_and_figures_are_written_beside_the_bars():
    written = texts(bars("A title", "x LIMIT-B", ["ping", "echo"], GROUPS))
    for text in (
        "A title",
        "x LIMIT-B",
        "ping",
        "echo",
        "ctld & co",
        "<other>",
        "1.00",
        "0.50",
        "0.25",
        "not measured",
    ):
        assert text in written


def test_nothing_leaves_the_picture():
    drawn = parsed(bars("A title", "x", ["ping", "echo"], GROUPS))
    _, _, width, height = map(float, drawn.get("viewBox").split())
    for element in drawn.iter(f"{SVG}rect"):
        assert 0 <= float(element.get("x")) <= float(element.get("x")) + float(element.get("width")) <= width
        assert 0 <= float(element.get("y")) <= float(element.get("y")) + float(element.get("height")) <= height


def test_both_palettes_are_served_and_nothing_is_fetched():
    for drawn in (bars("t", "x", ["a"], []), curves("t", "us", "n", [])):
        parsed(drawn)
        assert "prefers-color-scheme: dark" in drawn
        assert re.findall(r"(?:href|src|url|@import)[^\n]*", drawn) == []
        assert 'role="img"' in drawn


def test_a_title_cannot_leave_its_attribute():
    assert parsed(bars('a "b" <c>', "x", ["a"], [])).get("aria-label") == 'a "b" <c>'


def test_curves_have_zero_at_the_bottom_and_a_logarithmic_x():
    drawn = parsed(curves("t", "us", "connections", [Curve("ctld", [(1, 10.0), (10, 5.0), (100, 0.0)])]))
    points = [tuple(map(float, point.split(","))) for point in drawn.find(f"{SVG}polyline").get("points").split()]
    (x1, y1), (x2, y2), (x3, y3) = points
    assert abs((x2 - x1) - (x3 - x2)) < 0.2
    assert abs((y2 - y1) - (y3 - y2)) < 0.2
    assert y1 < y2 < y3


def test_axes_are_labelled_in_the_units_of_people():
    written = texts(curves("t", "us", "bytes", [Curve("a", [(1, 1.0), (1024, 2.0), (16 * 1024 * 1024, 3.3)])]))
    for text in ("1", "1 Ki", "16 Mi", "bytes", "4.00", "2.00", "0.00", "a"):
        assert text in written


def test_a_single_point_is_no_division_by_zero():
    for drawn in (
        curves("t", "us", "n", [Curve("a", [(1, 0.0)])]),
        bars("t", "x", ["a"], [("n", [Bar(0.0, 0.0, 0.0)])]),
    ):
        assert parsed(drawn).tag == f"{SVG}svg"
        assert not re.search(r"\b(nan|inf)\b", drawn)
