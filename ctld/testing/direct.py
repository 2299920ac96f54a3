"""A context without a server: to call a command's function as what it is, a function."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from typing_extensions import TypeVar

from ctld.commands.builtins import builtin_commands
from ctld.commands.context import Authorize, Context, Origin
from ctld.commands.dispatch import Dispatcher
from ctld.commands.operation import Operation
from ctld.commands.registry import Command, CommandRegistry
from ctld.commands.runtime import Listening, Runtime
from ctld.errors import CommandFailed, ListenFailed, UnknownCommand
from ctld.events import Event, EventBus
from ctld.locks import LockRegistry, current_locks
from ctld.peer import Peer, Role
from ctld.policy import Policy
from ctld.sessions.state import Way
from ctld.stream import Stream
from ctld.version import VERSION
from ctld.wire.messages import Item, Progress, Reply

__all__ = ["RecordingContext", "context"]

A = TypeVar("A", default=Any)
A_co = TypeVar("A_co", covariant=True, default=Any)


class RecordingContext(Context[A_co]):
    """A context that remembers what its command said.

    Attributes:
        updates: The progress messages, in order.
        interim: The answers that were not the last one, in order.
        published: The events, in order.
        stop_requested: Whether the command asked the server to stop.
    """

    @property
    def _recorder(self) -> "_Recorder":
        assert isinstance(self._sink, _Recorder)
        return self._sink

    @property
    def updates(self) -> list[Progress]:
        """The progress messages, in order."""
        return self._recorder.updates

    @property
    def interim(self) -> list[Any]:
        """The answers that were not the last one, in order."""
        return self._recorder.interim

    @property
    def published(self) -> list[Event]:
        """The events, in order."""
        bus = self._runtime.events
        assert isinstance(bus, _RecordingBus)
        return bus.published

    @property
    def stop_requested(self) -> bool:
        """Whether the command asked the server to stop."""
        view = self._runtime.server
        assert isinstance(view, _NoServer)
        return view.closed


def context(
    app: A = None,  # type: ignore[assignment]  # without an app, A is Any
    *,
    peer: Peer = Peer.DAEMON,
    commands: CommandRegistry[A] | None = None,
) -> RecordingContext[A]:
    """Make a context with which a command's function can be called: `await backup(context(app), "ct1")`.

    Nothing surrounds the call: no roles, no decoding of options, no hooks, no deadline; use
    `serving()` to test those.  Locks work, and contexts of one test compete for them: each owns
    what it manipulates, and the task of the test owns state locks.

    Args:
        app: What the command finds as `ctx.app`.
        peer: Who asks; the daemon itself by default.
        commands: What `ctx.call()` and `ctx.launch()` find, beside the built-in commands.
    """
    registry: CommandRegistry[A] = CommandRegistry() if commands is None else commands
    locks = current_locks.get()
    if locks is None:
        locks = LockRegistry()
        current_locks.set(locks)
    events = _RecordingBus()
    runtime = Runtime(app=app, server=_NoServer(events), policy=Policy(), events=events, locks=locks)
    runtime.operations.boot = secrets.token_hex(4)  # two contexts of one moment are not the same owner of locks
    operation = runtime.operations.start(_COMMAND.name, peer)
    dispatcher = Dispatcher(registry.resolve(builtin_commands()), runtime)
    return RecordingContext(app, _COMMAND, operation, peer, dispatcher, runtime, _Recorder())


async def _called_directly(ctx: Context) -> None:
    """Stand for the command, whose function the test calls itself."""


_COMMAND: Final = Command(name="test", function=_called_directly, role="anyone")


class _Recorder:
    """The sink: keeps what it is sent."""

    authorize: Authorize | None = None
    server_version: str | None = VERSION
    session: Mapping[str, Any] | None = None
    origin = Origin()
    task: asyncio.Task[Any] | None = None

    def __init__(self) -> None:
        self.updates: list[Progress] = []
        self.interim: list[Any] = []

    def send_progress(self, update: Progress) -> None:
        """Keep it."""
        self.updates.append(update)

    def send_item(self, item: Item) -> None:
        """Never called: a test iterates over the function itself."""

    async def take_over(self, way: Way, session_id: str = "") -> Stream:
        """There is no connection to take: a session is tested with `serving()`.

        Raises:
            CommandFailed: Always.
        """
        raise CommandFailed("this needs a client's connection, and there is none")

    def send_interim(self, reply: Reply) -> None:
        """Keep it."""
        self.interim.append(reply.response)

    def begun(self, operation: Operation[Any]) -> None:
        """Nothing to do: the operation is there from the start."""

    def become(self, peer: Peer) -> None:
        """Nothing to do: the context itself has changed."""


class _RecordingBus(EventBus):
    """Keeps all events, and not only as many as fit into a ring."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[Event] = []

    def publish(self, type: str, /, **opts: object) -> None:
        """Publish an event, and keep it."""
        super().publish(type, **opts)
        self.published.append(self._ring[-1])


class _NoServer:
    """The server as the command sees it: there is none."""

    def __init__(self, events: EventBus) -> None:
        self.events = events
        self.closed = False

    async def listen(self, where: Any, *, handler: Any = None, commands: Any = None, opts: Any = None) -> Listening:
        """Nobody could connect.

        Raises:
            ListenFailed: Always.
        """
        raise ListenFailed(f"cannot listen on {where}: the test has no server; use serving()")

    def launch(self, command: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any, **opts: Any) -> Operation[Any]:
        """There is no daemon to run it; `ctx.launch()` works.

        Raises:
            UnknownCommand: Always.
        """
        raise UnknownCommand("the test has no server; use serving()")

    def close(self) -> None:
        """Note the wish."""
        self.closed = True

    def create_task(self, coro: Coroutine[Any, Any, object], *, name: str) -> asyncio.Task[Any]:
        """Start it on the loop of the test, which has to see to its end."""
        return asyncio.get_running_loop().create_task(coro, name=name)

    def status(self) -> dict[str, Any]:
        """There is nothing to tell."""
        return {}

    def listeners(self) -> list[tuple[str, Role]]:
        """Nobody can connect."""
        return []

    def connections(self) -> list[dict[str, Any]]:
        """Nobody is connected."""
        return []
