"""One small run of the whole suite, so that it cannot rot unseen."""

import os
import subprocess
import sys

import pytest

from benchmarks.__main__ import SCENARIOS
from benchmarks.goals import ACCEPTANCE
from benchmarks.processes import ROOT
from benchmarks.report import from_json

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


def test_a_scenario_that_is_none_is_refused_by_name():
    done = benchmarks("streeming")
    assert done.returncode == 2
    assert "no such scenario: streeming" in done.stderr
    assert all(name in done.stderr for name in SCENARIOS)
