"""What a job is doing, as frozen values, and whether a wish has come true: pure."""

from enum import Enum
from typing import Literal, TypeAlias

import msgspec

from ctld.jobs.state import State

__all__ = ["Goal", "JobEvent", "JobInfo", "ProcessInfo", "Verdict", "assess"]

Goal: TypeAlias = Literal["running", "stopped"]


class ProcessInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a job.

    Attributes:
        index: Its number, from 0.
        state: What it is doing.
        pid: Its process id; None: there is no process.
        uptime: Seconds since it was started; None: it does not run.
        restarts: How often it has been restarted by itself since it was started on purpose.
        retry_in: Seconds until it is restarted; None: it is not.
        time_left: Seconds until it counts as started, or is killed; None: it is neither starting nor stopping.
        last_exit: How it ended the last time; empty: it has not.
        message: What happened last.
        adopted: Whether an earlier daemon had started it.
    """

    index: int
    state: State
    pid: int | None = None
    uptime: float | None = None
    restarts: int = 0
    retry_in: float | None = None
    time_left: float | None = None
    last_exit: str = ""
    message: str = ""
    adopted: bool = False

    @property
    def has_given_up(self) -> bool:
        """Whether it ended badly and is not restarted."""
        return self.state is State.BADSTOP and self.retry_in is None

    @property
    def is_settled(self) -> bool:
        """Whether it runs, or has run to its good end."""
        return self.state is State.ALIVE or (self.state is State.GOODSTOP and self.retry_in is None)


class JobInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One job.

    Attributes:
        name: Its name.
        desired: Whether it shall run.
        processes: What its processes do.
        paused: Whether they are suspended.
        waits_for: What it depends on and waits for: job to the reason, empty while that is only a matter of time.
        leaving: `removed` or `replaced`, once its processes have stopped; else empty.
    """

    name: str
    desired: bool
    processes: tuple[ProcessInfo, ...]
    paused: bool = False
    waits_for: dict[str, str] = {}
    leaving: str = ""

    @property
    def is_up(self) -> bool:
        """Whether there is any process."""
        return any(process.state.is_up for process in self.processes)

    @property
    def alive(self) -> int:
        """How many processes are alive."""
        return sum(process.state is State.ALIVE for process in self.processes)

    @property
    def summary(self) -> str:
        """One word for all of it."""
        if self.waits_for:
            return "waiting"
        if not self.desired:
            return "stopping" if self.is_up else "stopped"
        if self.paused:
            return "paused"
        if any(process.has_given_up for process in self.processes):
            return "failed"
        if all(process.is_settled for process in self.processes):
            return "running" if self.alive else "finished"
        if any(process.state is State.STOPPING for process in self.processes):
            return "restarting"
        return "backoff" if any(process.retry_in is not None for process in self.processes) else "starting"


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to a job.

    Attributes:
        job: Its name.
        index: Which process; None: the job as a whole.
        state: The state of the process now.
        pid: Its process id, where there is one.
        message: One line for people.
    """

    job: str
    message: str
    index: int | None = None
    state: State | None = None
    pid: int | None = None


class Verdict(Enum):
    """Whether a wish has come true, where no reason says that it cannot."""

    REACHED = "reached"
    PENDING = "pending"


def assess(goal: Goal, job: JobInfo) -> Verdict | str:
    """Tell whether a job has reached a state, may yet reach it, or why it cannot."""
    if job.leaving == "replaced":
        return Verdict.PENDING
    if job.leaving == "removed" and goal == "running":
        return "it is being removed"
    if goal == "stopped":
        return _assess_stopped(job)
    return _assess_running(job)


def _assess_stopped(job: JobInfo) -> Verdict | str:
    if job.desired and not job.leaving:
        return "somebody has started it again"
    return Verdict.PENDING if job.is_up else Verdict.REACHED


def _assess_running(job: JobInfo) -> Verdict | str:
    if not job.desired:
        return "somebody has stopped it"
    for dependency, reason in job.waits_for.items():
        if reason:
            return f"it waits for job {dependency!r}, which {reason}"
    for process in job.processes:
        if process.has_given_up:
            return f"process {process.index}: {process.message}"  # which says how it ended
    if job.waits_for:
        return Verdict.PENDING
    if not all(process.is_settled for process in job.processes):
        return "it is suspended" if job.paused else Verdict.PENDING
    return Verdict.REACHED
