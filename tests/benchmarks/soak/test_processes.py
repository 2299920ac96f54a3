"""What /proc tells: descendants, adopted ones, descriptors, threads, memory."""

import os
import subprocess
import sys
import threading

from benchmarks.soak.processes import below, descriptors, family, resident, threads


def test_descendants_are_found_at_any_depth_and_cycles_do_no_harm():
    parents = {2: 1, 3: 2, 4: 3, 5: 1, 6: 6, 8: 7, 7: 8}
    assert below({2}, parents) == {3, 4}
    assert below({1}, parents) == {2, 3, 4, 5}
    assert below({9}, parents) == set()
    assert below({6}, parents) == {6}
    assert below({7}, parents) == {7, 8}


def test_children_are_of_a_kind():
    script = "import subprocess, sys; subprocess.run(['sleep', '1000'])"
    with subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "CTLD_JOB": "web"}) as parent:
        try:
            while not (found := [one for one in family(parent.pid, ()) if one.command == "sleep 1000"]):
                assert parent.poll() is None
            assert [one.kind for one in found] == ["job"]
        finally:
            for one in found:
                os.kill(one.pid, 9)
            parent.kill()


def test_other_children_of_ours_are_strays_unless_they_are_named():
    with subprocess.Popen(["sleep", "1000"]) as daemon, subprocess.Popen(["sleep", "2000"]) as other:
        try:
            kinds = {one.pid: one.kind for one in family(daemon.pid, ())}
            assert kinds[other.pid] == "stray program"
            assert daemon.pid not in kinds
            assert other.pid not in {one.pid for one in family(daemon.pid, [other.pid])}
        finally:
            daemon.kill()
            other.kill()


def test_a_child_that_nobody_waits_for_is_a_zombie():
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert {one.pid: one.kind for one in family(os.getpid(), ())}[child.pid].endswith("zombie")


def test_descriptors_are_counted_by_what_they_are(tmp_path):
    before = descriptors(os.getpid())
    reading, writing = os.pipe()
    with (tmp_path / "file").open("w"):
        more = descriptors(os.getpid()) - before
    os.close(reading)
    os.close(writing)
    assert more == {"pipe": 2, str(tmp_path / "file"): 1}


def test_threads_and_memory_of_this_process():
    before = threads(os.getpid())
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    assert threads(os.getpid()) == before + 1
    stop.set()
    other.join()
    assert resident(os.getpid()) > 1024 * 1024
