"""The launcher's steps, in this process and with the system's calls recorded.

What it does in earnest, as a program of its own, is in `test_spawning.py`.
"""

import ctypes
import marshal
import os
import resource
import signal
import termios

import pytest

from ctld.processes import launcher


@pytest.fixture
def calls(monkeypatch):
    """Every call that would change this process, in order, instead of the change."""
    made = []

    def record(owner, name):
        monkeypatch.setattr(owner, name, lambda *arguments: made.append((name, *arguments)))

    for name in ("setpriority", "setgroups", "setresgid", "setresuid", "execvpe", "kill"):
        record(os, name)
    record(resource, "setrlimit")
    record(signal, "signal")
    monkeypatch.setattr("fcntl.ioctl", lambda fd, request, value: made.append(("ioctl", request, value)))
    return made


def run(**changes) -> str:
    plan = launcher.Plan(
        argv=[b"prog", b"-x"],
        env={b"A": b"1"},
        limits=[],
        nice=None,
        terminal=-1,
        groups=None,
        gid=None,
        uid=None,
        parent=os.getppid(),
        death_signal=0,
    )
    plan.update(changes)
    plan_fd = os.memfd_create("plan")
    os.write(plan_fd, marshal.dumps(dict(plan)))
    os.lseek(plan_fd, 0, os.SEEK_SET)
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        launcher.main(plan_fd, writing)
        assert not os.get_inheritable(writing)
    finally:
        os.close(writing)
        with os.fdopen(reading) as file:
            report = file.read()
    return report


EXEC = [
    ("signal", signal.SIGPIPE, signal.SIG_DFL),
    ("signal", signal.SIGXFSZ, signal.SIG_DFL),
    ("execvpe", b"prog", [b"prog", b"-x"], {b"A": b"1"}),
]


def test_only_what_is_asked_for_is_done(calls):
    assert run() == ""
    assert calls == EXEC


def test_the_order_keeps_privileges_until_they_are_not_needed(calls):
    terminal = os.memfd_create("terminal")
    limits = [(resource.RLIMIT_NOFILE, 10, 20)]
    assert run(limits=limits, nice=-5, terminal=terminal, groups=[7], gid=8, uid=9) == ""
    assert calls == [
        ("setrlimit", resource.RLIMIT_NOFILE, (10, 20)),
        ("setpriority", os.PRIO_PROCESS, 0, -5),
        ("ioctl", termios.TIOCSCTTY, 0),
        ("setgroups", [7]),
        ("setresgid", 8, 8, 8),
        ("setresuid", 9, 9, 9),
        *EXEC,
    ]


class Libc:
    def __init__(self, calls, result):
        self.calls, self.result = calls, result

    def prctl(self, *arguments):
        self.calls.append(("prctl", *arguments))
        return self.result


def test_the_wish_to_die_with_the_parent_comes_after_the_change_of_user(calls, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name, use_errno: Libc(calls, 0))
    assert run(uid=9, death_signal=int(signal.SIGTERM)) == ""
    assert calls == [("setresuid", 9, 9, 9), ("prctl", 1, signal.SIGTERM, 0, 0, 0), *EXEC]


@pytest.mark.parametrize("death_signal", [0, int(signal.SIGTERM)])
def test_a_parent_that_died_meanwhile_takes_the_child_along(calls, monkeypatch, death_signal):
    monkeypatch.setattr(ctypes, "CDLL", lambda name, use_errno: Libc(calls, 0))
    run(death_signal=death_signal, parent=1 << 30)
    assert ("kill", os.getpid(), signal.SIGKILL) in calls[:-1]


def test_a_refused_wish_is_reported(calls, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name, use_errno: Libc(calls, -1))
    monkeypatch.setattr(ctypes, "get_errno", lambda: 22)
    assert run(death_signal=99) == "bind_to_parent 22 [Errno 22] prctl"
    assert EXEC[-1] not in calls


@pytest.mark.parametrize(
    ("owner", "name", "error", "report"),
    [
        (resource, "setrlimit", ValueError("not allowed"), "limit 0 not allowed"),
        (os, "setpriority", PermissionError(13, "Permission denied"), "set_priority 13 [Errno 13] Permission denied"),
        (os, "setresuid", PermissionError(1, "no"), "change_user 1 [Errno 1] no"),
        (os, "execvpe", FileNotFoundError(2, "none"), "execute 2 [Errno 2] none"),
        (os, "execvpe", MemoryError(), "execute 0 "),
    ],
)
def test_the_first_failure_is_reported_and_ends_it(calls, monkeypatch, owner, name, error, report):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(owner, name, fail)
    assert run(limits=[(resource.RLIMIT_NOFILE, 1, 1)], nice=1, uid=1) == report
    assert name == "execvpe" or EXEC[-1] not in calls
