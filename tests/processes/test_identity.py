import os
import subprocess
from pathlib import Path

from ctld.processes import ProcessIdentity


def test_the_same_process_is_recognised():
    mine = ProcessIdentity.of(os.getpid())
    assert mine == ProcessIdentity.of(os.getpid())
    assert mine.is_current()


def test_an_older_holder_of_the_pid_is_another_process():
    mine = ProcessIdentity.of(os.getpid())
    assert not ProcessIdentity(mine.pid, mine.started - 1, mine.boot).is_current()
    assert not ProcessIdentity(mine.pid, mine.started, "another boot").is_current()


def test_a_name_full_of_parentheses_does_not_confuse(tmp_path):
    program = tmp_path / "a) S 1 (b c"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([program, "60"])
    try:
        identity = ProcessIdentity.of(process.pid)
        ticks = os.sysconf("SC_CLK_TCK")
        uptime = float(Path("/proc/uptime").read_text().split()[0])
        assert 0 <= uptime - identity.started / ticks < 10
    finally:
        process.kill()
        process.wait()
    assert ProcessIdentity.of(process.pid) is None
    assert not identity.is_current()
