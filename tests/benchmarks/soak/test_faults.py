"""Every kind of fault that can be drawn can be done, and undone."""

import signal
import socket
from collections import Counter
from typing import Any, cast

import pytest

from benchmarks.soak import faults as faults_module
from benchmarks.soak.faults import Faults
from benchmarks.soak.processes import Process
from benchmarks.soak.schedule import KINDS, Fault


class Told:
    """A daemon, its clients, disk and clock at once: it only notes what it is told."""

    pid = 4711
    where = None
    pids = [11, 12, 13]  # noqa: RUF012 - nobody changes it

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def signal(self, *what: Any) -> None:
        self.notes.append(what if len(what) > 1 else what[0])

    def fill(self, pid: int) -> None:
        self.notes.append(("fill", pid))

    def empty(self, pid: int) -> None:
        self.notes.append(("empty", pid))

    def set(self, offset: int) -> None:
        self.notes.append(("clock", offset))

    def allow_descriptors(self, count: int | None) -> None:
        self.notes.append(("descriptors", count))


@pytest.fixture
def told(monkeypatch):
    told = Told()
    monkeypatch.setattr(faults_module, "descriptors", lambda pid: Counter(socket=30))
    monkeypatch.setattr(faults_module, "dial", lambda *where: socket.socket())
    processes = [Process(91, "worker", ""), Process(92, "job", ""), Process(93, "program", ""), Process(94, "job", "")]
    monkeypatch.setattr(faults_module, "family", lambda pid, own: processes)
    monkeypatch.setattr(faults_module.os, "kill", lambda pid, number: told.notes.append(("kill", pid, number)))
    return told


def faults_of(told: Told) -> Faults:
    one = cast(Any, told)
    return Faults(one, one, one, one, lambda: 5.0)


EXPECTED = {
    "kill a client": ([([12], signal.SIGKILL)], []),
    "kill all clients": ([([11, 12, 13], signal.SIGKILL)], []),
    "stop a client": ([([12], signal.SIGSTOP)], [([12], signal.SIGCONT)]),
    "stop the daemon": ([signal.SIGSTOP], [signal.SIGCONT]),
    "run out of descriptors": ([("descriptors", 42)], [("descriptors", None)]),
    "fill the disk": ([("fill", 4711)], [("empty", 4711)]),
    "set the clock": ([("clock", 0)], []),
    "kill a worker": ([("kill", 91, signal.SIGKILL)], []),
    "kill a job": ([("kill", 94, signal.SIGKILL)], []),
    "kill a session": ([("kill", 93, signal.SIGKILL)], []),
    "reload": ([signal.SIGHUP], []),
}


def test_there_is_a_case_for_every_kind():
    assert EXPECTED.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_fault_is_done_and_undone(told, kind):
    done, undone = EXPECTED[kind]
    undo = faults_of(told).begin(Fault(0.0, kind, 1.0, 0.5))
    assert told.notes == done
    undo()
    assert told.notes == done + undone


def test_the_time_without_descriptors_is_noted(told):
    faults = faults_of(told)
    undo = faults.begin(Fault(0.0, "run out of descriptors", 1.0, 0.5))
    assert faults.windows == []
    undo()
    assert faults.windows == [(5.0, 5.0)]


def test_whom_to_kill_may_have_gone(told, monkeypatch):
    tried: list[int] = []

    def gone(pid: int, number: int) -> None:
        tried.append(pid)
        raise ProcessLookupError

    monkeypatch.setattr(faults_module.os, "kill", gone)
    faults_of(told).begin(Fault(0.0, "kill a job", 0.0, 0.5))
    assert len(tried) == 1
    monkeypatch.setattr(faults_module, "family", lambda pid, own: [])
    faults_of(told).begin(Fault(0.0, "kill a job", 0.0, 0.5))
    assert len(tried) == 1


def test_there_is_no_other_fault(told):
    with pytest.raises(ValueError, match="no fault 'flood'"):
        faults_of(told).begin(Fault(0.0, "flood", 0.0, 0.5))
