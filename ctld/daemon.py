"""The reference daemon: the framework's own proof, from settings to a running server."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta

from ctld.commands.context import Context
from ctld.commands.gather import gather_commands
from ctld.commands.options import Option
from ctld.commands.registry import CommandRegistry
from ctld.commands.schedule import Schedule, schedule_commands
from ctld.dialects.fss_control.commands import control_commands, freezer_commands
from ctld.dialects.guest_agent.commands import agent_commands
from ctld.dialects.table import DIALECTS
from ctld.directories import make_directory
from ctld.endpoint import Listen
from ctld.errors import ConfigError, ShuttingDown
from ctld.gatherer.pool import Pool
from ctld.gatherer.report_store import ReportStore
from ctld.job_keeper import JobKeeper
from ctld.server import Server
from ctld.settings import Settings, places

__all__ = ["daemon_commands", "make_jobs", "make_pool", "make_runtime_dir", "make_server", "serve"]

# What is to be run later, below the state directory.
_SCHEDULE = "schedule.json"

_MAX_SLEEP = 86_400.0  # a day: enough to try anything, and nothing that sleeps for ever


def daemon_commands() -> CommandRegistry[Any]:
    """Make the registry of what the reference daemon can do beside the built-ins."""
    commands = CommandRegistry[Any]()

    @commands.command("sleep", role="operate", on_disconnect="cancel", record=False)
    async def sleep(
        ctx: Context,
        seconds: Annotated[float, Meta(ge=0, le=_MAX_SLEEP), Option("how long")],
        steps: Annotated[int, Meta(ge=1, le=100_000), Option("how many times to report progress")] = 10,
    ) -> float:
        """Let time pass, with progress: to try out cancelling, deadlines and a client's patience."""
        for step in range(1, steps + 1):
            try:
                async with asyncio.timeout(seconds / steps):
                    await ctx.stopping.wait()
            except TimeoutError:
                elapsed = seconds * step / steps
                await ctx.progress(f"{elapsed:.1f} s have passed", current=elapsed, total=seconds, unit="s")
            else:
                raise ShuttingDown("woken up: the daemon is shutting down")
        return seconds

    return commands


async def serve(settings: Settings) -> None:
    """Run the daemon until it is told to stop.

    Raises:
        CtldError: It cannot start; the message says why.
    """
    jobs = make_jobs(settings, os.environ)
    pool = make_pool(settings)
    schedule = Schedule(os.path.join(places(settings.daemon, os.environ, os.geteuid()).state_dir, _SCHEDULE))
    server = make_server(settings, os.environ, jobs, pool, schedule)
    # Outside of the server: commands that use workers end before the workers do.
    async with pool or contextlib.nullcontext(), server:
        # Now that its sockets are open: where such a daemon runs already, this one has ended before.
        server.create_task(schedule.keep(lambda entry: server.launch(schedule.run, entry)), name="schedule")
        if jobs is None:
            await server.serve_forever()
        else:
            await jobs.serve(server)


def make_jobs(settings: Settings, environ: Mapping[str, str]) -> JobKeeper | None:
    """Return the keeper of the jobs; None: there are none.

    Args:
        settings: What the daemon was told.
        environ: Says where things are by default.

    Raises:
        ConfigError: Nothing says where.
    """
    if not settings.jobs.directory:
        return None
    return JobKeeper(settings.jobs, places(settings.daemon, environ, os.geteuid()).state_dir)


def make_pool(settings: Settings) -> Pool | None:
    """Return the pool of gatherers, for `async with`; None: there are no profiles."""
    return Pool(settings.gatherer.profiles) if settings.gatherer.profiles else None


def make_server(
    settings: Settings,
    environ: Mapping[str, str],
    jobs: JobKeeper | None = None,
    pool: Pool | None = None,
    schedule: Schedule | None = None,
) -> Server[Any]:
    """Put the server together, and make the directories that its sockets need.

    Args:
        settings: What the daemon was told.
        environ: Says where things are by default, and whether sockets are inherited.
        jobs: Who keeps the jobs, if there are any.
        pool: The gatherers, if there are any.
        schedule: What is to be run later, for whoever has it run; None: that of the state directory.

    Raises:
        ConfigError: The settings cannot be used here.
        ListenFailed: A socket's directory cannot be made, or used.
    """
    where = places(settings.daemon, environ, os.geteuid())
    listen = settings.listen
    if not listen and environ.get("LISTEN_FDS") and environ.get("LISTEN_PID") == str(os.getpid()):
        listen = (Listen(address="systemd:"),)
    elif not listen:
        make_runtime_dir(where.runtime_dir)
        listen = (Listen(address=os.path.join(os.path.abspath(where.runtime_dir), "ctld.sock")),)
    for one in listen:
        DIALECTS[one.dialect].prepare(one)
    commands = daemon_commands()
    if jobs is not None:
        commands.include(jobs.commands())
        commands.include(freezer_commands())
    if pool is not None:
        reports = settings.gatherer.reports or os.path.join(where.state_dir, "reports")
        commands.include(gather_commands(pool, ReportStore(reports, max_bytes=settings.gatherer.max_report)))
    commands.include(agent_commands(settings))
    commands.include(control_commands(listen))
    commands.include(schedule_commands(schedule or Schedule(os.path.join(where.state_dir, _SCHEDULE))))
    return Server(
        commands=commands,
        listen=listen,
        dialects={name: dialect.handler for name, dialect in DIALECTS.items()},
        roles=settings.roles.mapping(),
        state_dir=where.state_dir,
        limits=settings.limits,
        signals={} if jobs is None else {signal.SIGHUP: "job_reload"},
        history=settings.history.bounds(),
        record_all=settings.history.record_all,
        publish_all=settings.events.publish_all,
    )


def make_runtime_dir(path: str) -> None:
    """Make the directory where sockets live, so that callers can reach them, if it is missing.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        if not os.path.isdir(path):
            make_directory(path, 0o755)
            # Whatever the umask says: who may connect is the socket's own affair.
            os.chmod(path, 0o755)  # nosec B103 # noqa: S103 - callers have to reach the socket
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        reason = getattr(exc, "strerror", None) or str(exc)
        raise ConfigError(f"cannot make the runtime directory {path!r}: {reason}") from None
