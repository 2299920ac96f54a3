"""The commands that belong to this dialect: freezing jobs, and what concerns the machine."""

import asyncio
from collections.abc import Iterable
from typing import Annotated, Any, Final

from ctld.commands.context import Context
from ctld.commands.options import Option
from ctld.commands.registry import CommandRegistry
from ctld.dialects.fss_control.freezer import cgroups_of, freeze
from ctld.dialects.fss_control.handler import FssListen
from ctld.endpoint import Listen
from ctld.errors import CommandFailed, ConfigError, NotFound
from ctld.processes import Spawn, spawn

__all__ = ["control_commands"]

_Job = Annotated[str, Option("the job", complete="job_list.name")]

# A program that reboots returns at once, or not at all.
_PATIENCE: Final = 60.0


def control_commands(listens: Iterable[Listen]) -> CommandRegistry[Any]:
    """Make the registry of these commands.

    Args:
        listens: Where the daemon listens; there stands what reboots the machine.

    Raises:
        ConfigError: Two of them say different things about that.
    """
    commands = CommandRegistry[Any]()
    tables = [listen for listen in listens if isinstance(listen, FssListen)]

    @commands.command("job_freeze", role="operate")
    async def job_freeze(ctx: Context, name: _Job) -> bool:
        """Suspend a job by the freezer of its cgroup, else as job_pause; true: by the freezer."""
        return await _freeze(ctx, name, frozen=True)

    @commands.command("job_thaw", role="operate")
    async def job_thaw(ctx: Context, name: _Job) -> bool:
        """Let a frozen or suspended job go on; true: by the freezer."""
        return await _freeze(ctx, name, frozen=False)

    if reboot := _the_one(tables, "reboot_command"):

        @commands.command("control_reboot", role="admin")
        async def control_reboot(ctx: Context) -> None:
            """Run the program that reboots the machine."""
            await _run(reboot)

    if kexec := _the_one(tables, "kexec_command"):

        @commands.command("control_kexec", role="admin")
        async def control_kexec(ctx: Context) -> None:
            """Run the program that starts another kernel."""
            await _run(kexec)

    return commands


async def _freeze(ctx: Context[Any], name: str, *, frozen: bool) -> bool:
    status = await ctx.call("job_status", name=name, usage=False)
    folders = cgroups_of([process.pid for process in status.processes if process.pid is not None])
    by_freezer = bool(folders) and await asyncio.to_thread(freeze, folders, frozen=frozen)
    if frozen and not by_freezer:
        await ctx.call("job_pause", name=name)
    elif not frozen and (status.paused or not by_freezer):
        await ctx.call("job_resume", name=name)
    return by_freezer


def _the_one(tables: Iterable[FssListen], key: str) -> tuple[str, ...]:
    found = {getattr(table, key) for table in tables} - {()}
    if len(found) > 1:
        raise ConfigError(f"two [[listen]] tables say different things about {key}")
    chosen: tuple[str, ...] = found.pop() if found else ()
    return chosen


async def _run(argv: tuple[str, ...]) -> None:
    """Run a program of the configuration to its end.

    Raises:
        CommandFailed: It cannot be run, or fails.
    """
    try:
        child = await spawn(Spawn(argv=argv))
    except NotFound as exc:
        raise CommandFailed(exc.message) from exc  # what is not found is not what the caller has named
    async with child:
        try:
            async with asyncio.timeout(_PATIENCE):
                status = await child.wait()
        except TimeoutError:
            raise CommandFailed(f"{argv[0]} has not ended after {_PATIENCE:.0f} s") from None
    if status.code:
        raise CommandFailed(f"{argv[0]}: {status}")
