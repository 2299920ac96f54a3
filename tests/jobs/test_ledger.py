import os
import secrets
import subprocess
from pathlib import Path

import pytest

from ctld.jobs.ledger import TOKEN_VARIABLE, Entry, Ledger
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


def test_what_cannot_be_read_is_dropped(ledger, tmp_path, caplog):
    ledger.write(entry())
    (tmp_path / "state" / "jobs" / "torn.json").write_text('{"job": "x"')
    assert ledger.entries() == [entry()]
    assert "cannot be read" in caplog.text
    assert not (tmp_path / "state" / "jobs" / "torn.json").exists()


def test_a_living_process_is_found_and_another_is_not():
    mine = ProcessIdentity.of(os.getpid())
    assert entry(identity=mine).find() == mine
    assert entry(identity=ProcessIdentity(mine.pid, mine.started + 1, mine.boot)).find() is None


def test_a_token_finds_the_leader_and_not_its_descendants():
    token = secrets.token_hex(8)
    script = "setsid sleep 60 & sleep 60 & echo $!; wait"
    env = {**os.environ, TOKEN_VARIABLE: token}
    process = subprocess.Popen(["sh", "-c", script], env=env, start_new_session=True, stdout=subprocess.PIPE)
    process.stdout.readline()
    assert entry(token=token).find() == ProcessIdentity.of(process.pid)
    assert entry(token=token[:-1]).find() is None
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                if f"{TOKEN_VARIABLE}={token}".encode() in (path / "environ").read_bytes():
                    os.kill(int(path.name), 9)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
    process.communicate()


def test_a_process_that_vanishes_meanwhile_is_no_error(monkeypatch):
    def vanished(pid):
        raise ProcessLookupError

    token = secrets.token_hex(8)
    process = subprocess.Popen(
        ["sleep", "60"], env={TOKEN_VARIABLE: token, "PATH": os.environ["PATH"]}, start_new_session=True
    )
    with monkeypatch.context() as patched:
        patched.setattr(os, "getsid", vanished)
        assert entry(token=token).find() is None
    process.kill()
    process.wait()
