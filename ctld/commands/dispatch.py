"""The only way to a command, and the one place that knows what happens around it.

Handlers, dialects, nested calls, launched commands, timers and signals all come through
here, so nobody can forget the policy.  A run ends in exactly one `Reply` or `Failure`.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextvars import copy_context
from typing import Any, Final

import msgspec

from ctld.commands.context import NO_SINK, Authorize, Context, Sink
from ctld.commands.execution import Arguments, Execution
from ctld.commands.journal import Journal
from ctld.commands.operation import Operation
from ctld.commands.options import Decoded
from ctld.commands.outcome import failure_of, internal_error
from ctld.commands.permission import denial, require_role
from ctld.commands.registry import Command
from ctld.commands.runtime import Runtime
from ctld.errors import (
    BadRequest,
    CommandFailed,
    Denied,
    ShuttingDown,
    UnknownCommand,
)
from ctld.peer import Peer
from ctld.policy import ROLES, at_least
from ctld.sessions.current import current_sessions
from ctld.wire.messages import NO_OPTIONS, Failure, Options, Reply, Request, as_mapping

__all__ = ["Dispatcher"]

logger = logging.getLogger("ctld.commands")

# What a peer calls a command is repeated to it, and logged; a name is no place for a novel.
_MAX_NAME_SHOWN: Final = 200


class _Bound(msgspec.Struct, frozen=True):
    """Arguments that a command's author passed as Python values."""

    args: tuple[Any, ...]
    opts: dict[str, Any]

    def call(self, function: Callable[..., Any], context: object) -> Any:
        return function(context, *self.args, **self.opts)


class _Route(msgspec.Struct, frozen=True):
    """What is known of a command before anybody asks for it.

    Attributes:
        command: The command.
        decode: Makes its options of what came.
        nothing: Its options where nothing came; None: that has to be looked at each time.
        followed: Whether events or the history have it.
        endless: Whether its stream never ends by itself.
        wrapped: Whether it has hooks, or yields its result: it takes more than to call its function, and to wait.
    """

    command: Command
    decode: Callable[[Options], Decoded]
    nothing: Decoded | None
    followed: bool
    endless: bool
    wrapped: bool


class Dispatcher:
    """Runs the commands of one socket.

    Args:
        commands: What each name stands for, as `CommandRegistry.resolve()` tells.
        runtime: What the daemon's parts share.
    """

    def __init__(self, commands: Mapping[str, Command], runtime: Runtime) -> None:
        self.commands = commands
        self.runtime = runtime
        self.session_names = frozenset(name for name, command in commands.items() if command.session)
        self._by_function = {command.function: command for command in commands.values()}
        self._journal = Journal(runtime)
        self._execution = Execution(runtime)
        routes = {command: self._route(command) for command in commands.values()}
        # A role and a name lead to the command in one look; who finds none there is told why.
        self._open_to = {
            role: {name: routes[command] for name, command in commands.items() if at_least(role, command.role)}
            for role in ROLES
        }

    async def run(
        self,
        peer: Peer,
        name: str,
        options: msgspec.Raw | Mapping[str, Any],
        sink: Sink = NO_SINK,
        *,
        stream: bool = False,
        detach: bool = False,
        deadline: float | None = None,
    ) -> Reply | Failure:
        """Run a command for somebody, from finding it to its final message.

        Args:
            peer: Who asks.
            name: The command.
            options: Its options: JSON text, or a mapping.
            sink: Where progress and items go.
            stream: Whether items are sent one by one, or collected into a list.
            detach: Whether to answer at once, with the id of the operation that runs on.
            deadline: When to cancel it, by the loop's clock.

        Returns:
            The final message; never raises for what the command or the caller did.
        """
        if sink.authorize is not None:
            refusal = await self._ask(sink.authorize, peer, name, options, sink, streamed=stream or detach)
            if refusal is not None:
                return refusal
        request = Request(name, options, stream=stream, detach=detach)
        return await self.start(peer, request, sink, sink.task or asyncio.current_task(), deadline, surround=True)

    def start(
        self,
        peer: Peer,
        request: Request,
        sink: Sink,
        task: asyncio.Task[Any] | None,
        deadline: float | None = None,
        surround: bool = False,
    ) -> Coroutine[Any, Any, Reply | Failure]:
        """Begin to run a command at once, and return what goes on with it: `run()`, where the handler is not asked.

        Args:
            peer: Who asks.
            request: What for.
            sink: Where progress and items go.
            task: The task that will await it.
            deadline: As for `run()`.
            surround: Whether it has a deadline, or runs elsewhere than in a conversation of this server.
        """
        name, options = request.cmd, request.options
        runtime = self.runtime
        operation: Operation[Any] | None = None
        try:
            route = self._open_to[peer.role].get(name)
            if route is None or route.endless or runtime.stopping:
                route = self._admit(peer, name, streamed=request.stream or request.detach)
            if request.detach:
                runtime.operations.check_detached(peer.uid, runtime.limits.max_detached)
            decoded = route.nothing if options is NO_OPTIONS else None
            if decoded is None:
                decoded = route.decode(options)
            command = route.command
            values = decoded.values
            operation = runtime.operations.start(
                command.name, peer, command.role, "", task, command.on_disconnect, values.manipulation_lock
            )
            if route.followed or values.cli is not None:
                self._journal.begin(operation, command, options, decoded.cli, sink)
            if request.detach:
                self._start(operation, command, decoded, deadline)
                return _answered(Reply({"operation": operation.id}))
            context: Context[Any] = Context(
                runtime.app,
                command,
                operation,
                peer,
                self,
                runtime,
                sink,
                values.progress is not False,
                decoded.session if command.session else None,
                deadline,
            )
            sink.begun(operation)
        except CommandFailed as exc:
            return _answered(self._refused(exc, peer, name, options, sink))
        except Exception as exc:  # noqa: BLE001 - one of the boundaries: the types of options may have any defect
            return _answered(self._broken(exc, name, operation))
        return self._execution.run(context, operation, task, decoded, surround or route.wrapped, request.stream)

    def find(self, name: str) -> Command:
        """Return the command of that name.

        Raises:
            UnknownCommand: There is none here.
        """
        command = self.commands.get(name)
        if command is None:
            raise UnknownCommand(f"Unsupported command '{name[:_MAX_NAME_SHOWN]}'")
        return command

    async def call(
        self, context: Context[Any], target: str | Callable[..., Any], args: tuple[Any, ...], opts: dict[str, Any]
    ) -> Any:
        """Run a command as a part of another one; see `Context.call()`."""
        command, arguments = self._bind(target, args, opts)
        nested: Context[Any] = Context(
            self.runtime.app,
            command,
            context.operation,
            context.peer,
            self,
            self.runtime,
            context._sink,  # noqa: SLF001 - the dispatcher makes contexts, it may look into them
            context._wants_progress,  # noqa: SLF001 - see above
            deadline=context.deadline,
            parent=context,
        )
        return await self._execution.invoke(nested, arguments, stream=False)

    def launch(
        self,
        peer: Peer,
        target: str | Callable[..., Any],
        args: tuple[Any, ...],
        opts: dict[str, Any],
        sink: Sink = NO_SINK,
    ) -> Operation[Any]:
        """Start a command on its own; see `Context.launch()`.

        Args:
            peer: On whose behalf.
            target: The function of the command, or its name.
            args: Its options in order.
            opts: Its options by name.
            sink: Where the request came from that led to this.
        """
        command, arguments = self._bind(target, args, opts)
        require_role(self.runtime, peer, command.role, command.name)
        if self.runtime.stopping:
            raise ShuttingDown("the daemon is shutting down")
        operation = self.runtime.operations.start(command.name, peer, command.role)
        if self._journal.follows(command):
            self._journal.begin(operation, command, command.options.bind(args, opts), "", sink)
        self._start(operation, command, arguments, None)
        return operation

    def _route(self, command: Command) -> _Route:
        options = command.options
        followed = self._journal.follows(command)
        wrapped = bool(command.hooks) or command.streams
        return _Route(command, options.decode, options.nothing, followed, command.endless, wrapped)

    async def _ask(
        self, authorize: Authorize, peer: Peer, name: str, options: Options, sink: Sink, *, streamed: bool
    ) -> Failure | None:
        """Ask the handler whether a peer may run a command that its role lets it run."""
        try:
            route = self._admit(peer, name, streamed=streamed)
            await authorize(route.command, as_mapping(options))
        except CommandFailed as exc:
            return self._refused(exc, peer, name, options, sink)
        except Exception as exc:  # noqa: BLE001 - one of the boundaries: a handler's authorize() may have any defect
            return self._broken(exc, name)
        return None

    def _refused(self, error: CommandFailed, peer: Peer, name: str, options: Options, sink: Sink) -> Failure:
        """Return the answer to somebody who may not, or not so; a denial is kept in mind."""
        if isinstance(error, Denied):
            self._journal.denied(peer, self.commands[name], options, sink, error)
        return failure_of(error)

    def _broken(self, defect: Exception, name: str, operation: Operation[Any] | None = None) -> Failure:
        """Return the answer where a command could not begin because of a defect."""
        error = internal_error(logger, f"beginning {name[:_MAX_NAME_SHOWN]!r}", defect)
        if operation is not None:
            operation.on_finished = None  # that it has begun has not been noted either
            operation.finish(error)
        return failure_of(error)

    def _admit(self, peer: Peer, name: str, *, streamed: bool) -> _Route:
        """Return the way to the command that a peer may run now.

        Raises:
            CommandFailed: There is none, or not for this peer, not now, or not so.
        """
        command = self.find(name)
        if not self.runtime.policy.decide(peer, command.role).allowed:
            raise denial(self.runtime, peer, command.role, name)
        if self.runtime.stopping:
            raise ShuttingDown("the daemon is shutting down")
        if command.endless and not streamed:
            raise BadRequest(f'{name} never ends by itself: ask for it with "stream": true')
        return self._open_to[peer.role][name]

    def _bind(
        self, target: str | Callable[..., Any], args: tuple[Any, ...], opts: dict[str, Any]
    ) -> tuple[Command, Arguments]:
        """Return the command that a function or a name stands for, and its arguments.

        Names are followed by options as they come from a wire, functions by Python values.
        """
        if isinstance(target, str):
            command = self.find(target)
            return command, command.options.decode(opts)
        known = self._by_function.get(target)
        if known is None:
            raise UnknownCommand(f"{getattr(target, '__name__', target)!r} is no command of this socket")
        return known, _Bound(args, opts)

    def _start(self, operation: Operation[Any], command: Command, arguments: Arguments, deadline: float | None) -> None:
        """Run a command in a task of its own."""
        operation.detached = True
        context: Context[Any] = Context(
            self.runtime.app, command, operation, operation.peer, self, self.runtime, NO_SINK, deadline=deadline
        )
        surroundings = copy_context()
        surroundings.run(current_sessions.set, self.runtime.sessions)
        operation.task = asyncio.get_running_loop().create_task(
            self._execution.run_alone(context, arguments),
            name=f"operation {operation.id} {command.name}",
            context=surroundings,
        )
        # A task that is cancelled before its first step does not even run its `finally`.
        operation.task.add_done_callback(operation.abandon)


async def _answered(outcome: Reply | Failure) -> Reply | Failure:
    """Be awaited in the place of a run that is over already."""
    return outcome
