"""One running command, as its author sees it: with a client or without one.

The context is concrete and not the handler, because a command may run with no client at
all.  What it says goes to a sink: the connection that asked, an outer command's sink, or
nobody.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, ParamSpec, Protocol, overload

import msgspec
from typing_extensions import TypeVar

from ctld.commands.hijacking import SessionMethods, SessionSink
from ctld.commands.permission import require_role
from ctld.errors import CommandFailed
from ctld.events import EventBus
from ctld.locks import Manipulable, ManipulationMode
from ctld.peer import Peer
from ctld.sessions.state import Way
from ctld.stream import Stream
from ctld.wire.messages import Item, Progress, Reply

if TYPE_CHECKING:
    from ctld.commands.dispatch import Dispatcher
    from ctld.commands.operation import Operation
    from ctld.commands.registry import Command
    from ctld.commands.runtime import Runtime, ServerView

__all__ = ["NO_SINK", "Authorize", "Context", "Origin", "Sink"]

A_co = TypeVar("A_co", covariant=True, default=Any)
T = TypeVar("T")
P = ParamSpec("P")

Authorize = Callable[["Command", Mapping[str, Any]], Coroutine[Any, Any, None]]
"""A handler's say about a command and its options: it raises `Denied`, or returns."""

# Progress never waits when nobody listens or all is read at once; a command that reports in
# a tight loop must not keep the loop from everybody else for longer than this many calls.
_CALLS_PER_TURN: Final = 256


class Origin(msgspec.Struct, frozen=True, gc=False):
    """Where a request came from, for the audit log.

    Attributes:
        connection: The connection that it came over, as `connection_list` numbers it.
        dialect: The protocol that it came in.
        loginuid: The uid that the caller's user logged in with; a hint.
        executable: The caller's program; a hint.
    """

    connection: str = ""
    dialect: str = ""
    loginuid: int | None = None
    executable: str = ""


class Sink(SessionSink, Protocol):
    """Where the messages of one request go, beside its final one."""

    @property
    def authorize(self) -> Authorize | None:
        """What the handler says to a command, where it wants a say."""
        ...

    @property
    def server_version(self) -> str | None:
        """The version that the client was told."""
        ...

    @property
    def task(self) -> asyncio.Task[Any] | None:
        """The task that serves the request, where it is known."""
        ...

    @property
    def origin(self) -> Origin:
        """Where the request came from; asked for only if somebody writes it down."""
        ...

    def send_progress(self, update: Progress) -> Awaitable[None] | None:
        """Pass on a progress message; never fails because the client is gone.

        Returns:
            What to await before the next one, where the client is slow.
        """
        ...

    def send_item(self, item: Item) -> Awaitable[None] | None:
        """Pass on an item of a stream, likewise."""
        ...

    def send_interim(self, reply: Reply) -> Awaitable[None] | None:
        """Pass on an answer that is not the last one, likewise."""
        ...

    def begun(self, operation: "Operation[Any]") -> None:
        """Learn which operation serves the request."""
        ...

    def become(self, peer: Peer) -> None:
        """Serve the rest of the conversation as another peer."""
        ...


class _NoSink:
    """Nobody listens: a command that the daemon started itself."""

    session: Mapping[str, Any] | None = None
    authorize: Authorize | None = None
    server_version: str | None = None
    task: asyncio.Task[Any] | None = None
    origin = Origin()

    def send_progress(self, update: Progress) -> None:
        """Drop it; watchers read the operation."""

    def send_item(self, item: Item) -> None:
        """Drop it."""

    async def take_over(self, way: Way, session_id: str = "") -> Stream:
        """There is no connection to take.

        Raises:
            CommandFailed: Always.
        """
        raise CommandFailed("this needs a client's connection, and there is none")

    def send_interim(self, reply: Reply) -> None:
        """Drop it."""

    def begun(self, operation: "Operation[Any]") -> None:
        """Nothing to remember."""

    def become(self, peer: Peer) -> None:
        """There is no conversation to go on."""


NO_SINK: Final[Sink] = _NoSink()


# A Struct, because one is made for every request: an `__init__` in Python would take three times as long.
class Context(SessionMethods, msgspec.Struct, Generic[A_co], eq=False, weakref=True):
    """One running command.

    Attributes:
        app: The daemon's own object.
        command: The command that runs.
        operation: Its entry among what runs.
        peer: Who asked.
        parent: The context of the command that called this one, if one did.
        deadline: When it will be cancelled, by the loop's clock; None: never.
    """

    app: A_co
    command: "Command"
    operation: "Operation[Any]"
    peer: Peer
    _dispatcher: "Dispatcher"
    _runtime: "Runtime"
    _sink: Sink
    _wants_progress: bool = True
    _session_options: Mapping[str, Any] | None = None
    deadline: float | None = None
    parent: "Context[A_co] | None" = None
    _until_yield: int = _CALLS_PER_TURN

    # That of a Struct shows all that it holds: a log is no place for somebody's options.
    __repr__ = object.__repr__

    @property
    def server(self) -> "ServerView":
        """The server that runs this command."""
        return self._runtime.server

    @property
    def stopping(self) -> asyncio.Event:
        """Set when the command should end soon: the daemon is going down."""
        return self.operation.stopping

    async def progress(
        self,
        message: object = "",
        /,
        *,
        current: float | None = None,
        total: float | None = None,
        unit: str = "",
        data: object = None,
    ) -> None:
        """Tell the client, and whoever watches the operation, how far it is.

        Waits while the client is slow to read; is no error when it is gone.

        Args:
            message: One line for people.
            current: How much is done.
            total: How much there is.
            unit: Of what: `bytes`, `items`, or a word of your own.
            data: Anything for programs.
        """
        update = self.operation.note(message, current, total, unit, data)
        if self._wants_progress:
            drained = self._sink.send_progress(update)
            if drained is not None:
                await drained
        if not update.seq % _CALLS_PER_TURN:
            await asyncio.sleep(0)

    async def send_interim(self, response: object) -> None:
        """Send an answer that is not the last one: the ancestor's way to subscribe (N6).

        A command that yields many results is a stream (an async generator), and needs none
        of this.  Waits while the client is slow to read; is no error when it is gone.

        Args:
            response: What JSON can carry.

        Raises:
            LocalProtocolError: JSON cannot carry it; nothing of it has been sent.
        """
        drained = self._sink.send_interim(Reply(response))
        if drained is not None:
            await drained
        self._until_yield -= 1
        if not self._until_yield:
            self._until_yield = _CALLS_PER_TURN
            await asyncio.sleep(0)

    @overload
    async def call(
        self,
        command: "Callable[Concatenate[Context[A_co], P], Coroutine[Any, Any, T]]",
        /,
        *args: P.args,
        **opts: P.kwargs,
    ) -> T: ...
    @overload
    async def call(self, command: str, /, **opts: Any) -> Any: ...
    async def call(self, command: Any, /, *args: Any, **opts: Any) -> Any:
        """Run another command as a part of this one, and return its result.

        It has this one's peer, locks, deadline and progress; roles are not asked again.

        Args:
            command: The function of the command, or its name.
            args: Its options in order, for a function.
            opts: Its options by name.

        Raises:
            CommandFailed: It failed.
            UnknownCommand: There is none of that name here.
        """
        return await self._dispatcher.call(self, command, args, opts)

    def launch(
        self,
        command: "Callable[Concatenate[Context[A_co], P], Coroutine[Any, Any, T]]",
        /,
        *args: P.args,
        **opts: P.kwargs,
    ) -> "Operation[T]":
        """Start another command on its own: with this one's peer, without its locks; it may outlive this one.

        Raises:
            CommandFailed: It is unknown, not permitted to the peer, or the options are wrong.
        """
        operation: Operation[T] = self._dispatcher.launch(self.peer, command, args, opts, self._sink)
        return operation

    async def follow(self, operation: "Operation[T]", /) -> T:
        """Relay the progress of an operation and return its result; cancelling this leaves it alone.

        Raises:
            CommandFailed: It failed, or was cancelled.
        """
        async for update in operation.updates():
            await self.progress(
                update.message, current=update.current, total=update.total, unit=update.unit, data=update.data
            )
        return await operation.wait()

    def become(self, peer: Peer) -> None:
        """Serve the rest of the connection as `peer`: what a login command does."""
        self.peer = peer
        self._sink.become(peer)

    def manipulate(self, *resources: Manipulable) -> AbstractAsyncContextManager[None]:
        """Hold the manipulation locks of resources for the time of an `async with` block: all, or none.

        The request says what happens where somebody else holds one: by its option
        `manipulation_lock` it waits (and tells so as progress) or ignores locks; else the
        block fails at once.

        Raises:
            Locked: Somebody else holds one; raised by the block.
            Deadlock: Waiting would never end; raised by the block.
            Denied: The request ignores locks, and the caller is no admin.
        """
        wanted = self.operation.manipulation_lock
        mode: ManipulationMode = "fail"
        if wanted == "ignore":
            require_role(self._runtime, self.peer, "admin", 'manipulation_lock "ignore"')
            mode = "ignore"
        elif wanted == "wait":
            mode = "wait"
        return self._runtime.locks.manipulate(self.operation, resources, mode, self.progress)

    def shield(self) -> AbstractAsyncContextManager[None]:
        """Postpone cancelling until the block has ended: for what must not stop half-way."""
        return self.operation.shield()

    @property
    def authorize(self) -> Authorize | None:
        """What the client's handler says to a command, where it wants a say."""
        return self._sink.authorize

    @property
    def events(self) -> EventBus:
        """What happens in the daemon: publish and subscribe."""
        return self._runtime.events

    @property
    def server_version(self) -> str | None:
        """The version of the daemon that the client was told; None without a client."""
        return self._sink.server_version

    @property
    def dispatcher(self) -> "Dispatcher":
        """The way to other commands of this socket."""
        return self._dispatcher

    @property
    def runtime(self) -> "Runtime":
        """What the daemon's parts share."""
        return self._runtime
