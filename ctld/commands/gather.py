"""The commands about gatherers: `gather_commands(pool)` makes them.

They read files and run commands with the rights of a profile's workers, whoever the daemon
runs as; so all of them need the role admin.
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec

from ctld.commands.context import Context
from ctld.commands.gather_archives import archive_commands
from ctld.commands.gather_report import report_commands
from ctld.commands.gather_rows import (
    CommandLine,
    CommandOutput,
    GatheredPath,
    PoolRow,
    ProfileName,
    Seconds,
    command_output,
    gathered_path,
    pool_row,
)
from ctld.commands.options import Option
from ctld.commands.registry import CommandRegistry
from ctld.gatherer.pool import Pool
from ctld.gatherer.report_store import ReportStore

__all__ = ["gather_commands"]


def gather_commands(pool: Pool, reports: ReportStore | None = None) -> CommandRegistry[Any]:
    """Make the registry of the commands about the workers of a pool.

    Args:
        pool: The pool; who made it also starts and closes it.
        reports: Where copies and reports go; without it, the commands that make some are not there.
    """
    commands = CommandRegistry[Any]()

    @commands.command("gather_pool", role="admin", record=False)
    async def gather_pool(ctx: Context) -> list[PoolRow]:
        """List the kinds of workers, what they do, and how often they had to be started again."""
        return [pool_row(crew) for crew in pool.snapshot()]

    @commands.command("gather_glob", role="admin", on_disconnect="cancel")
    async def gather_glob(
        ctx: Context,
        profile: ProfileName,
        pattern: Annotated[str, msgspec.Meta(max_length=128 * 1024), Option("a shell pattern of paths")],
        timeout: Seconds = None,
    ) -> AsyncIterator[GatheredPath]:
        """List the paths that match a pattern, as a worker sees them."""
        for path in await pool.glob(profile, pattern, timeout=timeout):
            yield gathered_path(path)

    @commands.command("gather_exec", role="admin", on_disconnect="cancel")
    async def gather_exec(
        ctx: Context, profile: ProfileName, line: CommandLine, timeout: Seconds = None
    ) -> CommandOutput:
        """Have a worker run a command, and return its output."""
        return command_output(await pool.exec(profile, line, timeout=timeout))

    if reports is not None:
        commands.include(report_commands(pool, reports))
        commands.include(archive_commands(reports))
    return commands
