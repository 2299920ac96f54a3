"""Commands that look at jobs: list, status, tail, wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from typing import Annotated, Any, Final

import msgspec

from ctld.commands.context import Context
from ctld.commands.job_options import JobName, ProcessNumber
from ctld.commands.job_progress import follow_jobs
from ctld.commands.job_rows import JobRow, JobState, JobStatus, Rows
from ctld.commands.options import Option
from ctld.commands.places import Places
from ctld.commands.registry import CommandRegistry
from ctld.errors import BadRequest, CommandFailed, NotFound
from ctld.jobs.snapshot import Goal
from ctld.jobs.supervisor import Supervisor
from ctld.jobs.tail import MAX_LINES, LogLine, LogTail

__all__ = ["look_commands"]

# Files that callers look at, all together: a job may have hundreds, and descriptors are everybody's.
_MOST_FILES: Final = 128

# Seconds between two looks at a file that somebody follows.
_INTERVAL: Final = 0.2

_Usage = Annotated[bool, Option("measure CPU and memory, which takes a look at every process of the machine")]


def look_commands(supervisor: Supervisor) -> CommandRegistry[Any]:
    """Make the registry of these commands."""
    commands = CommandRegistry[Any]()
    rows = Rows(supervisor)
    files = Places("files to look at")

    @commands.command("job_list", role="observe")
    async def job_list(ctx: Context, usage: _Usage = True) -> list[JobRow]:
        """List the jobs, with what their processes do and use."""
        return await rows.all(usage=usage)

    @commands.command("job_status", role="observe")
    async def job_status(ctx: Context, name: JobName, usage: _Usage = True) -> JobStatus:
        """Tell all about one job."""
        return await rows.status(name, usage=usage)

    @commands.command("job_tail", role="observe", on_disconnect="cancel")
    async def job_tail(
        ctx: Context,
        name: JobName,
        lines: Annotated[int, msgspec.Meta(ge=0, le=MAX_LINES), Option("how many lines to begin with")] = 10,
        follow: Annotated[bool, Option("go on with what is written from now on")] = False,
        stderr: Annotated[bool, Option("the errors instead of the output")] = False,
        process: ProcessNumber = None,
    ) -> AsyncIterator[LogLine]:
        """Show the end of what a job has written."""
        if follow and ctx.operation.detached:
            raise BadRequest("to follow a file needs a client that listens: it cannot be detached")
        tails = _open_tails(supervisor, name, process, "stderr" if stderr else "stdout", lines)
        with ExitStack() as held:
            held.enter_context(files.hold(ctx.peer, _MOST_FILES, len(tails)))
            for tail in tails:
                held.callback(tail.close)
            while True:
                found = [line for tail in tails for line in _read(tail)]
                for line in found:
                    yield line
                if not found and not (follow and await _is_to_go_on(ctx, supervisor, name)):
                    break
            for line in [line for tail in tails for line in tail.flush()]:
                yield line

    @commands.command("job_wait", role="observe", on_disconnect="cancel")
    async def job_wait(ctx: Context, name: JobName, state: Goal) -> JobState:
        """Wait until a job runs, or has stopped; fail once it cannot come to that."""
        supervisor.info(name)
        info = await follow_jobs(ctx, supervisor, {name}, supervisor.wait_for(name, state))
        return JobState(name=name, state=info.summary)

    return commands


def _open_tails(supervisor: Supervisor, name: str, process: int | None, stream: str, lines: int) -> list[LogTail]:
    """Return the output files of a job.

    Raises:
        NotFound: There is no such job, or no such process.
        CommandFailed: The job discards that.
    """
    numbers = range(len(supervisor.info(name).processes)) if process is None else [process]
    paths = {number: supervisor.process(name, number).logs().get(stream) for number in numbers}
    if not any(paths.values()):
        raise CommandFailed(f"job {name!r} has no file for that: its job file names none as {stream!r}")
    return [LogTail(number, path, lines) for number, path in paths.items() if path is not None]


def _read(tail: LogTail) -> list[LogLine]:
    try:
        return tail.read()
    except OSError as error:
        raise CommandFailed(f"cannot read {error.filename!r}: {error.strerror}") from error


async def _is_to_go_on(ctx: Context[Any], supervisor: Supervisor, name: str) -> bool:
    """Let a moment pass; False once nothing more can come."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_INTERVAL):
            await ctx.stopping.wait()
            return False
    try:
        supervisor.info(name)
    except NotFound:
        return False
    return True
