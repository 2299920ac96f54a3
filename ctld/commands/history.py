"""The built-in command about the audit log."""

from typing import Annotated, Any

import msgspec

from ctld.commands.context import Context
from ctld.commands.fitting import fitting
from ctld.commands.options import Option
from ctld.commands.registry import CommandRegistry
from ctld.errors import CommandFailed
from ctld.history_entry import MAX_LIMIT, Entry

__all__ = ["history_commands"]


def history_commands() -> CommandRegistry[Any]:
    """Make the registry of these commands."""
    commands = CommandRegistry[Any]()

    @commands.command("history_list", role="observe")
    async def history_list(
        ctx: Context,
        since: Annotated[float | None, Option("asked for at this time or later, in seconds since the epoch")] = None,
        cmd: Annotated[str | None, Option("only this command", complete="describe.name")] = None,
        uid: Annotated[int | None, Option("only by this user")] = None,
        failed: Annotated[bool | None, Option("only those that did not succeed, or only those that did")] = None,
        limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_LIMIT), Option("how many at most")] = 100,
        before: Annotated[int | None, Option("only entries with a lower id: for the next page")] = None,
    ) -> list[Entry]:
        """List who asked for what, and what became of it: the newest first, and no more than 4 MiB at once."""
        history = ctx.runtime.history
        if history is None:
            raise CommandFailed("this daemon keeps no history")
        return fitting(await history.query(since=since, cmd=cmd, uid=uid, failed=failed, before=before, limit=limit))

    return commands
