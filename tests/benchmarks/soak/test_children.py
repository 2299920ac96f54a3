"""Taking leave of children, whosever they were."""

import os
import signal
import subprocess
import sys

from benchmarks.soak.children import Children


def test_the_end_of_a_child_is_remembered():
    children = Children()
    quick = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7"], {})
    slow = os.posix_spawn("/bin/sleep", ["sleep", "1000"], {})
    assert children.wait(quick, 30.0) == 7
    assert children.status(quick) == 7
    assert children.status(slow) is None
    assert children.wait(slow, 0.02) is None
    os.kill(slow, signal.SIGTERM)
    assert children.wait(slow, 30.0) == -signal.SIGTERM
    assert children.reap() == {quick: 7, slow: -signal.SIGTERM}


def test_a_new_child_with_the_number_of_an_old_one_has_not_ended():
    children = Children()
    pid = os.posix_spawn("/bin/true", ["true"], {})
    assert children.wait(pid, 30.0) == 0
    assert children.started(pid) == pid
    assert children.status(pid) is None


def test_orphans_are_adopted():
    script = """
import os, subprocess
from benchmarks.soak.children import Children, adopt_orphans
adopt_orphans()
child = subprocess.Popen(["sh", "-c", "sleep 0.1 & echo $!"], stdout=subprocess.PIPE, text=True)
orphan = int(child.stdout.readline())
print(Children().wait(orphan, 30.0))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout == "0\n"
