"""Prepares a child from within and becomes its program: run by path, never imported by ctld.

It runs as `python -I -S launcher.py PLAN STATUS`, so it knows the standard library only.
PLAN is a descriptor with the marshalled plan, STATUS the writing end of a pipe: the exec
closes it in silence; a failure writes `STEP ERRNO TEXT` first.

The order matters: limits may be raised and priority gained while we are still root; the
terminal is ours to take before the user changes; the kernel forgets the wish to die with
the parent when credentials change, so it comes last; and when the daemon has died while we
prepared, nothing is started at all.
"""

import marshal
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TypedDict

__all__ = ["Plan", "main"]

_PR_SET_PDEATHSIG = 1


class Plan(TypedDict):
    """What there is to do; only what marshal can carry.

    Attributes:
        argv: The program and its arguments.
        env: Its whole environment.
        limits: Resource limits: (resource, soft, hard).
        nice: The priority; None: as it is.
        terminal: The descriptor of the controlling terminal; -1: none.
        groups: The supplementary groups; None: as they are.
        gid: The group; None: as it is.
        uid: The user; None: as it is.
        parent: The pid of the daemon.
        death_signal: What to get when the daemon dies; 0: nothing.
    """

    argv: list[bytes]
    env: dict[bytes, bytes]
    limits: list[tuple[int, int, int]]
    nice: int | None
    terminal: int
    groups: list[int] | None
    gid: int | None
    uid: int | None
    parent: int
    death_signal: int


def main(plan_fd: int, status_fd: int) -> None:
    """Carry out the plan and exec; return only after a failure, which is reported."""
    os.set_inheritable(status_fd, False)
    with open(plan_fd, "rb") as file:
        plan: Plan = marshal.load(file)  # nosec B302 # noqa: S302 - written by our own parent into a memfd
    if plan["death_signal"]:
        _load_libc()  # another user may not be able to read where this interpreter lives
    for step in (_limit, _set_priority, _take_terminal, _change_user, _bind_to_parent, _check_parent, _execute):
        try:
            step(plan)
        except (OSError, ValueError, MemoryError) as error:
            _report(status_fd, step, error)
            return


def _limit(plan: Plan) -> None:
    if plan["limits"]:
        import resource

        for number, soft, hard in plan["limits"]:
            resource.setrlimit(number, (soft, hard))


def _set_priority(plan: Plan) -> None:
    if plan["nice"] is not None:
        os.setpriority(os.PRIO_PROCESS, 0, plan["nice"])


def _take_terminal(plan: Plan) -> None:
    if plan["terminal"] >= 0:
        import fcntl
        import termios

        fcntl.ioctl(plan["terminal"], termios.TIOCSCTTY, 0)
        os.close(plan["terminal"])


def _change_user(plan: Plan) -> None:
    if plan["groups"] is not None:
        os.setgroups(plan["groups"])
    if (gid := plan["gid"]) is not None:
        os.setresgid(gid, gid, gid)
    if (uid := plan["uid"]) is not None:
        os.setresuid(uid, uid, uid)


def _bind_to_parent(plan: Plan) -> None:
    if plan["death_signal"]:
        ctypes, libc = _load_libc()
        if libc.prctl(_PR_SET_PDEATHSIG, plan["death_signal"], 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


def _check_parent(plan: Plan) -> None:
    # A daemon that died meanwhile, or before we asked to die with it, knows nothing of us, and neither will the next.
    if os.getppid() != plan["parent"]:
        os.kill(os.getpid(), signal.SIGKILL)


def _load_libc() -> tuple[Any, Any]:
    import ctypes

    return ctypes, ctypes.CDLL(None, use_errno=True)


def _execute(plan: Plan) -> None:
    # Python ignores these two from its start, and what is ignored stays ignored across exec.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execvpe(plan["argv"][0], plan["argv"], plan["env"])  # nosec B606 # noqa: S606 - this is what it is for


def _report(status_fd: int, step: Callable[[Plan], None], error: Exception) -> None:
    number = error.errno if isinstance(error, OSError) and error.errno else 0
    os.write(status_fd, f"{step.__name__.strip('_')} {number} {error}".encode(errors="replace"))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
    sys.exit(127)
