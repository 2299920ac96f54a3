"""Built-in commands about operations: list, watch, wait for and cancel what runs.

Whose operation it is decides what one may do with it.  Its own user may do anything, and
so may everybody who could have run the command himself; anyone else could learn from its
result, or stop, what he may not even start.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec

from ctld.commands.context import Context
from ctld.commands.operation import Operation, State
from ctld.commands.options import Option
from ctld.commands.permission import require_role
from ctld.commands.registry import CommandRegistry
from ctld.peer import Peer

__all__ = ["OperationInfo", "operation_commands"]

_Id = Annotated[str, Option("the operation", complete="op_list.id")]


class OperationInfo(msgspec.Struct):
    """One operation, in the answer of `op_list`.

    Attributes:
        id: Its id.
        command: The command it runs.
        cli: The command line of its client, if that told.
        state: `running`, `done`, `failed` or `cancelled`.
        peer: Who asked for it.
        started: When, in seconds since the epoch.
        age: How many seconds ago that was.
        detached: Whether it runs on its own.
        message: Its latest progress message.
        current: How much of it is done.
        total: How much there is.
        unit: Of what.
        error: Why it failed.
    """

    id: str
    command: str
    cli: str
    state: State
    peer: str
    started: float
    age: float
    detached: bool
    message: Any = ""
    current: float | None = None
    total: float | None = None
    unit: str = ""
    error: str = ""


def operation_commands() -> CommandRegistry[Any]:
    """Make the registry of these commands."""
    commands = CommandRegistry[Any]()

    @commands.command("op_list", role="observe")
    async def op_list(ctx: Context) -> list[OperationInfo]:
        """List what runs, and what ran on its own a short while ago."""
        return [_info(operation) for operation in ctx.runtime.operations]

    @commands.command("op_watch", role="anyone", on_disconnect="cancel")
    async def op_watch(
        ctx: Context, id: _Id, since: Annotated[int, Option("begin after this message")] = 0
    ) -> AsyncIterator[dict[str, Any]]:
        """Stream the progress of an operation, and at last its result."""
        operation = _permitted(ctx, id)
        async for update in operation.updates(since):
            item = {"seq": update.seq, "progress": update.message}
            for key in ("current", "total", "unit", "data"):
                value = getattr(update, key)
                if value not in (None, ""):
                    item[key] = value
            yield item
        yield {"result": await operation.wait()}

    @commands.command("op_wait", role="anyone", on_disconnect="cancel")
    async def op_wait(ctx: Context, id: _Id) -> Any:
        """Wait for an operation and return its result; fail as it fails."""
        return await _permitted(ctx, id).wait()

    @commands.command("op_cancel", role="anyone")
    async def op_cancel(ctx: Context, id: _Id) -> State:
        """Ask an operation to end; the answer tells its state, and does not wait for the end."""
        operation = _permitted(ctx, id)
        operation.cancel()
        return operation.state

    return commands


def _permitted(ctx: Context, operation_id: str) -> Operation[Any]:
    """Return an operation with which the caller may do as he likes.

    Raises:
        NotFound: There is none of that id.
        Denied: It is somebody else's, and its command is not for the caller.
    """
    operation = ctx.runtime.operations.find(operation_id)
    if not _same_user(operation.peer, ctx.peer):
        require_role(ctx.runtime, ctx.peer, operation.role, f"operation {operation.id} ({operation.command})")
    return operation


def _same_user(one: Peer, other: Peer) -> bool:
    if one.uid is not None:
        return one.uid == other.uid
    # Without a uid only a name that the transport vouches for says who somebody is.
    return other.uid is None and bool(one.name) and (one.name, one.transport) == (other.name, other.transport)


def _info(operation: Operation[Any]) -> OperationInfo:
    latest = operation.latest
    return OperationInfo(
        id=operation.id,
        command=operation.command,
        cli=operation.cli,
        state=operation.state,
        peer=str(operation.peer),
        started=round(operation.started_at, 3),
        age=round(operation.age, 3),
        detached=operation.detached,
        message=latest.message,
        current=latest.current,
        total=latest.total,
        unit=latest.unit,
        error="" if operation.error is None else operation.error.message,
    )
