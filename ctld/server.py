"""Server: one daemon's sockets, clients, commands and background work, from start to stop.

A server is put together by its constructor, which only stores, and acts from `start()` on.
It stops in stages, each of which ends the one before if that takes too long: nobody new;
what runs is told and gets a grace period; what still runs is cancelled; what does not even
end then is left behind.  Everybody who waits for an answer gets one.
"""

import asyncio
import logging
import os
import platform
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextvars import copy_context
from os import PathLike
from pathlib import Path
from signal import Signals
from typing import Any, Concatenate, Final, Generic, ParamSpec, Self

import msgspec
from typing_extensions import TypeVar

from ctld.admission import raise_descriptor_limit
from ctld.client_handler import ClientHandler, Site, current_request
from ctld.commands.builtins import builtin_commands
from ctld.commands.context import Context
from ctld.commands.dispatch import Dispatcher
from ctld.commands.operation import Operation, OperationTable
from ctld.commands.registry import CommandRegistry
from ctld.commands.runtime import Runtime
from ctld.directories import claim_state_directory
from ctld.endpoint import Listen
from ctld.errors import CommandFailed, RegistrationError, ShuttingDown
from ctld.events import EventBus
from ctld.history import History, HistoryStatus
from ctld.history_store import HistoryBounds
from ctld.limits import Limits
from ctld.listener import Listener, handler_for
from ctld.locks import LockRegistry, current_locks
from ctld.ownership import current_owner
from ctld.peer import Peer, Role
from ctld.policy import Policy
from ctld.reception import Reception
from ctld.sessions.current import current_sessions
from ctld.shutdown import end_background_tasks, stop_in_stages
from ctld.signals import SignalHandlers
from ctld.systemd import InheritedSocket, Notifier, feed_watchdog, inherited_sockets, watchdog_interval
from ctld.version import VERSION

__all__ = ["Server"]

logger = logging.getLogger("ctld.server")

A = TypeVar("A", default=Any)
T = TypeVar("T")
P = ParamSpec("P")

_NO_LIMITS: Final = Limits()
_HISTORY_BOUNDS: Final = HistoryBounds()

# The audit log in the state directory.
_HISTORY_FILE: Final = "history.sqlite3"


class Server(Generic[A]):
    """A control daemon.

    Use it as `await Server(...).serve_forever()`, or as `async with Server(...) as server:`.

    Args:
        handler: The class of each client's conversation.
        commands: The commands of the sockets in `listen`.
        listen: Where to listen from the start.
        dialects: The classes of conversations in other dialects than the handler's, by name.
        app: The daemon's own object; commands find it as `ctx.app`.
        roles: Which callers have which role, as in `{"admin": ["group:wheel"]}`.
        state_dir: Where the daemon keeps what outlives it.
        limits: The bounds on what peers can make it hold.
        signals: Commands that signals run, as in `{SIGHUP: "reload"}`.
        history: How much of the audit log is kept.
        record_all: Whether it also has commands of the roles `anyone` and `observe`.
        publish_all: Whether there are `management` events about these, too.

    Raises:
        ConfigError: A role or principal is mistaken.
        RegistrationError: The commands do not fit together, or a signal's is not among them.
    """

    def __init__(
        self,
        handler: type[ClientHandler[A]] = ClientHandler,
        *,
        commands: CommandRegistry[A] | None = None,
        listen: Collection[str | Listen] = (),
        dialects: Mapping[str, type[ClientHandler[A]]] | None = None,
        app: A = None,  # type: ignore[assignment]  # without an app, A is Any
        roles: Mapping[Role, Collection[str]] | None = None,
        state_dir: str | PathLike[str] | None = None,
        limits: Limits = _NO_LIMITS,
        signals: Mapping[Signals, str] | None = None,
        history: HistoryBounds = _HISTORY_BOUNDS,
        record_all: bool = False,
        publish_all: bool = False,
    ) -> None:
        self.app = app
        self.events = EventBus()
        self.state_dir = None if state_dir is None else os.fspath(state_dir)
        self.history = History(
            None if self.state_dir is None else Path(self.state_dir, _HISTORY_FILE),
            bounds=history,
            on_change=self._history_changed,
        )
        self._handlers = {**(dialects or {}), handler.dialect: handler}
        self._handler = handler
        self._listen = [listen] if isinstance(listen, str) else list(listen)
        self._runtime = Runtime(
            app=app,
            server=self,
            policy=Policy(roles),
            limits=limits,
            events=self.events,
            locks=LockRegistry(),
            operations=OperationTable(
                kept=limits.operations_kept, retention=limits.result_retention, progress_kept=limits.progress_kept
            ),
            history=self.history,
            record_all=record_all,
            publish_all=publish_all,
        )
        self._commands: CommandRegistry[A] = CommandRegistry() if commands is None else commands
        self._builtins = builtin_commands()
        self._dispatcher = Dispatcher(self._commands.resolve(self._builtins), self._runtime)
        self._signals = dict(signals or {})
        for name in self._signals.values():
            if name not in self._dispatcher.commands:
                raise RegistrationError(f"a signal is to run {name!r}, which is no command of this daemon")
        self._listeners: list[Listener] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._reception: Reception | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._close_requested = asyncio.Event()
        self._hurry = asyncio.Event()
        self._crash: BaseException | None = None
        self._started = False

    async def start(self) -> None:
        """Open the sockets; clients are served from now on.

        Raises:
            ListenFailed: An address cannot be listened on; none is then.
            ConfigError: An address is mistaken, or others could write to the state directory.
            ShuttingDown: The server was closed.
        """
        if self._close_requested.is_set():
            raise ShuttingDown("the server was closed; make another one")
        if self._started:
            return
        if self.state_dir is not None:
            claim_state_directory(self.state_dir)
        self._started = True
        raise_descriptor_limit(self._runtime.limits.max_connections)
        for warning in self._runtime.policy.warnings:
            logger.warning("! roles: %s", warning)
        context = copy_context()
        context.run(current_locks.set, self._runtime.locks)
        context.run(current_sessions.set, self._runtime.sessions)
        self._reception = Reception(self._runtime, context)
        await self.history.open()
        if self._close_requested.is_set():
            await self.wait_closed()  # raises what a background task has crashed with meanwhile
            return
        inherited = inherited_sockets(os.environ, os.getpid()) if self._wants_inherited() else []
        try:
            for where in self._listen:
                await self._open(where, inherited, None, self._dispatcher, None)
        except BaseException:
            self._stop_accepting()
            self._reception.close()
            self._started = False
            await self.history.close()
            raise
        finally:
            for name, sock in inherited:
                logger.warning("! the inherited socket %s is not listened on", name)
                sock.close()

    async def listen(
        self,
        where: str | Listen,
        *,
        handler: type[ClientHandler[A]] | None = None,
        commands: CommandRegistry[A] | None = None,
        opts: Any = None,
    ) -> Listener:
        """Open one more socket, with the same app, locks, events and history.

        Args:
            where: The address.
            handler: The class of its conversations; None: that of its dialect.
            commands: Its commands; None: the server's.
            opts: Anything; its handlers find it as `self.opts`.

        Raises:
            ListenFailed, ConfigError, ShuttingDown: As `start()` says.
            RegistrationError: The commands do not fit together.
        """
        await self.start()
        dispatcher = self._dispatcher
        if commands is not None:
            dispatcher = Dispatcher(commands.resolve(self._builtins), self._runtime)
        return await self._open(where, [], handler, dispatcher, opts)

    def create_task(self, coro: Coroutine[Any, Any, object], *, name: str) -> asyncio.Task[Any]:
        """Run something in the background for as long as the server lives.

        Its crash stops the daemon, loudly: a daemon that has lost a part of itself is worse
        than one that is restarted.

        Args:
            coro: What to run; it is cancelled at shutdown, after the last command.
            name: What the log calls it.
        """
        context = copy_context()
        context.run(current_owner.set, None)  # not a part of the command that happens to start it
        context.run(current_request.set, None)
        context.run(current_locks.set, self._runtime.locks)
        context.run(current_sessions.set, self._runtime.sessions)
        task = asyncio.get_running_loop().create_task(coro, name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def launch(
        self,
        command: Callable[Concatenate[Context[A], P], Coroutine[Any, Any, T]],
        /,
        *args: P.args,
        **opts: P.kwargs,
    ) -> Operation[T]:
        """Start a command as the daemon itself, without a client.

        Raises:
            CommandFailed: It is unknown, or the daemon is shutting down.
        """
        operation: Operation[T] = self._dispatcher.launch(Peer.DAEMON, command, args, dict(opts))
        return operation

    def close(self) -> None:
        """Begin to stop; once or more often."""
        if self._stopping is None:
            self._close_requested.set()
            self._stopping = asyncio.get_running_loop().create_task(self._stop(), name="stop")

    def hurry(self) -> None:
        """Stop without waiting for what runs to end by itself."""
        self._hurry.set()
        self.close()

    async def wait_closed(self) -> None:
        """Wait until the server has stopped.

        Raises:
            BaseException: What a background task crashed with, which is why it stopped.
        """
        await self._close_requested.wait()
        assert self._stopping is not None
        await asyncio.shield(self._stopping)
        if self._crash is not None:
            crash, self._crash = self._crash, None
            raise crash

    async def serve_forever(self) -> None:
        """Serve until SIGTERM, SIGINT, the `shutdown` command or `close()`, then stop in order.

        The service manager is told READY once clients are served.  A second signal does not
        wait for what runs.  Cancelling this stops the server in order too.

        Raises:
            ListenFailed: An address cannot be listened on.
            BaseException: What a background task crashed with.
        """
        await self.start()
        notifier = Notifier.from_environ(os.environ)
        handlers = SignalHandlers(self)
        watchdog = None
        try:
            handlers.install(self._signals, self._run_by_signal)
            notifier.ready()
            interval = watchdog_interval(os.environ)
            if interval is not None:
                watchdog = asyncio.get_running_loop().create_task(feed_watchdog(notifier, interval), name="watchdog")
            await self._close_requested.wait()
        finally:
            notifier.stopping()
            self.close()
            try:
                await self.wait_closed()
            finally:
                if watchdog is not None:
                    watchdog.cancel()
                handlers.remove()
                notifier.close()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop in order, and wait for it."""
        self.close()
        await self.wait_closed()

    def status(self) -> dict[str, Any]:
        """Say how the server is, for the command of that name."""
        runtime = self._runtime
        counters = {} if self._reception is None else self._reception.counters()
        return {
            "ctld": VERSION,
            "python": platform.python_version(),
            "loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
            "pid": os.getpid(),
            "state": "stopping" if runtime.stopping else "running",
            "started_at": round(runtime.started_at, 3),
            "uptime": round(runtime.uptime, 3),
            "listeners": [listener.address for listener in self._listeners],
            "out_of_descriptors": any(listener.exhausted for listener in self._listeners),
            **counters,
            "running": len(runtime.operations),
            "operations": runtime.operations.started,
            "events": {"subscribers": len(self.events), "last_seq": self.events.last_seq},
            "history": msgspec.to_builtins(self.history.status),
            "background": sorted(task.get_name() for task in self._tasks),
        }

    def listeners(self) -> list[tuple[str, Role]]:
        """List where clients come in, each with the role of those whom no rule names."""
        return [(address, listener.role) for listener in self._listeners for address in listener.addresses]

    def connections(self) -> list[dict[str, Any]]:
        """List who is connected, for the command `connection_list`."""
        if self._reception is None:
            return []
        now = asyncio.get_running_loop().time()
        return [client.describe(now) for client in self._reception.clients]

    def _wants_inherited(self) -> bool:
        return any(str(getattr(where, "address", where)).startswith("systemd:") for where in self._listen)

    async def _open(
        self,
        where: str | Listen,
        inherited: list[InheritedSocket],
        handler: type[ClientHandler[A]] | None,
        dispatcher: Dispatcher,
        opts: Any,
    ) -> Listener:
        assert self._reception is not None
        handler = handler or handler_for(where, self._handler, self._handlers)
        site = Site(self.app, self, dispatcher, self._runtime.limits, opts, where)
        listener = Listener(where, inherited, self._reception, site, handler, on_closed=self._listeners.remove)
        self._listeners.append(listener)
        logger.info("= listening on %s", listener.address)
        return listener

    def _stop_accepting(self) -> None:
        for listener in list(self._listeners):
            listener.stop_accepting()

    async def _stop(self) -> None:
        """Stop in stages."""
        self._stop_accepting()
        if self._reception is not None:
            await stop_in_stages(self._runtime, self._reception, self._hurry)
        await end_background_tasks(self._tasks, self._runtime.limits.cancel_grace)
        await self.history.close()
        logger.info("= stopped")

    def _run_by_signal(self, name: str) -> None:
        try:
            operation = self._dispatcher.launch(Peer.DAEMON, name, (), {})
        except CommandFailed as exc:
            logger.warning("! a signal cannot run %s: %s", name, exc)
            return
        logger.info("= a signal runs %s as operation %s", name, operation.id)

    def _history_changed(self, status: HistoryStatus) -> None:
        self.events.publish("history", **msgspec.to_builtins(status))

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        crash = task.exception()
        if crash is not None:
            logger.critical("! background task %s crashed: the daemon stops", task.get_name(), exc_info=crash)
            self._crash = self._crash or crash
            self.close()
