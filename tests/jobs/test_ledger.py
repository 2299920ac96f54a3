import os

import pytest

from ctld.jobs.ledger import Entry, Ledger
from ctld.processes import ProcessIdentity


def entry(**changes) -> Entry:
    fields = {"job": "web", "index": 0, "token": "t", "digest": "d", "stop_signal": 15, "stop_time": 5.0}
    return Entry(**{**fields, **changes})


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(str(tmp_path / "state" / "jobs"))
    ledger.open()
    return ledger


def test_the_directory_is_for_the_daemon_alone(tmp_path):
    (tmp_path / "state").mkdir(mode=0o755)
    Ledger(str(tmp_path / "state")).open()
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700


def test_entries_are_kept_replaced_and_forgotten(ledger):
    mine = ProcessIdentity.of(os.getpid())
    ledger.write(entry())
    ledger.write(entry(identity=mine))
    ledger.write(entry(index=1))
    ledger.write(entry(job="/".join(["x" * 64] * 8)))
    assert entry(identity=mine) in ledger.entries()
    assert len(ledger.entries()) == 3
    ledger.forget("web", 0)
    ledger.forget("web", 0)
    assert entry(index=1) in ledger.entries()
    assert len(ledger.entries()) == 2


@pytest.mark.parametrize(
    "torn",
    [b'{"job": "x"', b'{"job": "\xff"}', b"", b"\0" * 100, b'{"job": ' + b"[" * 100_000],
    ids=("cut", "no UTF-8", "empty", "zeros", "deep"),
)
def test_what_cannot_be_read_is_dropped(ledger, tmp_path, caplog, torn):
    ledger.write(entry())
    (tmp_path / "state" / "jobs" / "torn.json").write_bytes(torn)
    assert ledger.entries() == [entry()]
    assert "cannot be read" in caplog.text
    assert not (tmp_path / "state" / "jobs" / "torn.json").exists()
