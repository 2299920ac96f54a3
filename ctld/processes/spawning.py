"""What to start, as a frozen value, and starting it."""

import asyncio
import marshal
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ctld.errors import InvalidOptions
from ctld.processes import launcher
from ctld.processes.accounts import Account, find_account
from ctld.processes.child import Child, PipeName
from ctld.processes.environment import inherited_environment
from ctld.processes.identity import ProcessIdentity
from ctld.processes.reasons import explain, explain_report
from ctld.processes.terminal import Terminal

__all__ = ["Spawn", "adopt", "is_launcher", "spawn"]

_UNCHANGED: Final = Account(None, None, None)

_LAUNCHER: Final = Path(launcher.__file__)

# How many files a process could have open before a server raised this for itself: it raises the
# limit when it starts, which is later.  Programs that use select() break with a higher one.
_OPEN_FILES: Final = resource.getrlimit(resource.RLIMIT_NOFILE)[0]

# The launcher reports in one short line.
_REPORT_SIZE: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawn:
    """What to start.

    Attributes:
        argv: The program, looked up in the child's PATH, and its arguments; no shell.
        env: The whole environment; None: the daemon's, without what was said to the daemon alone.
        cwd: The working directory; None: the daemon's.
        user: Whom it runs as; the environment does not change by itself (`Account.environment()`).
        group: Its primary group; None: the user's.
        extra_groups: Its supplementary groups; None: the user's.
        umask: Its file mode mask; None: the daemon's.
        nice: Its priority, -20 to 19; None: the daemon's.
        limits: Its resource limits: `resource.RLIMIT_...` to (soft, hard).  Through the launcher, the
            number of open files is as it was before the daemon raised its own.
        stdin: A descriptor that stays the caller's, or DEVNULL, or PIPE.
        stdout: Likewise.
        stderr: Likewise, or STDOUT.
        terminal: Its controlling terminal, and whatever of the three is DEVNULL; the slave is
            closed on our side once the child has it, the master stays the caller's.
        death_signal: What the child gets when the daemon dies, by PR_SET_PDEATHSIG: it holds for
            the child alone and not its children, a set-uid program loses it, and the thread that
            started the child must live as long as the daemon.  0: nothing.
        kill_group: When the child ends, kill what is left of its group.
    """

    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    cwd: str | None = None
    user: str | int | None = None
    group: str | int | None = None
    extra_groups: tuple[str | int, ...] | None = None
    umask: int | None = None
    nice: int | None = None
    limits: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    stdin: int = subprocess.DEVNULL
    stdout: int = subprocess.DEVNULL
    stderr: int = subprocess.DEVNULL
    terminal: Terminal | None = None
    death_signal: int = 0
    kill_group: bool = False

    @property
    def needs_launcher(self) -> bool:
        """Whether it wants something that Popen cannot safely do."""
        return bool(self.limits or self.nice is not None or self.terminal or self.death_signal)


async def spawn(spec: Spawn) -> Child:
    """Start a child; it runs its program when this returns.

    Cancelled, or failing, it leaves no process and no descriptor behind.

    Raises:
        NotFound: There is no such program, directory, user or group (`fields["kind"]`).
        Busy: Processes, memory or descriptors have run out.
        InvalidOptions: The specification cannot work.
        CommandFailed: The system refuses for another reason, which the message tells.
    """
    if not spec.argv:
        raise InvalidOptions("there is no program to start", path="argv")
    account = find_account(spec.user, spec.group, spec.extra_groups)
    with ExitStack() as ours, ExitStack() as theirs:
        try:
            streams = _open_streams(spec, ours, theirs)
            pipes = {name: end for name, (_, end) in streams.items() if end >= 0}
            ends = {name: end for name, (end, _) in streams.items()}
            if spec.needs_launcher:
                child = await _launch(spec, account, ends)
            else:
                child = _start(spec, spec.argv, ends, account=account, env=_environment(spec))
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise explain(error, spec.argv[0], cwd=spec.cwd, account=spec.user or spec.group) from error
        child.own_pipes(pipes)
        ours.pop_all()
    if spec.terminal:
        spec.terminal.close_slave()
    return child


def is_launcher(command_line: bytes) -> bool:
    """Tell whether a process is about to become a child's program, by its `/proc/PID/cmdline`."""
    return os.fsencode(_LAUNCHER) in command_line.split(b"\0")


def adopt(identity: ProcessIdentity, *, kill_group: bool = False) -> Child | None:
    """Watch a process that an earlier daemon started by `spawn()`; None if it is gone.

    Its exit status cannot be learnt, as it is not our child.
    """
    try:
        pidfd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    # The descriptor names one process for good: what is checked after opening it stays true.
    try:
        same = identity.is_current() and os.getpgid(identity.pid) == identity.pid
    except ProcessLookupError:
        same = False
    if not same:
        os.close(pidfd)
        return None
    return Child(identity, pidfd, adopted=True, kill_group=kill_group)


def _open_streams(spec: Spawn, ours: ExitStack, theirs: ExitStack) -> dict[PipeName, tuple[int, int]]:
    """Return per stream what the child gets, and our end of it, or -1."""

    def open_one(name: PipeName, wanted: int) -> tuple[int, int]:
        if wanted == subprocess.DEVNULL and spec.terminal:
            return spec.terminal.slave, -1
        if wanted != subprocess.PIPE:
            return wanted, -1
        reading, writing = os.pipe2(os.O_CLOEXEC)
        child_end, our_end = (reading, writing) if name == "stdin" else (writing, reading)
        theirs.callback(os.close, child_end)
        ours.callback(os.close, our_end)
        os.set_blocking(our_end, False)
        return child_end, our_end

    return {
        "stdin": open_one("stdin", spec.stdin),
        "stdout": open_one("stdout", spec.stdout),
        "stderr": open_one("stderr", spec.stderr),
    }


def _start(
    spec: Spawn,
    argv: Sequence[str],
    ends: Mapping[PipeName, int],
    *,
    account: Account = _UNCHANGED,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> Child:
    """Start a process and watch it."""
    process = subprocess.Popen(
        argv,
        stdin=ends["stdin"],
        stdout=ends["stdout"],
        stderr=ends["stderr"],
        env=env,
        cwd=spec.cwd,
        user=account.uid,
        group=account.gid,
        extra_groups=account.groups,
        umask=-1 if spec.umask is None else spec.umask,
        start_new_session=True,
        pass_fds=pass_fds,
    )
    # The watcher of the pidfd reaps it, and Popen, which must not, thinks that it is done.
    process.returncode = 0
    try:
        pidfd = os.pidfd_open(process.pid)
        identity = ProcessIdentity.of(process.pid)
        assert identity is not None, "a child that nobody has reaped"
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)
        raise
    return Child(identity, pidfd, kill_group=spec.kill_group)


async def _launch(spec: Spawn, account: Account, ends: Mapping[PipeName, int]) -> Child:
    """Start the launcher and wait until it has become the program."""
    if spec.terminal and account.uid is not None:
        spec.terminal.give_to(account.uid)
    slave = spec.terminal.slave if spec.terminal else -1
    with ExitStack() as stack:
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        stack.callback(os.close, reading)
        with os.fdopen(writing, "wb", buffering=0), os.fdopen(os.memfd_create("plan"), "w+b") as plan:
            marshal.dump(dict(_plan(spec, account, slave)), plan)
            plan.seek(0)
            argv = [sys.executable, "-I", "-S", os.fspath(_LAUNCHER), str(plan.fileno()), str(writing)]
            pass_fds = [plan.fileno(), writing, *([slave] if slave >= 0 else [])]
            child = _start(spec, argv, ends, pass_fds=pass_fds)
        try:
            report = await _read_report(reading)
        except BaseException:
            child.kill_now()
            raise
    if report:
        child.kill_now()
        raise explain_report(report, spec.argv[0], cwd=spec.cwd)
    return child


def _plan(spec: Spawn, account: Account, slave: int) -> launcher.Plan:
    return {
        "argv": [os.fsencode(word) for word in spec.argv],
        # Enumerations are numbers to everybody but marshal.
        "env": {os.fsencode(name): os.fsencode(value) for name, value in _environment(spec).items()},
        "limits": [(int(number), soft, hard) for number, (soft, hard) in (_open_files() | dict(spec.limits)).items()],
        "nice": spec.nice,
        "terminal": slave,
        "groups": None if account.groups is None else list(account.groups),
        "gid": account.gid,
        "uid": account.uid,
        "parent": os.getpid(),
        "death_signal": int(spec.death_signal),
    }


def _environment(spec: Spawn) -> Mapping[str, str]:
    return inherited_environment() if spec.env is None else spec.env


def _open_files() -> dict[int, tuple[int, int]]:
    """Return the limit that takes ours back; nothing if it was not raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _OPEN_FILES == resource.RLIM_INFINITY or resource.RLIM_INFINITY != soft <= _OPEN_FILES:
        return {}
    return {resource.RLIMIT_NOFILE: (_OPEN_FILES, hard)}


async def _read_report(fd: int) -> str:
    """Wait for the end of the launcher's report: empty once it has become the program."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _set_once, readable)
    try:
        await readable
    finally:
        loop.remove_reader(fd)
    return os.read(fd, _REPORT_SIZE).decode(errors="replace")


def _set_once(future: asyncio.Future[None]) -> None:
    if not future.done():  # it is called again and again until the awaiting task has run
        future.set_result(None)
