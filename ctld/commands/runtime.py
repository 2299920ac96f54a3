"""What commands reach besides the daemon's own object."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol

from ctld.commands.operation import Operation, OperationTable
from ctld.commands.session_audit import SessionAudit
from ctld.events import EventBus
from ctld.history import History
from ctld.limits import Limits
from ctld.locks import LockRegistry
from ctld.peer import Role
from ctld.policy import Policy
from ctld.sessions.table import SessionTable

__all__ = ["Listening", "Runtime", "ServerView"]


class Listening(Protocol):
    """A socket that is listened on."""

    @property
    def address(self) -> str:
        """Where clients reach it."""
        ...

    async def close(self) -> None:
        """Take no more clients there."""
        ...


class ServerView(Protocol):
    """The server, as far as commands and handlers see it: these lie below it."""

    @property
    def events(self) -> EventBus:
        """What happens, told to whoever listens."""
        ...

    def close(self) -> None:
        """Begin to stop."""
        ...

    async def listen(self, where: Any, *, handler: Any = None, commands: Any = None, opts: Any = None) -> Listening:
        """Open one more socket; see `Server.listen()`."""
        ...

    def launch(self, command: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any, **opts: Any) -> Operation[Any]:
        """Start a command as the daemon itself."""
        ...

    def create_task(self, coro: Coroutine[Any, Any, object], *, name: str) -> asyncio.Task[Any]:
        """Run something in the background for as long as the server lives."""
        ...

    def status(self) -> dict[str, Any]:
        """Say how the server is."""
        ...

    def listeners(self) -> list[tuple[str, Role]]:
        """List where clients come in, each with the role of those whom no rule names."""
        ...

    def connections(self) -> list[dict[str, Any]]:
        """List who is connected."""
        ...


@dataclass
class Runtime:
    """The shared parts of one daemon; every socket's dispatcher has the same.

    Attributes:
        app: The daemon's own object.
        server: The server.
        policy: Who may do what.
        limits: The bounds.
        events: What happens, told to whoever listens.
        locks: Who holds what.
        operations: What runs, and what has run.
        history: Who asked for what; None: nobody writes that down.
        record_all: Whether the history also has commands of the roles `anyone` and `observe`.
        publish_all: Whether there are events about these, too.
        sessions: The programs behind connections.
        stopping: Whether the daemon is going down: nothing new is started.
        started_at: When the daemon began, by the clock on the wall.
    """

    app: Any
    server: ServerView
    policy: Policy
    limits: Limits = field(default_factory=Limits)
    events: EventBus = field(default_factory=EventBus)
    locks: LockRegistry = field(default_factory=LockRegistry)
    operations: OperationTable = field(default_factory=OperationTable)
    history: History | None = None
    record_all: bool = False
    publish_all: bool = False
    sessions: SessionTable = field(init=False)
    stopping: bool = False
    started_at: float = field(default_factory=time.time)
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.sessions = SessionTable(
            SessionAudit(self.events, self.history), grace=self.limits.session_grace, most=self.limits.max_sessions
        )

    @property
    def uptime(self) -> float:
        """For how many seconds the daemon has run, however its clock was set meanwhile."""
        return time.monotonic() - self._started
