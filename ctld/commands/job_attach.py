"""`job_attach`: a client at the terminal of a job.

The terminal stays the daemon's, which writes its output to the job's file.  A client gets a
session of its own, whose other end is a pair of sockets to the job's console: so one that is
slow holds up neither the job nor other clients; it misses output instead.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Annotated, Any, Final

import msgspec

from ctld.commands.context import Context
from ctld.commands.job_options import JobName
from ctld.commands.options import Option
from ctld.commands.places import Places
from ctld.commands.registry import CommandRegistry
from ctld.errors import Busy, CommandFailed
from ctld.jobs.console import Console
from ctld.jobs.supervisor import Supervisor
from ctld.jobs.tail import last_bytes
from ctld.sessions.session import Session

__all__ = ["AttachEnd", "attach_commands"]

# About what a screen or two need.
_REPLAYED: Final = 16 * 1024

_CHUNK: Final = 16 * 1024

# Clients at terminals at once; each costs some descriptors.
_MOST: Final = 64

# Seconds until a job that is behind with reading is tried again; nobody tells when it is not.
_RETRY: Final = 0.05


class AttachEnd(msgspec.Struct):
    """The answer of `job_attach`: 0 once the process has ended; None if the client left before."""

    exitstatus: int | None


def attach_commands(supervisor: Supervisor) -> CommandRegistry[Any]:
    """Make the registry of this command."""
    commands = CommandRegistry[Any]()
    places = Places("clients at the terminals of jobs")

    @commands.command("job_attach", role="operate", session=True)
    async def job_attach(
        ctx: Context,
        name: JobName,
        process: Annotated[int, msgspec.Meta(ge=0), Option("the number of the process")] = 0,
        read_only: Annotated[bool, Option("only look on")] = False,
    ) -> AttachEnd:
        """Join the terminal of a job: its latest output first, then what comes, until it ends or you leave."""
        with places.hold(ctx.peer, _MOST):
            console = _console(supervisor, name, process)
            replayed = last_bytes(supervisor.process(name, process).logs().get("stdout", ""), _REPLAYED)
            return AttachEnd(await _attach(ctx, console, replayed, read_only=read_only))

    return commands


async def _attach(ctx: Context[Any], console: Console, replayed: bytes, *, read_only: bool) -> int | None:
    bridge, far_end = _Bridge.build(console, replayed)
    try:
        session = Session.from_fd(far_end.detach(), on_resize=console.resize)
        return await ctx.attach(session, read_only=read_only)
    finally:
        far_end.close()
        bridge.close()


def _console(supervisor: Supervisor, name: str, index: int) -> Console:
    """Return the console of a process.

    Raises:
        NotFound: There is no such job, or no such process.
        CommandFailed: It has none.
    """
    process = supervisor.process(name, index)
    if not supervisor.spec(name).tty:
        raise CommandFailed(f"job {name!r} has no terminal: its job file does not say tty")
    if process.console is None or not process.console.is_open:
        raise CommandFailed(f"process {index} of job {name!r} does not run")
    return process.console


class _Bridge:
    """Carries bytes between a console and a socket, until one of them ends.

    Args:
        console: The console.
        sock: The near end of a pair of sockets.
    """

    def __init__(self, console: Console, sock: socket.socket) -> None:
        self._console = console
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._typed = b""
        self._retry: asyncio.TimerHandle | None = None
        console.listeners.add(self._on_output)
        self._loop.add_reader(sock, self._on_input)

    @classmethod
    def build(cls, console: Console, replayed: bytes) -> "tuple[_Bridge, socket.socket]":
        """Make a bridge, and return it with the far end of its sockets.

        Raises:
            Busy: There are no descriptors left for them.
        """
        try:
            near, far = socket.socketpair()
        except OSError as exc:
            raise Busy(f"the terminal cannot be joined: {exc.strerror}") from exc
        near.setblocking(False)
        bridge = cls(console, near)
        if replayed:  # an empty piece would be the end
            bridge._on_output(replayed)
        return bridge, far

    def close(self) -> None:
        """Let go of both; once or more often."""
        self._console.listeners.discard(self._on_output)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._sock.close()

    def _on_output(self, data: bytes) -> None:
        if not data:
            self.close()
            return
        with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):  # it is slow, or about to leave
            self._sock.send(data)

    def _on_input(self) -> None:
        try:
            self._typed = self._sock.recv(_CHUNK)
        except ConnectionResetError:  # the session has ended without reading everything
            self._typed = b""
        if self._typed:
            self._type()
        else:
            self.close()

    def _type(self) -> None:
        """Type what has come, and read no more before that is done."""
        self._retry = None
        self._typed = self._typed[self._console.write(self._typed) :]
        self._loop.remove_reader(self._sock)
        if self._typed:
            self._retry = self._loop.call_later(_RETRY, self._type)
        else:
            self._loop.add_reader(self._sock, self._on_input)
