"""Whole processes: what is compared with what."""

import os
import tempfile
from pathlib import Path

import pytest

from benchmarks import servers, startup
from benchmarks.processes import BenchmarkError
from benchmarks.results import Plan


@pytest.fixture
def plan():
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        yield Plan(rounds=1, seconds=0.01, full=False, scratch=Path(folder))


def test_ratios_are_taken_round_by_round():
    row = startup._ratio(
        {startup.PING: [2.0, 9.0], startup.NOTHING: [1.0, 3.0]}, startup.NOTHING, startup.AGAINST_NOTHING
    )
    assert (row.value, row.low, row.high, row.verdict) == (2.5, 2.0, 3.0, "pass")


def test_the_first_round_does_not_count(monkeypatch):
    asked = []

    def run(command):
        asked.append(command)
        return float(len(asked))

    monkeypatch.setattr(startup, "_run", run)
    times = startup._time({"a": ["a"], "b": ["b"]}, 3, Plan(rounds=3, seconds=1, full=False, scratch=Path()).random())
    assert len(asked) == 8
    assert sorted(times["a"] + times["b"]) == [3, 4, 5, 6, 7, 8]


def test_a_command_that_fails_is_no_measurement():
    with pytest.raises(BenchmarkError, match=r"sh -c .*: broken$"):
        startup._run(["sh", "-c", "echo broken >&2; exit 3"])


def test_one_processor_is_enough_and_given_back(monkeypatch):
    before = os.sched_getaffinity(0)
    with startup._on(0):
        assert len(os.sched_getaffinity(0)) == 1
    with startup._on(10**6):
        assert os.sched_getaffinity(0) == before
    assert os.sched_getaffinity(0) == before


@pytest.mark.slow
def test_a_neighbour_that_is_missing_is_reported(plan, monkeypatch):
    def peers_python():
        raise BenchmarkError("no environment for the peers")

    monkeypatch.setattr(servers, "peers_python", peers_python)
    rows = {row.subject: row for row in startup.measure(plan)}
    assert rows["ctlctl ping / supervisorctl version"].verdict == "missing"
    assert rows["ctlctl ping / supervisorctl version"].note == "no environment for the peers"
    assert rows["ctlctl ping / python -c pass"].value > 1
    assert rows["ctlctl ping"].value > rows["python -c pass"].value
