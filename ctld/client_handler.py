"""ClientHandler: one client's conversation, as a daemon's author shapes it.

It is the template that the ancestor's users know (native protocol, N7).  Most daemons only
register commands; some subclass this to tell another version, to know their callers by
other means, to have a say about every command, or to wrap the whole way of a request.
"""

import socket
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, Protocol

from typing_extensions import TypeVar

from ctld.commands.context import Sink
from ctld.commands.dispatch import Dispatcher
from ctld.commands.operation import Operation
from ctld.commands.registry import Command
from ctld.commands.runtime import ServerView
from ctld.endpoint import Listen
from ctld.errors import Cancelled
from ctld.limits import Limits
from ctld.ownership import Owner, current_owner
from ctld.peer import Peer
from ctld.version import VERSION
from ctld.wire.codec import Codec
from ctld.wire.messages import Banner, Failure, Progress, Reply, Request
from ctld.wire.native import FEATURES, PROTOCOL, NativeCodec

__all__ = ["ClientHandler", "RequestInProgress", "Site", "current_request"]

A = TypeVar("A", default=Any)


class RequestInProgress(Sink, Protocol):
    """The request that is being handled, as the handler needs it.

    Attributes:
        dispatched: Whether it went through the dispatcher, which has asked the policy.
        ended: Whether it has had its final message.
    """

    dispatched: bool
    ended: bool

    @property
    def deadline(self) -> float | None:
        """When it is to be cancelled, by the loop's clock."""
        ...

    @property
    def request(self) -> Request:
        """What was asked."""
        ...


class _Conversation(Protocol):
    def running(self) -> list[Operation[Any]]: ...

    def request_of(self, owner: Owner | None) -> RequestInProgress | None: ...


current_request: Final[ContextVar[RequestInProgress | None]] = ContextVar("current_request", default=None)
"""The request that an override of `handle_cmd()` is about; within a command, its operation knows."""


@dataclass(frozen=True, slots=True)
class Site:
    """What a handler is given: one socket's share of the server.

    Attributes:
        app: The daemon's own object.
        server: The server.
        dispatcher: The way to this socket's commands.
        limits: The bounds.
        opts: What `Server.listen(opts=...)` was given.
        listen: Where the socket listens; a dialect finds its own keys there.
    """

    app: Any
    server: ServerView
    dispatcher: Dispatcher
    limits: Limits
    opts: Any = None
    listen: str | Listen = ""


class ClientHandler(Generic[A]):
    """One client's conversation; subclass it, or use it as it is.

    Attributes:
        app: The daemon's own object.
        server: The server.
        peer: Who the client is; `on_connect()` may set it.
        socket: The client's socket, for what the kernel knows of it; never read or write it.
        opts: What `Server.listen(opts=...)` was given.
    """

    dialect: ClassVar[str] = "native"
    """The name of the protocol, for the audit log."""

    has_authorize: ClassVar[bool] = False
    """Whether a subclass has a say about every command."""

    has_handle_cmd: ClassVar[bool] = False
    """Whether a subclass wraps the way of a request."""

    has_on_connect: ClassVar[bool] = False
    """Whether a subclass looks at its clients before they are welcomed."""

    def __init__(self, site: Site, sock: socket.socket, peer: Peer) -> None:
        self.app: A = site.app
        self.server = site.server
        self.opts = site.opts
        self.peer = peer
        self.socket = sock
        self._site = site
        self._conversation: _Conversation | None = None

    def __init_subclass__(cls, **kwargs: object) -> None:
        """Note whether the subclass wants to be asked, so that nobody else pays for it."""
        super().__init_subclass__(**kwargs)
        cls.has_authorize = cls.authorize is not ClientHandler.authorize
        cls.has_on_connect = cls.on_connect is not ClientHandler.on_connect
        cls.has_handle_cmd = cls.handle_cmd is not ClientHandler.handle_cmd

    def make_codec(self) -> Codec:
        """Return the translation that this conversation is held in; a dialect has its own."""
        return NativeCodec(self._site.limits.max_line)

    def server_version(self) -> str | None:
        """Return the version for the banner; None: no banner, and so protocol version 1 (N1)."""
        return VERSION

    def banner(self) -> Banner | None:
        """Return the first message; None: there is none, and the client speaks first."""
        version = self.server_version()
        if version is None:
            return None
        return Banner(version, PROTOCOL, FEATURES, self._site.limits.max_line, f"ctld/{VERSION}")

    async def on_connect(self) -> None:
        """Called before the banner: set `self.peer`, or refuse.

        Raises:
            Denied: The client is not welcome; it is told, and the connection ends.
        """

    async def authorize(self, command: Command, opts: Mapping[str, Any], /) -> None:
        """Called before every command, after its role was checked; `can_i` and `describe` ask it too.

        Args:
            command: The command.
            opts: Its options as they came; `{}` when `describe` asks in general.

        Raises:
            Denied: The client may not run it with these options.
        """

    async def handle_cmd(self, request: Request, /) -> Reply | Failure:
        """Answer a request; the default runs the command.

        An override wraps `super().handle_cmd()`.  What it answers without calling that,
        it answers only to callers with the role `admin`.

        Returns:
            `self.ok(...)` or `self.error(...)`.

        Raises:
            CommandFailed: The same as returning `self.error()`.
        """
        sink = current_request.get()
        assert sink is not None, "handle_cmd() is called by the conversation"
        sink.dispatched = True
        return await self._site.dispatcher.run(
            self.peer,
            request.cmd,
            request.options,
            sink,
            stream=request.stream,
            detach=request.detach,
            deadline=sink.deadline,
        )

    def request_stop(self) -> None:
        """Called when the server stops: tell what runs; not async.

        The default sets `stopping` of every command that runs for this client.
        """
        for operation in self.running_operations():
            operation.request_stop()

    def running_operations(self) -> list[Operation[Any]]:
        """Return the operations that run for this client now."""
        return [] if self._conversation is None else self._conversation.running()

    def attach(self, conversation: _Conversation) -> None:
        """Learn which conversation this is; called once, by it."""
        self._conversation = conversation

    def ok(self, output: object = None) -> Reply:
        """Make the answer of a request that succeeded."""
        return Reply(output)

    def error(self, message: str, code: str = "failed", **fields: object) -> Failure:
        """Make the answer of a request that failed.

        Args:
            message: One sentence for people.
            code: The slug for programs.
            fields: Further keys, for programs.
        """
        return Failure(message, code, fields)

    async def send_update(self, message: object, /) -> None:
        """Send progress for the request being handled; a context variable knows which.

        Raises:
            Cancelled: No request is being handled.
        """
        sink = current_request.get()
        if sink is None and self._conversation is not None:
            sink = self._conversation.request_of(current_owner.get())
        if sink is None or sink.ended:
            raise Cancelled("no request is being handled here")
        drained = sink.send_progress(Progress(message))
        if drained is not None:
            await drained
