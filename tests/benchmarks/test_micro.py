"""Instruction counts: what callgrind writes, and what has changed."""

import json
import shutil
import subprocess

import pytest

from benchmarks import micro, micro_run
from benchmarks.micro import compare, parse_dump, per_time
from benchmarks.micro_cases import CASES, ready_of
from benchmarks.processes import BenchmarkError
from benchmarks.results import Plan

DUMP = """\
version: 1
cmd:  python -m benchmarks.micro_run mark.so
part: 3
thread: 1

desc: Trigger: Client Request: codec: decode ping

events: Ir
summary: 4849232
"""


@pytest.fixture
def kept(tmp_path, monkeypatch):
    path = tmp_path / "baseline.json"
    monkeypatch.setattr(micro, "BASELINE", path)
    return path


def test_a_dump_has_a_name_and_a_number():
    assert parse_dump(DUMP) == ("codec: decode ping", 4849232)
    assert parse_dump(DUMP.replace("summary:", "totals:")) == ("codec: decode ping", 4849232)


@pytest.mark.parametrize("text", ["", DUMP.replace("Client Request: codec: decode ping", "Program termination")])
def test_a_dump_without_a_name_is_of_nothing(text):
    assert parse_dump(text) is None


def test_counts_are_of_one_time_and_one_request():
    counts = per_time({name: 1000 * case.times * case.each for name, case in CASES.items()})
    assert set(counts.values()) == {1000.0}


def test_what_has_changed_is_said_from_three_percent_on():
    rows = compare({"a": 102.9, "b": 103.1, "c": 96.9, "d": 5.0}, {"a": 100, "b": 100, "c": 100})
    assert [row.note for row in rows] == ["+2.9%", "+3.1%: costs more", "-3.1%: costs less", "nothing to compare with"]
    assert rows[0].unit == "instructions"


def test_a_baseline_is_kept_for_each_place(kept, monkeypatch):
    assert micro.baseline() == {}
    micro.update({"a": 100.4})
    monkeypatch.setattr(micro, "place", lambda: "Python 4.0, abacus")
    assert micro.baseline() == {}
    micro.update({"a": 7.0})
    assert micro.baseline() == {"a": 7}
    assert len(json.loads(kept.read_text())) == 2
    monkeypatch.undo()


def test_what_costs_more_fails(kept, monkeypatch, capsys):
    counts = {"a": 100.0}
    monkeypatch.setattr(micro, "obstacle", lambda: "")
    monkeypatch.setattr(micro, "count", lambda scratch: dict(counts))
    monkeypatch.setattr("sys.argv", ["micro", "--update"])
    assert micro.main() == 0
    monkeypatch.setattr("sys.argv", ["micro"])
    assert micro.main() == 0
    counts["a"] = 110.0
    assert micro.main() == 1
    assert "+10.0%: costs more" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["micro", "--repeat", "2"])
    assert micro.main() == 0 or pytest.fail("a spread is no verdict")


@pytest.fixture(autouse=True)
def _only_named_cases(request, monkeypatch):
    if "what_costs_more" in request.node.name:
        monkeypatch.setattr(micro, "CASES", {"a": None})


def test_without_valgrind_time_is_measured_and_the_reason_told(tmp_path, monkeypatch):
    monkeypatch.setattr(micro, "obstacle", lambda: "valgrind is not installed")
    done = subprocess.CompletedProcess([], 0, '{"codec": [3.0, 1.0, 2.0]}')
    monkeypatch.setattr(micro, "_run", lambda command: done)
    (row,) = micro.measure(Plan(rounds=1, seconds=1, full=False, scratch=tmp_path))
    assert (row.value, row.low, row.unit) == (2.0, 1.0, "ns")
    assert row.note == "no instructions: valgrind is not installed"


def test_what_cannot_run_at_all_is_missing(tmp_path, monkeypatch):
    def run(command):
        raise BenchmarkError("broken")

    monkeypatch.setattr(micro, "_run", run)
    rows = micro.measure(Plan(rounds=1, seconds=1, full=False, scratch=tmp_path))
    assert [row.verdict for row in rows] == ["missing"] * len(CASES)
    assert rows[0].note == "broken"


def test_a_command_that_fails_says_why():
    with pytest.raises(BenchmarkError, match="sh: broken"):
        micro._run(["sh", "-c", "echo broken >&2; exit 3"])
    with pytest.raises(BenchmarkError, match="absent"):
        micro._run(["/absent/program"])


@pytest.mark.parametrize("tool", ["valgrind", "cc"])
def test_obstacles_are_named(tool, monkeypatch):
    def which(name):
        return None if name == tool or name == "gcc" else f"/usr/bin/{name}"

    monkeypatch.setattr(shutil, "which", which)
    assert micro.obstacle() == {"valgrind": "valgrind is not installed", "cc": "no C compiler"}[tool]


@pytest.mark.parametrize("name", CASES)
async def test_every_case_runs(name):
    async with ready_of(CASES[name]) as run:
        await run(2)
        await run(1)


async def test_what_is_marked_is_run_in_between(monkeypatch):
    marks = []
    monkeypatch.setattr(micro_run, "CASES", {"codec: encode a reply": CASES["codec: encode a reply"]})
    assert await micro_run.measure(marks.append) == {}
    assert marks == [b"", b"codec: encode a reply"]
    found = await micro_run.measure(None)
    assert len(found["codec: encode a reply"]) == micro_run.TIMED
    assert min(found["codec: encode a reply"]) > 0
