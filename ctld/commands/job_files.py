"""Commands about job files: reload, push, pull, delete.

A job file is code that the daemon runs, so whoever changes one has to be admin.  Reading
the files again only needs `operate`: they are there already.

It may hold secrets, in `env` above all: events and the history, which more people see, do not repeat it.
The log has its digest, so that it is known whose push made a file what it is.
"""

import base64
import hashlib
import logging
from typing import Annotated, Any, Final, TypeAlias

import msgspec

from ctld.commands.context import Context
from ctld.commands.job_options import JobLock, JobName
from ctld.commands.job_progress import follow_jobs
from ctld.commands.job_rows import JobFile, ReloadResult, reload_result
from ctld.commands.options import Option
from ctld.commands.registry import CommandRegistry
from ctld.jobs.jobfile import InvalidJobFile
from ctld.jobs.plan import Plan
from ctld.jobs.store import check_name
from ctld.jobs.supervisor import Supervisor
from ctld.peer import Peer

__all__ = ["file_commands"]

logger = logging.getLogger("ctld.jobs")

_HIDDEN: Final = {"format": "password", "writeOnly": True}

_Content: TypeAlias = Annotated[str, msgspec.Meta(extra_json_schema=_HIDDEN), Option("the job file")]


def file_commands(supervisor: Supervisor) -> CommandRegistry[Any]:
    """Make the registry of these commands."""
    commands = CommandRegistry[Any]()

    @commands.command("job_reload", role="operate")
    async def job_reload(
        ctx: Context,
        name: Annotated[str | None, Option("only this job", complete="job_list.name")] = None,
        dry_run: Annotated[bool, Option("only tell what would be done")] = False,
        keep_missing: Annotated[bool, Option("leave jobs alone whose files are gone")] = False,
    ) -> ReloadResult:
        """Read the job files again, and make the jobs what the files say."""
        plan = supervisor.plan(name, remove_missing=not keep_missing)
        if dry_run:
            return reload_result(plan, done=False)
        if ctx.peer is Peer.DAEMON and ctx.operation.manipulation_lock is None:
            ctx.operation.manipulation_lock = "wait"  # a signal is sent once: it must not get lost
        names = _touched(plan)
        async with ctx.manipulate(*map(JobLock, names)):
            work = supervisor.reload(name, remove_missing=not keep_missing)
            return reload_result(await follow_jobs(ctx, supervisor, names, work), done=True)

    @commands.command("job_push", role="admin")
    async def job_push(ctx: Context, name: Annotated[str, Option("the job")], data: _Content) -> ReloadResult:
        """Write a job's file, and make the job what it says."""
        check_name(name)
        try:
            content = data.encode()
        except UnicodeEncodeError:
            raise InvalidJobFile("not UTF-8") from None
        async with ctx.manipulate(JobLock(name)):
            plan = await follow_jobs(ctx, supervisor, {name}, supervisor.push(name, content))
            digest = hashlib.sha256(content).hexdigest()
            logger.info("= %s: %s has pushed a file of SHA-256 %s", name, ctx.peer, digest)
            return reload_result(plan, done=True)

    @commands.command("job_pull", role="admin")
    async def job_pull(ctx: Context, name: JobName) -> JobFile:
        """Return a job's file as it is on disk."""
        data = supervisor.pull(name)
        try:
            return JobFile(name=name, data=data.decode())
        except UnicodeDecodeError:
            return JobFile(name=name, data=data.decode(errors="replace"), base64=base64.b64encode(data).decode("ascii"))

    @commands.command("job_delete", role="admin")
    async def job_delete(ctx: Context, name: JobName) -> None:
        """Stop a job, wait until its processes are gone, and remove its file."""
        supervisor.info(name)
        async with ctx.manipulate(JobLock(name)):
            await follow_jobs(ctx, supervisor, {name}, supervisor.delete(name))

    return commands


def _touched(plan: Plan) -> set[str]:
    return {change.name for change in plan.changes if change.kind in ("added", "changed", "removed")}
