"""A child process: its end, its signals, our ends of its pipes.

Invariant: the process is reaped in one place, `_on_exit()` (or `kill_now()`, which stands in
for it), and its group is only ever signalled before that.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from signal import SIGCONT, SIGKILL, SIGTERM, Signals, pidfd_send_signal
from types import TracebackType
from typing import Final, Literal, TypeAlias

from ctld.errors import CommandFailed
from ctld.processes.identity import ProcessIdentity

__all__ = ["Child", "ExitStatus", "PipeName"]

PipeName: TypeAlias = Literal["stdin", "stdout", "stderr"]

# A shell's way to tell of a signal in eight bits.
_SIGNAL_BASE: Final = 128

# What we say when the kernel tells nobody: the process was not our child, or was reaped by another.
_UNKNOWN_CODE: Final = 255


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended.

    Attributes:
        code: 0 to 255, as a shell has it: 128 + N after signal N.
        signal: The signal that ended it; 0: it ended by itself.
        known: False where nobody could tell: an adopted process; `code` is then 255.
    """

    code: int
    signal: int = 0
    known: bool = True

    def __str__(self) -> str:
        if not self.known:
            return "ended, nobody knows how"
        if self.signal:
            return f"killed by {_signal_name(self.signal)}"
        return f"exit code {self.code}"


class Child:
    """A process in a session and group of its own, made by `spawn()` or found by `adopt()`.

    `async with child:` ends by killing and reaping what still runs, also when cancelled.

    Attributes:
        identity: Which process it is, for a daemon that comes later.
        kill_group: Whether what is left of its group is killed when it ends.
    """

    def __init__(
        self,
        identity: ProcessIdentity,
        pidfd: int,
        *,
        adopted: bool = False,
        kill_group: bool = False,
    ) -> None:
        self.identity = identity
        self._pidfd = pidfd
        self._adopted = adopted
        self.kill_group = kill_group
        self._pipes: dict[PipeName, int] = {}
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[ExitStatus] = self._loop.create_future()
        self._loop.add_reader(pidfd, self._on_exit)

    async def __aenter__(self) -> "Child":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        await self.wait()

    def __repr__(self) -> str:
        return f"<Child pid={self.pid} {self.status or 'running'}>"

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's and its session's."""
        return self.identity.pid

    @property
    def status(self) -> ExitStatus | None:
        """How it ended; None while it runs."""
        return self._ended.result() if self._ended.done() else None

    @property
    def stdin(self) -> int | None:
        """Our end of its standard input, not blocking; None without one."""
        return self._pipes.get("stdin")

    @property
    def stdout(self) -> int | None:
        """Our end of its standard output, not blocking; None without one."""
        return self._pipes.get("stdout")

    @property
    def stderr(self) -> int | None:
        """Our end of its standard error, not blocking; None without one."""
        return self._pipes.get("stderr")

    def own_pipes(self, pipes: Mapping[PipeName, int]) -> None:
        """Take over our ends of its pipes, to close them in the end."""
        self._pipes.update(pipes)

    def take(self, name: PipeName) -> int:
        """Return our end of a pipe, which the caller owns from now on, to make a transport of it."""
        return self._pipes.pop(name)

    async def wait(self) -> ExitStatus:
        """Wait for its end.  Any number may wait; a wait that is cancelled harms nobody."""
        return await asyncio.shield(self._ended)

    def on_exit(self, callback: Callable[[ExitStatus], None]) -> None:
        """Have a function called, by the loop, when it has ended; also if it has already."""
        self._ended.add_done_callback(lambda ended: callback(ended.result()))

    def signal(self, number: int) -> bool:
        """Send a signal to its whole group.

        Returns:
            False if it has ended, or was released: nobody was signalled.

        Raises:
            CommandFailed: The kernel does not let us: the processes belong to another user.
        """
        if self._pidfd < 0:
            return False
        try:
            if self._adopted:
                # Somebody else reaps it: make sure, as late as we can, that its number is still its own.
                pidfd_send_signal(self._pidfd, 0)
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return False
        except PermissionError:
            raise CommandFailed(f"not permitted to send {_signal_name(number)} to process {self.pid}") from None
        return True

    async def terminate(self, grace: float, number: int = SIGTERM) -> ExitStatus:
        """Ask the group to end, wait `grace` seconds for the child, then kill the group.

        A child that is stopped is continued, so that it can hear us.
        """
        self.signal(number)
        self.signal(SIGCONT)
        try:
            async with asyncio.timeout(grace):
                return await self.wait()
        except TimeoutError:
            self.signal(SIGKILL)
            return await self.wait()

    def close_pipes(self) -> None:
        """Close our ends of its pipes."""
        while self._pipes:
            os.close(self._pipes.popitem()[1])

    def close(self) -> None:
        """Close our ends of its pipes and kill its group if it still runs; `wait()` sees it reaped."""
        self.close_pipes()
        with suppress(CommandFailed):  # a set-user-id program, and we are not root: its end is not in our hands
            self.signal(SIGKILL)

    def kill_now(self) -> None:
        """Kill and reap our own child before returning, for a clean-up that must not await."""
        self.close_pipes()
        if self.signal(SIGKILL):
            # By pid, as uvloop has made the pidfd non-blocking.
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self._on_exit()

    def release(self) -> None:
        """Stop watching it and let it live: its `identity` lets another daemon `adopt()` it.

        Who waits for its end here waits for ever.
        """
        self.close_pipes()
        self._stop_watching()

    def _on_exit(self) -> None:
        if self.kill_group:
            self._kill_rest_of_group()
        status = self._reap()
        self._stop_watching()
        self._ended.set_result(status)

    def _stop_watching(self) -> None:
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)

    def _kill_rest_of_group(self) -> None:
        # Our own child is a zombie now and keeps the number of the group reserved.  That of an adopted
        # one is reserved by the rest of the group, if there is any, unless the pid lives again.
        if self._adopted and ProcessIdentity.of(self.pid) not in (None, self.identity):
            return
        try:
            os.killpg(self.pid, SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # nobody is left, or nobody whom we may touch

    def _reap(self) -> ExitStatus:
        if self._adopted:
            return ExitStatus(_UNKNOWN_CODE, known=False)
        try:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        except ChildProcessError:  # SIGCHLD is ignored in this process: the kernel reaped it
            return ExitStatus(_UNKNOWN_CODE, known=False)
        assert result is not None, "waitid() without WNOHANG"
        if result.si_code == os.CLD_EXITED:
            return ExitStatus(result.si_status)
        return ExitStatus(_SIGNAL_BASE + result.si_status, result.si_status)


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:  # the real-time signals have no names of their own
        return f"signal {number}"
