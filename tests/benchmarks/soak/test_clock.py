"""A clock that is set for one program and its children, and not for the machine."""

import shutil
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.soak.clock import DAY, Clock, step_of


@given(st.floats(0, 1))
def test_steps_go_either_way_and_never_beyond_what_the_audit_log_keeps(choice):
    assert abs(step_of(choice)) <= 30 * DAY
    assert step_of(1 - choice) == pytest.approx(-step_of(choice), abs=1)


def test_there_are_small_steps_and_large_ones():
    assert (step_of(0.5), step_of(0.0), step_of(1.0)) == (0, -30 * DAY, 30 * DAY)
    assert 0 < step_of(0.55) < DAY


@pytest.mark.skipif(not shutil.which("cc"), reason="there is no compiler")
def test_a_program_sees_the_clock_and_its_steps(tmp_path):
    script = "import sys, time\nfor _ in sys.stdin: print(time.time(), time.monotonic(), flush=True)"
    with Clock(tmp_path) as clock:
        with subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clock.environ
        ) as child:
            for offset in (0, 10 * DAY, -10 * DAY):
                clock.set(offset)
                child.stdin.write("\n")
                child.stdin.flush()
                wall, monotonic = map(float, child.stdout.readline().split())
                assert wall - time.time() == pytest.approx(offset, abs=60)
                assert monotonic == pytest.approx(time.monotonic(), abs=60)
            child.stdin.close()
        clock.set(10 * DAY)
        dated = subprocess.run(["date", "+%s"], capture_output=True, text=True, env=clock.environ, check=True)
        assert int(dated.stdout) - time.time() == pytest.approx(10 * DAY, abs=60)


def test_without_a_compiler_the_clock_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with Clock(tmp_path) as clock:
        assert clock.environ == {}
