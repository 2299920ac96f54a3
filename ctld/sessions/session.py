"""Session: a program, or a terminal that somebody else drives, and the clients that look at it.

Theory of operation.  The output of the program is read here, kept in the scroll-back, and
passed on to every viewer in the order in which it was read.  What happens (the program ends,
a client leaves, somebody wants it to end) goes through the table of `ctld.sessions.state`, and
what is done about it is done on entering a state, once.

Who may type may also slow the program down: while such a viewer is behind with reading,
nothing is read from the program.  Who only watches may not: a watcher that falls too far
behind is let go.  With no viewer at all the output only goes to the scroll-back.

The end has an order: the program ends; all its output is read; only then do the viewers learn
of the end, and only once.  A grandchild that keeps the pipe open is waited for only as long as
it writes.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from ctld.errors import CommandFailed
from ctld.ownership import current_owner
from ctld.processes import ExitStatus, Spawn, Terminal
from ctld.sessions.current import current_sessions
from ctld.sessions.launching import start_program
from ctld.sessions.program import Program
from ctld.sessions.scrollback import Scrollback
from ctld.sessions.state import Input, OnDisconnect, State, input_on_disconnect, next_state

if TYPE_CHECKING:
    from ctld.sessions.table import SessionTable

__all__ = ["Session", "Viewer"]

# Seconds without output after which whoever holds the pipe of a program that has ended is
# taken not to be a part of it.
_SILENCE: Final = 1.0

# Seconds after which one that does write is left behind, too: a session ends with its program.
_DRAIN_LIMIT: Final = 10.0


class Viewer(Protocol):
    """A client that looks at a session."""

    @property
    def may_type(self) -> bool:
        """Whether what it types goes to the program."""
        ...

    @property
    def congested(self) -> bool:
        """Whether it is behind with reading."""
        ...

    def on_output(self, stream: int, data: bytes) -> None:
        """Take output: 1 is stdout, or the terminal; 2 is stderr."""
        ...

    def on_output_end(self, stream: int) -> None:
        """That stream has ended."""
        ...

    def on_input_full(self, full: bool) -> None:
        """The program is, or is no longer, behind with reading."""
        ...

    def on_ended(self) -> None:
        """The session has ended; nothing more will come."""
        ...


class Session:
    """A program behind a terminal or pipes, with many viewers and a scroll-back.

    Made by `Session.spawn()`, `Session.from_fd()`, or by `Context.exec()`.

    Attributes:
        id: Its id, by which `session_attach` and the others know it.
        argv: The program and its arguments.
        tty: Whether it has a terminal.
        on_disconnect: What becomes of it when nobody who may type is left.
        owner: Who asked for it.
        uid: The owner's user id.
        operation: The id of the operation that made it.
        state: What is going on with it.
        started_at: Since when, by the clock on the wall.
        bytes_in: What its clients have typed.
        bytes_out: What it has written.
        reason: Why it was made to end, where somebody has to be told.
        over: Done once all is over.
        watched: Whether somebody looked on when it ended.
    """

    def __init__(
        self, table: "SessionTable", number: str, argv: Sequence[str], *, tty: bool, on_disconnect: OnDisconnect
    ) -> None:
        self.id = number
        self.argv = tuple(argv)
        self.tty = tty
        self.on_disconnect = on_disconnect
        owner = current_owner.get()
        self.owner = "daemon" if owner is None else str(owner.peer)
        self.uid = None if owner is None else owner.peer.uid
        self.operation = "" if owner is None else owner.id
        self.state = State.STARTING
        self.started = time.monotonic()
        self.started_at = time.time()
        self.bytes_in = 0
        self.bytes_out = 0
        self.reason: CommandFailed | None = None
        self._table = table
        self._loop = asyncio.get_running_loop()
        self._program = Program(self)
        self._scrollback = Scrollback()
        self._viewers: tuple[Viewer, ...] = ()  # replaced, never changed: they come and go while it is read
        self._timer: asyncio.TimerHandle | None = None
        self._drain_started = 0.0
        self._status: ExitStatus | None = None
        self.over: asyncio.Future[None] = self._loop.create_future()
        self.watched = False

    def __repr__(self) -> str:
        return f"<Session {self.id} {self.state.value} {' '.join(self.argv)!r}>"

    @classmethod
    async def spawn(
        cls,
        argv: Sequence[str],
        *,
        tty: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | None = None,
    ) -> "Session":
        """Start a program that outlives whoever looks at it; `Context.attach()` joins clients to it.

        Args:
            argv: The program and its arguments.
            tty: Whether it gets a terminal.
            env: Variables to add to its environment.
            cwd: The directory to start in.
            user: Whom it runs as.

        Raises:
            NotFound: There is no such program, directory or user.
            CommandFailed: It cannot be started.
        """
        session = current_sessions.get().create(argv, tty=tty, on_disconnect="detach")
        await start_program(session, env=env, cwd=cwd, user=user)
        return session

    @classmethod
    def from_fd(cls, fd: int, *, on_resize: Callable[[int, int], None] | None = None) -> "Session":
        """Make a session of a terminal or socket that somebody else drives; it ends when that does.

        Args:
            fd: The descriptor; the session owns it from now on.
            on_resize: Told the rows and columns of the clients' terminals.
        """
        session = current_sessions.get().create((f"fd {fd}",), tty=True, on_disconnect="detach")
        session.drive(fd, on_resize)
        return session

    @property
    def pid(self) -> int | None:
        """The process id of the program, while it runs."""
        return self._program.pid

    @property
    def input_full(self) -> bool:
        """Whether the program is behind with reading."""
        return self._program.input_full

    @property
    def starting(self) -> bool:
        """Whether the program is still to be started."""
        return self.state in (State.STARTING, State.DOOMED)

    @property
    def ended(self) -> bool:
        """Whether all is over."""
        return self.state is State.ENDED

    @property
    def exit_status(self) -> int | None:
        """What the program ended with, 128 + N after signal N; None before."""
        return None if self._status is None else self._status.code

    async def start(self, spec: Spawn, terminal: Terminal | None = None) -> None:
        """Start the program.

        Args:
            spec: What to start; it says which streams are pipes to us.
            terminal: Its terminal, which the session owns from now on.

        Raises:
            CommandFailed: It cannot be started.
        """
        await self._program.start(spec, terminal)
        self._advance(Input.STARTED)

    def drive(self, fd: int, on_resize: Callable[[int, int], None] | None = None) -> None:
        """Be about a terminal or socket that somebody else drives, and own it."""
        self._program.drive(fd, on_resize)
        self._advance(Input.STARTED)

    def fail(self) -> None:
        """Note that the program could not be started."""
        self._advance(Input.FAILED)

    async def wait(self) -> int:
        """Wait for the end, and return the exit status.

        Raises:
            CommandFailed: It was made to end for that reason: the daemon shuts down.
        """
        await asyncio.shield(self.over)
        if self.reason is not None:
            raise self.reason
        return self.exit_status or 0

    # What clients do.

    def join(self, viewer: Viewer) -> None:
        """Let a client look, from the scroll-back on."""
        for stream, data in self._scrollback:
            viewer.on_output(stream, data)
        self._viewers = (*self._viewers, viewer)
        self._advance(Input.JOINED)
        if self.input_full and viewer.may_type:
            viewer.on_input_full(True)
        if self.ended:
            viewer.on_ended()
        else:
            self.balance()

    def leave(self, viewer: Viewer, *, on_purpose: bool = False) -> None:
        """Let a client go.

        Args:
            viewer: The client.
            on_purpose: Whether it said so: then the session goes on without it.
        """
        if viewer not in self._viewers:
            return
        self._viewers = tuple(other for other in self._viewers if other is not viewer)
        if on_purpose:
            self.on_disconnect = "detach"
        if not any(other.may_type for other in self._viewers) and viewer.may_type:
            self._advance(input_on_disconnect(self.on_disconnect))
        elif not self._viewers:
            self._advance(Input.LEFT)
        self.balance()

    def write(self, *pieces: bytes | memoryview) -> None:
        """Type something, one piece after the other."""
        self.bytes_in += sum(map(len, pieces))
        self._program.write(*pieces)

    def end_input(self) -> None:
        """Type no more; a terminal gets its character for that."""
        self._program.end_input()

    def resize(self, rows: int, cols: int) -> None:
        """Set the size of the terminal; without one nothing happens.

        Raises:
            InvalidOptions: No terminal has such a size.
        """
        self._program.resize(rows, cols)

    def signal(self, number: int) -> bool:
        """Send a signal to the program's group; False if there is none any more.

        Raises:
            CommandFailed: It is not permitted.
        """
        return self._program.signal(number)

    def hang_up(self, reason: CommandFailed | None = None) -> None:
        """Make it end: SIGHUP, and after the grace period SIGKILL.

        Args:
            reason: What to tell those who wait for it.
        """
        self.reason = self.reason or reason
        self._advance(Input.HANG_UP)

    def kill(self) -> None:
        """Make it end at once."""
        self._advance(Input.KILL)

    def balance(self) -> None:
        """Read from the program as fast as those who may type read; call it when one has caught up."""
        self._program.hold(any(viewer.congested for viewer in self._viewers if viewer.may_type))

    def describe(self) -> dict[str, Any]:
        """Return what `session_list` tells of it."""
        return {
            "id": self.id,
            "cmd": list(self.argv),
            "owner": self.owner,
            "uid": self.uid,
            "pid": self.pid,
            "tty": self.tty,
            "state": self.state.value,
            "started": round(self.started_at, 3),
            "age": round(time.monotonic() - self.started, 3),
            "viewers": len(self._viewers),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "operation": self.operation,
            "exitstatus": self.exit_status,
        }

    # What the program tells.

    def on_output(self, stream: int, data: bytes) -> None:
        """It has written."""
        self.bytes_out += len(data)
        self._scrollback.append(stream, data)
        for viewer in self._viewers:
            viewer.on_output(stream, data)
        self.balance()

    def on_output_end(self, stream: int) -> None:
        """It will write no more there."""
        for viewer in self._viewers:
            viewer.on_output_end(stream)
        if not self._program.is_child and self._status is None:
            self.on_exit(ExitStatus(0))
        self._check_drained()

    def on_input_full(self, full: bool) -> None:
        """It is, or is no longer, behind with reading."""
        for viewer in self._viewers:
            if viewer.may_type:
                viewer.on_input_full(full)

    def on_exit(self, status: ExitStatus) -> None:
        """It has ended."""
        self._status = status
        self._advance(Input.EXITED)

    # What is done about it.

    def _advance(self, happening: Input) -> None:
        before, self.state = self.state, next_state(self.state, happening)
        if self.state is before:
            return
        if self._timer is not None and self.state in (State.KILLED, State.DRAINING, State.ENDED):
            self._timer.cancel()
            self._timer = None
        if happening is Input.STARTED:
            self._table.started(self)
        if self.state is State.HANGING_UP:
            self._timer = self._loop.call_later(self._table.grace, self._advance, Input.OVERDUE)
            # What is stopped has to wake up to hear it.
            self._program.end_by(signal.SIGHUP, signal.SIGCONT)
        elif self.state is State.KILLED:
            self._program.end_by(signal.SIGKILL)
        elif self.state is State.DRAINING:
            self._drain()
        elif self.state is State.ENDED:
            self._finish()

    def _drain(self) -> None:
        self._program.close_input()
        self._drain_started = self._loop.time()
        self._check_drained()
        if self.state is State.DRAINING:
            self._program.was_silent()
            self._timer = self._loop.call_later(_SILENCE, self._watch_silence)

    def _watch_silence(self) -> None:
        """Look once in a while whether somebody still writes to the pipe of a program that has ended."""
        silent = self._program.was_silent()
        if self._program.paused:
            self._drain_started = self._loop.time()  # it is a viewer who takes his time
        elif silent or self._loop.time() - self._drain_started > _DRAIN_LIMIT:
            self._advance(Input.OVERDUE)
            return
        self._timer = self._loop.call_later(_SILENCE, self._watch_silence)

    def _check_drained(self) -> None:
        if self.state is State.DRAINING and self._program.drained:
            self._advance(Input.DRAINED)

    def _finish(self) -> None:
        self._program.close()
        self.watched = bool(self._viewers)
        self.over.set_result(None)
        self._table.ended(self)
        for viewer in self._viewers:
            viewer.on_ended()
