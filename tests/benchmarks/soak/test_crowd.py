"""As many clients as there are to be, whoever of them dies, and none at the end."""

import os
import signal

import pytest

from benchmarks.soak import crowd as crowd_module
from benchmarks.soak.children import Children
from benchmarks.soak.client import CRASHED
from benchmarks.soak.crowd import Crowd
from benchmarks.soak.link import Where

WHERE = Where("", 0, 0, 0, "", "", "")


@pytest.fixture
def crowd(tmp_path, monkeypatch):
    def start(where, endless, folder, name, seed, mix):
        started.append((name, seed, mix))
        script = scripts.pop() if scripts else "exec sleep 1000"
        return os.posix_spawn("/bin/sh", ["sh", "-c", script], dict(os.environ))

    started, scripts = [], []
    monkeypatch.setattr(crowd_module, "start_client", start)
    children = Children()
    crowd = Crowd(WHERE, tmp_path, "7", 3, children)
    crowd.begin("op-1")
    yield crowd, children, started, scripts
    crowd.end()


def test_each_has_a_name_and_chance_of_its_own(crowd):
    crowd, _, started, _ = crowd
    assert started == [("c1", "7/c1", "polite"), ("c2", "7/c2", "mixed"), ("c3", "7/c3", "programs")]
    assert len(set(crowd.pids)) == 3


def test_whoever_dies_is_replaced_by_one_of_the_same_character(crowd):
    crowd, children, started, _ = crowd
    dead = crowd.pids[1]
    crowd.signal([dead], signal.SIGKILL)
    children.wait(dead, 30.0)
    crowd.tend()
    assert started[-1] == ("c4", "7/c4", "mixed")
    assert dead not in crowd.pids
    assert (len(crowd.pids), crowd.started, crowd.crashed) == (3, 4, 0)


def test_a_defect_of_a_client_is_counted(crowd):
    crowd, children, _, scripts = crowd
    scripts.append(f"exit {CRASHED}")
    dead = crowd.pids[0]
    crowd.signal([dead], signal.SIGKILL)
    children.wait(dead, 30.0)
    crowd.tend()
    children.wait(crowd.pids[0], 30.0)
    crowd.tend()
    assert crowd.crashed == 1


def test_nobody_is_left_at_the_end_even_if_stopped(crowd):
    crowd, children, _, _ = crowd
    pids = crowd.pids
    crowd.signal(pids[:1], signal.SIGSTOP)
    crowd.end()
    assert all(children.status(pid) is not None for pid in pids)
    assert crowd.pids == []


def test_who_has_gone_gets_no_signal(crowd):
    crowd, _, _, _ = crowd
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: heard.append(number))
    try:
        crowd.signal([os.getpid()], signal.SIGUSR1)  # is none of them
        assert heard == []
        os.kill(os.getpid(), signal.SIGUSR1)
        assert heard == [signal.SIGUSR1]  # it would have been heard
    finally:
        signal.signal(signal.SIGUSR1, before)
