"""The processor time of another process."""

import subprocess
import sys
import time

import pytest

from benchmarks.clocks import processor_time

WORK = """
import sys, threading, time

def work():
    while time.thread_time() < 0.1:
        pass

threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(time.process_time(), flush=True)
sys.stdin.read()
"""


def test_processor_time_has_that_of_threads_that_have_ended():
    with subprocess.Popen([sys.executable, "-c", WORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        used = float(process.stdout.readline())
        assert used >= 0.2
        assert used <= processor_time(process.pid) < used + 0.05
        process.stdin.close()


def test_waiting_takes_none():
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        time.sleep(0.1)  # this is what is measured, not a wait for something
        assert processor_time(process.pid) < 0.05
        process.stdin.close()


def test_a_process_that_is_gone_has_none():
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(OSError, match="Invalid argument"):
        processor_time(gone.pid)
