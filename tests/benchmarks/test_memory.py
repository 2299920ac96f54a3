"""What an idle connection costs."""

import os
import tempfile
from pathlib import Path

import pytest

from benchmarks import memory
from benchmarks.memory import memory_of, parse_smaps, per_connection
from benchmarks.processes import BenchmarkError
from benchmarks.results import Plan

ROLLUP = """\
55d1-7ffd ---p 00000000 00:00 0                          [rollup]
Rss:               60000 kB
Pss:               51234 kB
Pss_Anon:          40000 kB
"""


@pytest.fixture
def plan():
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        yield Plan(rounds=1, seconds=0.01, full=False, scratch=Path(folder))


def test_the_proportional_set_size_counts():
    assert parse_smaps(ROLLUP) == 51234 * 1024
    assert memory_of(os.getpid()) > 1024 * 1024


def test_a_kernel_that_does_not_tell():
    with pytest.raises(OSError, match="does not say"):
        parse_smaps("Rss: 1 kB\n")


def test_a_connection_holds_what_there_is_more_of():
    rows = per_connection(
        {"list": (100, 5600), "dict": (10, 1000)}, {"list": [300, 16800], "dict": [10, 1040], "Task": [100, 19200]}, 100
    )
    assert [(row.subject, row.value, row.note) for row in rows] == [
        ("Task", 192.0, "1.00 objects"),
        ("list", 112.0, "2.00 objects"),
    ]


@pytest.mark.slow
def test_all_rows_are_there(plan, monkeypatch):
    monkeypatch.setattr(memory, "CONNECTIONS", 30)
    monkeypatch.setattr(memory, "WARM_UP", 3)
    rows = memory.measure(plan)
    assert len(rows) == 9
    assert {row.subject for row in rows} == {"LIMIT-B", "ctld bare", "ctld full"}
    assert all(row.value is not None for row in rows)
    assert [row.goal for row in rows if row.subject == "LIMIT-B"] == [None] * 3
    assert rows[0].scenario == "idle memory, 30 connections, 1 echo each"


def test_a_server_that_does_not_start_is_reported(plan, monkeypatch):
    def serving(*args):
        raise BenchmarkError("no such module")

    monkeypatch.setattr(memory, "serving", serving)
    rows = memory.measure(plan)
    assert [row.verdict for row in rows] == ["missing"] * 3
    assert rows[0].note == "no such module"


@pytest.mark.slow
def test_the_breakdown_names_what_every_connection_has(plan):
    rows = {row.subject: row for row in memory.breakdown(plan.scratch, 50)}
    assert 0.9 < float(rows["uvloop.loop.UnixTransport"].note.split()[0]) < 1.1
    assert "ctld.connection.Connection" in rows
