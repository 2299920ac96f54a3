"""The only way to a command, and the one place that knows what happens around it.

Handlers, dialects, nested calls, launched commands, timers and signals all come through
here, so nobody can forget the policy.  A run ends in exactly one `Reply` or `Failure`.

Cancelling deserves care.  An interruption of the operation cancels the task that runs it;
that task may be the connection's long-lived one, which must survive.  So a cancellation is
ours exactly if the operation was interrupted, and then it is taken back with `uncancel()`
after it has been delivered; any other one goes on to whoever cancelled the task.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final, Protocol

import msgspec

from ctld.commands.context import NO_SINK, Context, Sink
from ctld.commands.operation import Operation
from ctld.commands.outcome import failure_of, internal_error
from ctld.commands.permission import denial, require_role
from ctld.commands.registry import Command
from ctld.commands.runtime import Runtime
from ctld.errors import (
    BadRequest,
    Cancelled,
    CommandFailed,
    DeadlineExceeded,
    ShuttingDown,
    TooLarge,
    UnknownCommand,
)
from ctld.ownership import current_owner
from ctld.peer import Peer
from ctld.wire.jsontext import encode
from ctld.wire.messages import Failure, Item, Reply, as_mapping

__all__ = ["Dispatcher"]

logger = logging.getLogger("ctld.commands")

# What a peer calls a command is repeated to it, and logged; a name is no place for a novel.
_MAX_NAME_SHOWN: Final = 200

# Of a command that ended with its task, or let somebody else's cancellation through.
_CANCELLED: Final = Cancelled("the command was cancelled")

# A stream that nobody is slow to read must not keep the loop from everybody else for longer.
_ITEMS_PER_TURN: Final = 256


class _Arguments(Protocol):
    """The options of one run, ready to call the command's function with."""

    def call(self, function: Callable[..., Any], context: object) -> Any: ...


class _Bound(msgspec.Struct, frozen=True):
    """Arguments that a command's author passed as Python values."""

    args: tuple[Any, ...]
    opts: dict[str, Any]

    def call(self, function: Callable[..., Any], context: object) -> Any:
        return function(context, *self.args, **self.opts)


class Dispatcher:
    """Runs the commands of one socket.

    Args:
        commands: What each name stands for, as `CommandRegistry.resolve()` tells.
        runtime: What the daemon's parts share.
    """

    def __init__(self, commands: Mapping[str, Command], runtime: Runtime) -> None:
        self.commands = commands
        self.runtime = runtime
        self._by_function = {command.function: command for command in commands.values()}

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
        try:
            command = self._admit(peer, name, streamed=stream or detach)
            if sink.authorize is not None:
                await sink.authorize(command, as_mapping(options))
            decoded = command.options.decode(options)
        except CommandFailed as exc:
            return failure_of(exc)
        except Exception as exc:  # noqa: BLE001 - one of the two boundaries: a handler's authorize() may have any defect
            return failure_of(internal_error(logger, f"authorizing {name[:_MAX_NAME_SHOWN]!r}", exc))
        if detach:
            return Reply({"operation": self._start(peer, command, decoded, decoded.cli, deadline).id})
        operation = self.runtime.operations.start(command.name, peer, command.role, decoded.cli)
        operation.task = sink.task or asyncio.current_task()
        operation.sink = sink
        operation.on_disconnect = command.on_disconnect
        context: Context[Any] = Context(
            self, self.runtime, command, operation, peer, sink, deadline=deadline, wants_progress=decoded.wants_progress
        )
        sink.begun(operation)
        error = await self._execute(context, decoded, stream)
        return Reply(operation.result) if error is None else failure_of(error)

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
            self,
            self.runtime,
            command,
            context.operation,
            context.peer,
            context._sink,  # noqa: SLF001 - the dispatcher makes contexts, it may look into them
            parent=context,
            deadline=context.deadline,
            wants_progress=context._wants_progress,  # noqa: SLF001 - see above
        )
        return await self._invoke(nested, arguments, stream=False)

    def launch(
        self, peer: Peer, target: str | Callable[..., Any], args: tuple[Any, ...], opts: dict[str, Any]
    ) -> Operation[Any]:
        """Start a command on its own; see `Context.launch()`."""
        command, arguments = self._bind(target, args, opts)
        require_role(self.runtime, peer, command.role, command.name)
        if self.runtime.stopping:
            raise ShuttingDown("the daemon is shutting down")
        return self._start(peer, command, arguments, "", None)

    def _admit(self, peer: Peer, name: str, *, streamed: bool) -> Command:
        """Return the command that a peer may run now.

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
        return command

    def _bind(
        self, target: str | Callable[..., Any], args: tuple[Any, ...], opts: dict[str, Any]
    ) -> tuple[Command, _Arguments]:
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

    def _start(
        self, peer: Peer, command: Command, arguments: _Arguments, cli: str, deadline: float | None
    ) -> Operation[Any]:
        operation = self.runtime.operations.start(command.name, peer, command.role, cli)
        operation.detached = True
        context: Context[Any] = Context(self, self.runtime, command, operation, peer, NO_SINK, deadline=deadline)
        operation.task = asyncio.get_running_loop().create_task(
            self._execute(context, arguments, stream=False), name=f"operation {operation.id} {command.name}"
        )
        return operation

    async def _execute(self, context: Context[Any], arguments: _Arguments, stream: bool) -> CommandFailed | None:
        """Run a command to its end, whatever that is, and note it in the operation."""
        operation = context.operation
        timer = None
        if context.deadline is not None:
            timer = asyncio.get_running_loop().call_at(
                context.deadline, operation.interrupt, DeadlineExceeded(f"{operation.command} took too long")
            )
        token = current_owner.set(operation)
        task = operation.task
        result: Any = None
        error: CommandFailed | None = _CANCELLED
        try:
            if context.command.hooks or context.command.streams:
                result = await self._invoke(context, arguments, stream)
            else:
                result = await arguments.call(context.command.function, context)
            error = None
        except CommandFailed as exc:
            error = exc
        except asyncio.CancelledError:
            if operation.interruption is not None:
                error = operation.interruption
            elif task is not None and task.cancelling():
                raise  # somebody wants the whole task to end, not just this command
            # else the command awaited something that was cancelled, and let that through
        except Exception as exc:  # noqa: BLE001 - the boundary: whatever a command raises, its caller gets an answer
            error = _only_failure(exc) or internal_error(
                logger, f"command {operation.command!r} of {operation.peer}", exc
            )
        finally:
            current_owner.reset(token)
            if timer is not None:
                timer.cancel()
            operation.finish(result, error)
        if operation.cancel_sent and task is not None:
            await _settle(task)
        return error

    async def _invoke(self, context: Context[Any], arguments: _Arguments, stream: bool) -> Any:
        """Run a command's function inside of its hooks."""
        async with AsyncExitStack() as stack:
            for hook in context.command.hooks:
                await stack.enter_async_context(hook(context))
            called = arguments.call(context.command.function, context)
            if not context.command.streams:
                return await called
            if stream:
                return await _send_items(context, called)
            return await _collect(called, self.runtime.limits.max_line)
        return None  # a hook has swallowed the error of its command


def _only_failure(exception: Exception) -> CommandFailed | None:
    """Return the failure inside of an exception group that holds no other kind of error."""
    if not isinstance(exception, ExceptionGroup):
        return None
    failures, others = exception.split(CommandFailed)
    if others is not None or failures is None:
        return None
    first: BaseException = failures
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, CommandFailed) else None


async def _send_items(context: Context[Any], generator: AsyncGenerator[Any, Any]) -> None:
    """Send each item as it comes.

    A cancellation that strikes while an item waits for the client is thrown into the
    generator: closing it from outside would break a timeout around its `yield` (PEP 789).
    """
    sink = context._sink  # noqa: SLF001 - this is the dispatcher's half of a context
    advance = generator.__anext__()
    count = 0
    try:
        while True:
            item = await advance
            count += 1
            try:
                await sink.send_item(Item(item))
                if count % _ITEMS_PER_TURN == 0:
                    await asyncio.sleep(0)
            except asyncio.CancelledError as exc:
                advance = generator.athrow(exc)
            else:
                advance = generator.__anext__()
    except StopAsyncIteration:
        return
    finally:
        await generator.aclose()


async def _collect(generator: AsyncGenerator[Any, Any], max_size: int) -> list[Any]:
    """Return all items of a stream that nobody asked to stream (N4).

    Raises:
        TooLarge: As JSON they exceed `max_size` bytes.
    """
    items = []
    size = 2
    try:
        async for item in generator:
            size += len(encode(item)) + 1
            if size > max_size:
                raise TooLarge(f'the result exceeds {max_size} bytes: ask for it with "stream": true')
            items.append(item)
    finally:
        await generator.aclose()
    return items


async def _settle(task: asyncio.Task[Any]) -> None:
    """Take back the cancellation of an operation, so that the task can go on.

    A command may have ended between the wish and its delivery; then it is delivered here.

    Raises:
        asyncio.CancelledError: Somebody else has cancelled the task as well.
    """
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        logger.debug("a cancelled command had ended before it learned of it")
    if task.uncancel() > 0:
        raise asyncio.CancelledError
