"""What takes its time about a job, in words."""

import asyncio
import gc
from collections.abc import Callable
from typing import Any, cast

import pytest

from ctld.commands.job_progress import follow_jobs, waits_of
from ctld.errors import CommandFailed
from ctld.jobs.snapshot import JobInfo, ProcessInfo
from ctld.jobs.state import Policy, State


def test_starts_stops_and_restarts_that_are_due_are_waits():
    processes = (
        ProcessInfo(index=0, state=State.STARTING, time_left=1.6),
        ProcessInfo(index=1, state=State.STOPPING, time_left=2.0),
        ProcessInfo(index=2, state=State.BADSTOP, retry_in=0.5),
        ProcessInfo(index=3, state=State.ALIVE),
        ProcessInfo(index=4, state=State.STOPPING),  # SIGKILL has been sent
        ProcessInfo(index=5, state=State.STOPPING, time_left=9.0),  # its job was changed meanwhile
    )
    job = JobInfo(name="nginx", desired=True, processes=processes)
    assert [str(wait) for wait in waits_of(job, Policy(start_time=2, stop_time=5))] == [
        "starting nginx/0: 0 s of 2 s",
        "stopping nginx/1: 3 s of 5 s",
        "waiting to restart nginx/2: 2 s of 2 s",
        "stopping nginx/5: 0 s of 9 s",
    ]


class Silent:
    """A supervisor with no news."""

    def subscribe(self, listener: Callable[..., None]) -> Callable[[], None]:
        return lambda: None


@pytest.mark.parametrize("when", ["as it fails", "while it is cancelled"])
async def test_a_wait_that_fails_as_its_command_is_cancelled_leaves_nothing_in_the_log(when):
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(0 if when == "as it fails" else 60)
        except asyncio.CancelledError:
            raise CommandFailed("it cannot come to that") from None
        command.cancel()
        raise CommandFailed("it cannot come to that")

    command = asyncio.create_task(follow_jobs(cast(Any, None), cast(Any, Silent()), {"web"}, work()))
    await begun.wait()
    if when == "while it is cancelled":
        command.cancel()
    with pytest.raises(asyncio.CancelledError):
        await command
    gc.collect()
    await asyncio.sleep(0)
    assert not complaints
