"""Commands that wish something of a job: start, stop, restart, kill, signal, repair, pause, resume."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from ctld.commands.context import Context
from ctld.commands.job_options import JobLock, JobName, ProcessNumber, Wait, hold_if_free
from ctld.commands.job_progress import follow_jobs
from ctld.commands.job_rows import JobDone
from ctld.commands.options import Option
from ctld.commands.registry import CommandRegistry
from ctld.jobs.snapshot import Goal
from ctld.jobs.supervisor import Supervisor
from ctld.sessions.viewers import signal_number

__all__ = ["Signalled", "wish_commands"]

_Signal = Annotated[str | int | None, Option("its name or number; else the one with which the job reloads")]


class Signalled(msgspec.Struct):
    """What has become of a signal: how many processes it was sent to."""

    processes: int


def wish_commands(supervisor: Supervisor) -> CommandRegistry[Any]:
    """Make the registry of these commands."""
    commands = CommandRegistry[Any]()
    _add_runs(commands, supervisor)
    _add_signals(commands, supervisor)
    return commands


def _add_runs(commands: CommandRegistry[Any], supervisor: Supervisor) -> None:
    """Add the commands after which a job runs, or does not."""

    @commands.command("job_start", role="operate")
    async def job_start(ctx: Context, name: JobName, wait: Wait = True) -> JobDone:
        """Start a job, and what it depends on."""
        return await _wish(ctx, supervisor, name, supervisor.start_job, "running" if wait else None)

    @commands.command("job_stop", role="operate")
    async def job_stop(ctx: Context, name: JobName, wait: Wait = True) -> JobDone:
        """Stop a job: its stop signal, and SIGKILL after its stop time."""
        return await _wish(ctx, supervisor, name, supervisor.stop_job, "stopped" if wait else None)

    @commands.command("job_restart", role="operate")
    async def job_restart(ctx: Context, name: JobName, wait: Wait = True) -> JobDone:
        """Stop a job and start it again."""
        return await _wish(ctx, supervisor, name, supervisor.restart_job, "running" if wait else None)

    @commands.command("job_repair", role="operate")
    async def job_repair(ctx: Context, name: JobName, wait: Wait = True) -> JobDone:
        """Give a job's processes their restarts back, and start those that are down; the others live on."""
        return await _wish(ctx, supervisor, name, supervisor.repair_job, "running" if wait else None)

    @commands.command("job_kill", role="operate")
    async def job_kill(ctx: Context, name: JobName, wait: Wait = True) -> JobDone:
        """Stop a job with SIGKILL, even if somebody holds its lock."""
        supervisor.info(name)
        async with hold_if_free(ctx, name):
            changed = supervisor.kill_job(name)
            return await _reached(ctx, supervisor, name, "stopped" if wait else None, changed)


def _add_signals(commands: CommandRegistry[Any], supervisor: Supervisor) -> None:
    """Add the commands that only send signals."""

    @commands.command("job_signal", role="operate")
    async def job_signal(
        ctx: Context, name: JobName, signal: _Signal = None, process: ProcessNumber = None
    ) -> Signalled:
        """Send a signal to the processes of a job, even if somebody holds its lock."""
        number = supervisor.spec(name).reload_signal if signal is None else signal_number(signal)
        async with hold_if_free(ctx, name):
            return Signalled(supervisor.signal_job(name, number, process))

    @commands.command("job_pause", role="operate")
    async def job_pause(ctx: Context, name: JobName) -> JobDone:
        """Suspend a job's processes."""
        return await _wish(ctx, supervisor, name, supervisor.pause_job, None)

    @commands.command("job_resume", role="operate")
    async def job_resume(ctx: Context, name: JobName) -> JobDone:
        """Let the processes of a suspended job go on."""
        return await _wish(ctx, supervisor, name, supervisor.resume_job, None)


async def _wish(
    ctx: Context[Any], supervisor: Supervisor, name: str, wish: Callable[[str], bool | None], goal: Goal | None
) -> JobDone:
    """Carry out a wish, and wait until it has come true.

    Args:
        ctx: The command.
        supervisor: The supervisor.
        name: The job.
        wish: Returns whether something has changed; None: something has.
        goal: What to wait for; None: nothing.

    Raises:
        NotFound: There is no such job.
        Locked: Somebody else works on it.
        CommandFailed: The wish makes no sense now, or cannot come true.
    """
    supervisor.info(name)  # a lock of what does not exist would only confuse
    async with ctx.manipulate(JobLock(name)):
        return await _reached(ctx, supervisor, name, goal, wish(name) is not False)


async def _reached(ctx: Context[Any], supervisor: Supervisor, name: str, goal: Goal | None, changed: bool) -> JobDone:
    if goal is not None:
        await follow_jobs(ctx, supervisor, {name}, supervisor.wait_for(name, goal))
    return JobDone(name=name, state=supervisor.info(name).summary, changed=changed)
