"""What happens around a command's function, from its first step to the end of its operation.

Cancelling deserves care.  An interruption of the operation cancels the task that runs it;
that task may be the connection's long-lived one, which must survive.  So a cancellation is
ours exactly if the operation was interrupted, and then it is taken back with `uncancel()`
after it has been delivered; any other one goes on to whoever cancelled the task.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from contextvars import Context as ContextVariables
from typing import Any, Final, Protocol

from ctld.commands.context import Context
from ctld.commands.operation import Operation
from ctld.commands.outcome import failure_of, internal_error, only_failure
from ctld.commands.runtime import Runtime
from ctld.commands.settling import settle
from ctld.commands.streaming import collect, send_items
from ctld.errors import Cancelled, CommandFailed, DeadlineExceeded
from ctld.locks import current_locks
from ctld.ownership import current_owner
from ctld.wire.messages import Failure, Reply

__all__ = ["Arguments", "Execution"]

logger = logging.getLogger("ctld.commands")

# Of a command that ended with its task, or let somebody else's cancellation through.
_CANCELLED: Final = Cancelled("the command was cancelled")


class Arguments(Protocol):
    """The options of one run, ready to call the command's function with."""

    def call(self, function: Callable[..., Any], context: object) -> Any:
        """Call a function with its context, and these options."""
        ...


class Execution:
    """Runs functions of commands, and notes in their operations how that ended.

    Args:
        runtime: What the daemon's parts share.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._locks = runtime.locks
        self._locks_in_use = runtime.locks.in_use
        self._max_line = runtime.limits.max_line

    async def run_alone(self, context: Context[Any], arguments: Arguments) -> Reply | Failure:
        """Run a command in the task that was made for it."""
        return await self.run(context, context.operation, asyncio.current_task(), arguments, True, stream=False)

    async def run(
        self,
        context: Context[Any],
        operation: Operation[Any],
        task: asyncio.Task[Any] | None,
        arguments: Arguments,
        surround: bool,
        stream: bool,
    ) -> Reply | Failure:
        """Run a command to its end, whatever that is, and note it in the operation.

        Args:
            context: What its function gets.
            operation: Its entry among what runs.
            task: The task that awaits this.
            arguments: Its options.
            surround: Whether it has hooks, a deadline or a result that it yields, or runs elsewhere than in
                a conversation of this server, whose locks are the current ones already.
            stream: Whether what it yields is sent item by item.
        """
        token = current_owner.set(operation)
        ending: Reply | CommandFailed = _CANCELLED
        try:
            if surround:
                ending = Reply(await self._surrounded(context, arguments, stream))
            else:
                ending = Reply(await arguments.call(context.command.function, context))
        except CommandFailed as exc:
            ending = exc.with_traceback(None)  # that leads to this frame: a circle would have to wait for the collector
        except asyncio.CancelledError:
            # Without an interruption the command awaited something that was cancelled, and let that through.
            ending = operation.interruption or Cancelled(f"{operation.command} was cancelled")
            if operation.interruption is None and task is not None and task.cancelling():
                raise  # somebody wants the whole task to end, not just this command
        except (KeyboardInterrupt, GeneratorExit):
            raise  # not the command's: somebody ends the whole program, or the loop is gone
        except BaseException as exc:  # noqa: BLE001 - the boundary: even of what calls exit(), the caller gets an answer
            ending = only_failure(exc) or internal_error(
                logger, f"command {operation.command!r} of {operation.peer}", exc
            )
            ending.__traceback__ = exc.__traceback__ = None  # as above; the log has it
        finally:
            current_owner.reset(token)
            operation.finish(ending)
            if self._locks_in_use and (left := self._locks.held_by(operation)):
                # Not taken away: what still holds them may be at work with them.
                logger.warning("! %s has ended and holds locks: %s", operation.command, [key[1:] for key in left])
        if task is not None and (operation.cancel_sent or task.cancelling()):
            await settle(task, interrupted=operation.cancel_sent)
        return ending if isinstance(ending, Reply) else failure_of(ending)

    async def _surrounded(self, context: Context[Any], arguments: Arguments, stream: bool) -> Any:
        """Run a command's function inside of its hooks, under its deadline, where our locks are the current ones."""
        timer = None
        if context.deadline is not None:
            late = DeadlineExceeded(f"{context.operation.command} took too long")
            interrupt = context.operation.interrupt
            # It keeps its context, and asyncio keeps a cancelled timer until its time comes: so an empty one.
            timer = asyncio.get_running_loop().call_at(context.deadline, interrupt, late, context=ContextVariables())
        locks = self._locks
        token = None if current_locks.get() is locks else current_locks.set(locks)
        try:
            return await self.invoke(context, arguments, stream)
        finally:
            if token is not None:
                current_locks.reset(token)
            if timer is not None:
                timer.cancel()

    async def invoke(self, context: Context[Any], arguments: Arguments, stream: bool) -> Any:
        """Run a command's function inside of its hooks."""
        if not (context.command.hooks or context.command.streams):
            return await arguments.call(context.command.function, context)
        async with AsyncExitStack() as stack:
            for hook in context.command.hooks:
                await stack.enter_async_context(hook(context))
            called = arguments.call(context.command.function, context)
            if not context.command.streams:
                return await called
            if stream:
                return await send_items(called, context._sink.send_item)  # noqa: SLF001 - this is the dispatcher's half of a context
            return await collect(called, self._max_line)
        return None  # a hook has swallowed the error of its command
