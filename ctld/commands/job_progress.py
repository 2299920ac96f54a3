"""What a command tells while it waits for jobs: what happens to their processes, and how long it may yet take."""

import asyncio
from collections import deque
from collections.abc import Collection, Coroutine
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeVar

from ctld.commands.context import Context
from ctld.errors import NotFound
from ctld.jobs.snapshot import JobEvent, JobInfo
from ctld.jobs.state import Policy, State
from ctld.jobs.supervisor import Supervisor

__all__ = ["Wait", "follow_jobs", "waits_of"]

T = TypeVar("T")

# Seconds between two messages about what takes its time.
_INTERVAL: Final = 1.0

# Events that a client who does not read may miss the oldest of.
_KEPT: Final = 1000


class Wait(NamedTuple):
    """Something that takes its time.

    Attributes:
        what: One line for people.
        elapsed: For how many seconds it has lasted.
        limit: After how many it is over.
    """

    what: str
    elapsed: float
    limit: float

    def __str__(self) -> str:
        return f"{self.what}: {self.elapsed:.0f} s of {self.limit:g} s"


def waits_of(job: JobInfo, policy: Policy) -> list[Wait]:
    """Return what takes its time about a job: starts, stops, and restarts that are due."""
    waits = []
    for process in job.processes:
        name = f"{job.name}/{process.index}"
        if process.retry_in is not None:
            limit = max(policy.start_time, process.retry_in)
            waits.append(Wait(f"waiting to restart {name}", limit - process.retry_in, limit))
        elif process.time_left is not None:
            stopping = process.state is State.STOPPING
            limit = max(policy.stop_time if stopping else policy.start_time, process.time_left)
            waits.append(Wait(f"{'stopping' if stopping else 'starting'} {name}", limit - process.time_left, limit))
    return waits


async def follow_jobs(
    ctx: Context[Any], supervisor: Supervisor, names: Collection[str], work: Coroutine[Any, Any, T]
) -> T:
    """Wait for something, and report meanwhile what the processes of these jobs do.

    Args:
        ctx: The command that waits.
        supervisor: The supervisor.
        names: The jobs.
        work: What is waited for; it is cancelled if the command is.
    """
    events: deque[JobEvent] = deque(maxlen=_KEPT)
    news = asyncio.Event()

    def note(event: JobEvent) -> None:
        if event.job in names:
            events.append(event)
            news.set()

    def ended(task: asyncio.Task[T]) -> None:
        news.set()
        if not task.cancelled():
            task.exception()  # the command may have been cancelled in the same turn, and look no more

    unsubscribe = supervisor.subscribe(note)
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(ended)
    try:
        while not task.done() or events:
            with suppress(TimeoutError):
                async with asyncio.timeout(_INTERVAL):
                    await news.wait()
            quiet = not news.is_set()
            news.clear()
            while events:
                await ctx.progress(_line(events.popleft()))
            if quiet:
                await _report_waits(ctx, supervisor, names)
        return await task
    finally:
        unsubscribe()
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


async def _report_waits(ctx: Context[Any], supervisor: Supervisor, names: Collection[str]) -> None:
    for name in sorted(names):
        try:
            waits = waits_of(supervisor.info(name), supervisor.spec(name).policy)
        except NotFound:
            continue  # it is gone, or not yet there
        for wait in waits:
            await ctx.progress(str(wait), current=round(wait.elapsed, 1), total=wait.limit, unit="s")


def _line(event: JobEvent) -> str:
    name = event.job if event.index is None else f"{event.job}/{event.index}"
    return f"{name}: {event.message}"
