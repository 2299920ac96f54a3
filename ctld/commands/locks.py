"""Built-in commands about locks; they take none, and so answer while every lock is held."""

from typing import Any

from ctld.commands.context import Context
from ctld.commands.registry import CommandRegistry
from ctld.lock_report import LockRow

__all__ = ["lock_commands"]


def lock_commands() -> CommandRegistry[Any]:
    """Make the registry of these commands."""
    commands = CommandRegistry[Any]()

    @commands.command("lock_list", role="observe")
    async def lock_list(ctx: Context) -> list[LockRow]:
        """List every lock that is held or waited for: by whom, since when, and from which line."""
        return ctx.runtime.locks.snapshot()

    @commands.command("lock_graph", role="observe")
    async def lock_graph(ctx: Context) -> str:
        """Draw who waits for whom, in the DOT language."""
        return ctx.runtime.locks.dot()

    return commands
