"""What a command can do with its client's connection itself: the part of `Context` about sessions.

A command that uses any of this is registered with `session=True`: what its client sends after
the request is not taken for further requests.
"""

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ctld.errors import InvalidOptions
from ctld.policy import at_least
from ctld.sessions.joining import receive_fds, run_program, view_session
from ctld.sessions.options import SessionOptions, refuse_steering, session_options
from ctld.sessions.raw import Hijack
from ctld.sessions.session import Session
from ctld.sessions.state import Way
from ctld.stream import Stream

if TYPE_CHECKING:
    from ctld.commands.context import Context, Sink
    from ctld.commands.runtime import Runtime
    from ctld.peer import Peer

__all__ = ["Io", "SessionMethods", "SessionSink"]

Io = Literal["fds", "frames", "console"]


class SessionSink(Protocol):
    """The way to the client's connection."""

    @property
    def session(self) -> Mapping[str, Any] | None:
        """What the client wants of a session, as a member of its request."""
        ...

    async def take_over(self, way: Way, session_id: str = "") -> Stream:
        """Say "continue", and give the connection's bytes to the command.

        Raises:
            CommandFailed: The transport cannot do that, or there is no client.
            Busy: Other requests of the connection are outstanding.
        """
        ...


class SessionMethods:
    """The methods of a context that take its client's connection."""

    __slots__ = ()

    if TYPE_CHECKING:
        _sink: "Sink"
        peer: "Peer"
        _session_options: Mapping[str, Any] | None  # the context has the fields
        parent: "Context[Any] | None"

        @property
        def runtime(self) -> "Runtime":
            """What the daemon's parts share."""
            ...

    @property
    def session_options(self) -> Mapping[str, Any]:
        """What the client wants of a session, as far as it said so among its options."""
        own = self._session_options
        if own is None:
            return {} if self.parent is None else self.parent.session_options
        return own

    @property
    def wanted(self) -> SessionOptions:
        """What the client wants of a session.

        Raises:
            InvalidOptions: It cannot be understood.
        """
        return session_options(self._sink.session, self.session_options)

    @asynccontextmanager
    async def take_fds(self, n: int) -> AsyncIterator[list[int]]:
        """Say "continue" and receive descriptors, for the time of an `async with` block.

        They block, and do not survive an exec.  When the block ends they are closed; take one
        out of the list to keep it.  The connection then goes on with the command's answer.

        Args:
            n: How many.

        Raises:
            CommandFailed: The connection cannot carry descriptors.
            BadRequest: The client sent something else; its connection will end.
        """
        fds = await receive_fds(await self._sink.take_over(Way.FDS), n)
        try:
            yield fds
        finally:
            while fds:
                os.close(fds.pop())

    @asynccontextmanager
    async def hijack(self) -> AsyncIterator[Hijack]:
        """Say "continue", and own the bytes of the connection for the time of an `async with` block.

        What the client has sent after its request comes first.  The connection is closed when
        the command ends.

        Raises:
            CommandFailed: The connection cannot be given away.
        """
        stream = await self._sink.take_over(Way.RAW)
        hijack = Hijack(stream)
        try:
            yield hijack
        finally:
            hijack.close()

    async def exec(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | None = None,
        io: Io = "frames",
    ) -> int:
        """Run a program on the client's descriptors, as frames, or in a terminal: as the client asked.

        Args:
            argv: The program and its arguments.
            env: Variables to add to its environment.
            cwd: The directory to start in.
            user: Whom it runs as.
            io: How to join the client to it, where the client does not say.

        Returns:
            The exit status; 128 + N if signal N ended it.

        Raises:
            NotFound: There is no such program, directory or user.
            Denied: The client wants variables or a directory, and may not run just any program.
            CommandFailed: It cannot be started, or was made to end.
        """
        wanted = self.wanted
        if not at_least(self.peer.role, "admin"):
            refuse_steering(wanted)
        way = Way(wanted.io or io)
        return await run_program(
            self.runtime.sessions, self._sink.take_over, argv, wanted, io=way, env=env, cwd=cwd, user=user
        )

    async def attach(self, session: Session, *, read_only: bool = False, io: Io = "frames") -> int | None:
        """Join the client to a session, from the scroll-back on, until one of them ends.

        Args:
            session: The session.
            read_only: Whether what the client types is ignored.
            io: How to join it, where the client does not say.

        Returns:
            The exit status of the session; None if the client left before.

        Raises:
            CommandFailed: The session was made to end.
        """
        wanted = self.wanted
        way = Way(wanted.io or io)
        if way is Way.FDS:
            raise InvalidOptions("a session that runs has its own descriptors: use frames", path="$.session.io")
        return await view_session(self._sink.take_over, session, wanted, io=way, may_type=not read_only)
