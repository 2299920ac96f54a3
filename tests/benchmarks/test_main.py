"""One small run of the whole suite, so that it cannot rot unseen."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import SCENARIOS, main, measure
from benchmarks.goals import ACCEPTANCE
from benchmarks.processes import ROOT, BenchmarkError
from benchmarks.report import from_json
from benchmarks.results import Goal, Plan, Row

pytestmark = pytest.mark.slow


def benchmarks(*args):
    command = [sys.executable, "-m", "benchmarks", *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=55)


def test_a_small_run_measures_prints_and_writes(tmp_path):
    results = tmp_path / "results.json"
    done = benchmarks("streaming", "connect", "--rounds", "1", "--seconds", "0.02", "--json", str(results))
    assert done.returncode == 0, done.stderr
    assert f"written to {os.path.relpath(results, ROOT)}" in done.stdout
    assert "1 rounds, 0.02 s each, seed " in done.stdout
    assert all(goal in done.stdout for goal in ACCEPTANCE)
    assert max(map(len, done.stdout.partition("== streaming ==")[2].splitlines())) <= 80 + len(str(results))
    run = from_json(results.read_text())
    assert {row.scenario for row in run.rows} == {
        "10,000 messages",
        "first message",
        "connect cycle, 1 at once",
        "connect cycle, 20 at once",
    }
    assert all(row.value is not None for row in run.rows)


def test_a_scenario_that_fails_does_not_take_the_others_along(monkeypatch, capsys):
    def fails(plan):
        raise BenchmarkError("LIMIT-B does not start: no")

    def works(plan):
        return [Row("connect", "ctld", 1.0, 1.0, 1.0, "x")]

    monkeypatch.setitem(SCENARIOS, "requests", fails)
    monkeypatch.setitem(SCENARIOS, "connect", works)
    plan = Plan(rounds=1, seconds=0.01, full=False, scratch=Path())
    failed, fine = measure(["requests", "connect"], plan)
    assert (failed.verdict, failed.note) == ("missing", "LIMIT-B does not start: no")
    assert fine.value == 1.0
    assert "requests: LIMIT-B does not start" in capsys.readouterr().err


@pytest.mark.parametrize(("value", "strict", "status"), [(0.9, True, 0), (0.7, False, 0), (0.7, True, 1)])
def test_a_goal_that_is_missed_is_no_failure_unless_asked_for(value, strict, status, monkeypatch, tmp_path, capsys):
    rows = [Row("c50", "ctld", value, value, value, "x", Goal("the goal", ">=", 0.8))]
    monkeypatch.setitem(SCENARIOS, "requests", lambda plan: rows)
    words = ["benchmarks", "requests", "--json", str(tmp_path / "r.json"), *(["--strict"] if strict else [])]
    monkeypatch.setattr(sys, "argv", words)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert main() == status
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "the goal" in capsys.readouterr().out


def test_a_scenario_that_is_none_is_refused_by_name():
    done = benchmarks("streeming")
    assert done.returncode == 2
    assert "no such scenario: streeming" in done.stderr
    assert all(name in done.stderr for name in SCENARIOS)
