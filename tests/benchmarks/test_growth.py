"""How costs grow."""

import tempfile
from pathlib import Path

import pytest

from benchmarks import growth
from benchmarks.growth import per_byte
from benchmarks.processes import BenchmarkError
from benchmarks.results import Plan


@pytest.fixture
def plan():
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        yield Plan(rounds=1, seconds=0.01, full=False, scratch=Path(folder))


def test_a_byte_costs_what_a_larger_request_costs_more():
    assert per_byte({1: 10.0, 1001: 12.0, 101_001: 112.0}) == {1001: 2.0, 101_001: 1.0}


def test_growth_is_a_ratio_round_by_round():
    row = growth._ratio("connections", {1: [1.0, 2.0, 4.0], 5000: [2.0, 2.0, 2.0]}, 5000, 1, growth.FLAT_TO_ONE)
    assert (row.subject, row.value, row.low, row.high) == ("5,000 to 1", 1.0, 0.5, 2.0)
    assert row.verdict == "pass"


def test_groups_have_everybody_once():
    assert list(growth._groups([1, 2, 3, 4, 5], 2)) == [[1, 2], [3, 4], [5]]


def test_what_cannot_be_measured_is_reported(plan, monkeypatch):
    def serving(*args):
        raise BenchmarkError("no such module")

    monkeypatch.setattr(growth, "serving", serving)
    assert [row.verdict for row in growth.measure(plan)] == ["missing"] * 3


@pytest.mark.slow
def test_all_rows_are_there(plan, monkeypatch):
    monkeypatch.setattr(growth, "CONNECTIONS", (1, 100, 120))
    monkeypatch.setattr(growth, "COMMANDS", (10, 40))
    monkeypatch.setattr(growth, "SIZES", (1, 64 * 1024, 1024 * 1024))
    rows = {(row.scenario, row.subject): row for row in growth.measure(plan)}
    assert all(row.value is not None for row in rows.values())
    assert rows["growth with connections", "120"].value > 0
    assert rows["growth with connections", "120 to 1"].goal is growth.FLAT_TO_ONE
    assert ("growth with commands", "40, 40 of them asked for") in rows
    assert ("growth with commands", "40 to 10") in rows
    assert rows["growth with sizes", "1,048,576 B"].value > rows["growth with sizes", "1 B"].value
