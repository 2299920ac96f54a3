"""What other programs took of a slice."""

import os
import subprocess
import sys
import time

import pytest

from benchmarks.interference import Process, Watch, processor_time, waited

SPIN = "import sys\nprint(flush=True)\nwhile True: pass"


@pytest.fixture
def spinning():
    """Two programs that want the same processor all the time."""
    processor = {min(os.sched_getaffinity(0))}
    programs = [subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE) for _ in range(2)]
    for program in programs:
        os.sched_setaffinity(program.pid, processor)
        program.stdout.readline()
    yield [program.pid for program in programs]
    for program in programs:
        program.kill()
        program.communicate()


def test_two_that_share_a_processor_disturb_each_other(spinning):
    watches = [Watch(Process(pid, threaded), saturated=True) for pid in spinning for threaded in (False, True)]
    begun = time.monotonic()
    time.sleep(0.4)  # this is what is measured, not a wait for something
    seconds = time.monotonic() - begun
    for watch in watches:
        assert 0.1 < watch.disturbed(seconds) < 1.1


def test_threads_of_a_server_with_little_to_do_disturb_nobody():
    watch = Watch(Process(os.getpid(), threaded=True), saturated=False)
    assert watch.disturbed(10.0) == 0.0


def test_processor_time_is_that_of_the_process():
    before = processor_time(os.getpid())
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert processor_time(os.getpid()) - before == pytest.approx(0.05, abs=0.04)


def test_a_process_that_is_gone_waits_for_nothing():
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert waited(gone.pid) == 0.0
