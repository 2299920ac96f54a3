"""What takes its time about a job, in words."""

from ctld.commands.job_progress import waits_of
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
