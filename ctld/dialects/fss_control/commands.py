"""The commands that belong to this dialect: freezing jobs, and what concerns the machine."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from ctld.commands.context import Context
from ctld.commands.job_options import JobLock, JobName
from ctld.commands.registry import CommandRegistry
from ctld.dialects.fss_control.handler import FssListen, contradictions
from ctld.endpoint import Listen
from ctld.errors import CommandFailed, ConfigError, NotFound
from ctld.jobs.freezer import Freezer
from ctld.processes import Spawn, spawn

__all__ = ["Freezing", "control_commands", "freezer_commands"]


class Freezing(msgspec.Struct, kw_only=True):
    """What has been done to a job.

    Attributes:
        name: The job.
        frozen: Whether it is suspended now.
        by: By what means.
    """

    name: str
    frozen: bool
    by: Literal["freezer", "signals"]


# A program that reboots returns at once, or not at all.
_PATIENCE: Final = 60.0


def freezer_commands(freezer: Freezer | None = None) -> CommandRegistry[Any]:
    """Make the registry of what freezes jobs; it goes with the commands about jobs, which it calls.

    Args:
        freezer: What freezes cgroups; None: the kernel's.
    """
    commands = CommandRegistry[Any]()
    freezer = freezer or Freezer()

    @commands.command("job_freeze", role="operate")
    async def job_freeze(ctx: Context, name: JobName) -> Freezing:
        """Suspend a job by the freezer of its cgroups, else as job_pause does."""
        return await _freeze(ctx, freezer, name, frozen=True)

    @commands.command("job_thaw", role="operate")
    async def job_thaw(ctx: Context, name: JobName) -> Freezing:
        """Let a job go on that is frozen, or suspended."""
        return await _freeze(ctx, freezer, name, frozen=False)

    return commands


def control_commands(listens: Iterable[Listen]) -> CommandRegistry[Any]:
    """Make the registry of what concerns the machine.

    Args:
        listens: Where the daemon listens; there stands what reboots the machine.

    Raises:
        ConfigError: Two of them say different things about that.
    """
    commands = CommandRegistry[Any]()
    tables = [listen for listen in listens if isinstance(listen, FssListen)]
    for _, key, reason in contradictions(tables):
        raise ConfigError(f"{key}: {reason}")

    if reboot := _first(table.reboot_command for table in tables):

        @commands.command("control_reboot", role="admin")
        async def control_reboot(ctx: Context) -> None:
            """Run the program that reboots the machine."""
            await _run(reboot)

    if kexec := _first(table.kexec_command for table in tables):

        @commands.command("control_kexec", role="admin")
        async def control_kexec(ctx: Context) -> None:
            """Run the program that starts another kernel."""
            await _run(kexec)

    return commands


async def _freeze(ctx: Context[Any], freezer: Freezer, name: str, *, frozen: bool) -> Freezing:
    async with ctx.manipulate(JobLock(name)):
        status = await ctx.call("job_status", name=name, usage=False)
        folders = freezer.cgroups_of([process.pid for process in status.processes if process.pid is not None])
        by_freezer = bool(folders) and await asyncio.to_thread(freezer.freeze if frozen else freezer.thaw, folders)
        if frozen and not by_freezer:
            await ctx.call("job_pause", name=name)
        elif not frozen and (status.paused or not by_freezer):
            await ctx.call("job_resume", name=name)
    return Freezing(name=name, frozen=frozen, by="freezer" if by_freezer else "signals")


def _first(commands: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return next(filter(None, commands), ())


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
