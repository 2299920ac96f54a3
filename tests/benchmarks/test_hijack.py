"""What a hijacked connection costs."""

import tempfile
from pathlib import Path

import pytest

from benchmarks import hijack
from benchmarks.processes import BenchmarkError
from benchmarks.results import Plan
from benchmarks.transfers import Transfer


@pytest.fixture
def plan():
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        yield Plan(rounds=1, seconds=0.01, full=False, scratch=Path(folder))


def test_speed_and_cost_are_compared_round_by_round():
    size = 2**30
    rows = {
        row.subject: row
        for row in hijack.rows_of(
            "out",
            {
                hijack.DIRECT: [Transfer(size, 1.0, 0.0), Transfer(size, 2.0, 0.0)],
                hijack.DESCRIPTORS: [Transfer(size, 1.0, 0.5), Transfer(size, 4.0, 0.0)],
                hijack.SOCKET: [Transfer(size, 2.0, 0.0), Transfer(size, 1.0, 0.0)],
                hijack.FRAMES: [Transfer(size, 9.0, 0.1, 0.05), Transfer(size, 9.0, 0.3, 0.07)],
                hijack.STREAMS: [Transfer(size, 9.0, 0.4), Transfer(size, 9.0, 0.6)],
                hijack.STREAMS_UVLOOP: [Transfer(size, 9.0, 0.1), Transfer(size, 9.0, 0.1)],
            },
        )
    }
    speed = rows["ctld, the client's descriptors / direct socket"]
    assert (speed.value, speed.low, speed.high, speed.verdict) == (0.75, 0.5, 1.0, "short")
    assert rows["ctld, the client's descriptors: CPU of the daemon"].value == 0.25
    assert rows["ctld, frames: CPU"].value == pytest.approx(200)
    assert rows["ctld, frames: of it in the kernel"].value == pytest.approx(60)
    relayed = rows["ctld, frames / asyncio streams"]
    assert (relayed.low, relayed.high, relayed.verdict) == (pytest.approx(0.25), pytest.approx(0.5), "pass")
    assert rows["ctld, frames / asyncio streams on uvloop"].goal is None


def test_what_does_not_start_is_reported(plan, monkeypatch):
    def serving(*args):
        raise BenchmarkError("no such module")

    monkeypatch.setattr(hijack, "serving", serving)
    assert [row.verdict for row in hijack.measure(plan)] == ["missing"] * 2


@pytest.mark.slow
def test_all_rows_are_there(plan, monkeypatch):
    monkeypatch.setattr(hijack, "RELAYED_SIZE", 512 * 1024)
    rows = hijack.measure(plan)
    assert len(rows) == 24
    assert all(row.value is not None for row in rows)
