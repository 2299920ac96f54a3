"""What the commands about jobs answer, and how it is made of what the supervisor knows."""

import asyncio
from typing import Literal, TypeAlias

import msgspec

from ctld.jobs.plan import Plan
from ctld.jobs.snapshot import JobEvent, JobInfo, ProcessInfo
from ctld.jobs.supervisor import Supervisor
from ctld.jobs.usage import Usage, UsageMeter, read_usage

__all__ = [
    "Desired",
    "JobDone",
    "JobFile",
    "JobRow",
    "JobState",
    "JobStatus",
    "ProcessRow",
    "ReloadResult",
    "Rows",
    "event_details",
    "reload_result",
]

Desired: TypeAlias = Literal["running", "stopped"]


class ProcessRow(msgspec.Struct, kw_only=True):
    """One process of a job.

    Attributes:
        process: Its number, from 0.
        state: What it is doing.
        pid: Its process id, while there is a process.
        uptime: Seconds since it was started.
        restarts: How often it has been restarted by itself since it was last started on purpose.
        cpu: How much of one CPU it and what it has started use, in percent.
        memory: Bytes of memory that they use.
        last_exit: How it ended the last time.
        message: What happened last.
        retry_in: Seconds until it is restarted.
        adopted: Whether an earlier daemon had started it.
    """

    process: int
    state: str
    pid: int | None
    uptime: float | None
    restarts: int
    cpu: float | None
    memory: int | None
    last_exit: str
    message: str
    retry_in: float | None
    adopted: bool


class JobRow(msgspec.Struct, kw_only=True):
    """One job, in the answer of `job_list`.

    Attributes:
        name: Its name.
        state: One word for what its processes do.
        desired: Whether it shall run.
        alive: How many of its processes are alive.
        paused: Whether they are suspended.
        waits_for: The jobs that it waits for.
        processes: Its processes.
    """

    name: str
    state: str
    desired: Desired
    alive: int
    paused: bool
    waits_for: list[str]
    processes: list[ProcessRow]


class JobStatus(JobRow, kw_only=True):
    """One job, in the answer of `job_status`.

    Attributes:
        command: What it runs.
        directory: Where it runs.
        user: Whom it runs as; empty: the daemon's user.
        auto_start: Whether it starts with the daemon.
        depends_on: The jobs that have to be alive before it.
        tty: Whether it has a terminal, for `job_attach`.
        logs: The files that its processes write to.
        problem: What is wrong with its file, if that has been read since and could not be used.
    """

    command: str
    directory: str
    user: str
    auto_start: bool
    depends_on: list[str]
    tty: bool
    logs: list[str]
    problem: str


class JobState(msgspec.Struct, kw_only=True):
    """What a job does.

    Attributes:
        name: The job.
        state: One word for what its processes do now.
    """

    name: str
    state: str


class JobDone(JobState, kw_only=True):
    """What has become of a wish.

    Attributes:
        changed: Whether it was not so already.
    """

    changed: bool


class JobFile(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A job file.

    Attributes:
        name: The job.
        data: The file; U+FFFD stands for what is no UTF-8.
        base64: The bytes, if they are not all UTF-8.
    """

    name: str
    data: str
    base64: str = ""


class ReloadResult(msgspec.Struct, kw_only=True):
    """What reading the job files again does to which job.

    Attributes:
        done: Whether it has been done, or is only planned.
        added: The jobs that are new.
        changed: Those that are different, each with the settings that differ.
        restarted: Those of them whose processes have to be restarted for it.
        removed: Those whose files are gone.
        unchanged: Those that stay as they are.
        invalid: Those whose files cannot be used, each with the reason; they stay as they are.
    """

    done: bool
    added: list[str]
    changed: dict[str, tuple[str, ...]]
    restarted: list[str]
    removed: list[str]
    unchanged: list[str]
    invalid: dict[str, str]


class Rows:
    """Makes rows of what a supervisor knows.

    Args:
        supervisor: The supervisor.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._meter = UsageMeter()

    async def all(self, *, usage: bool = True) -> list[JobRow]:
        """Return a row for each job.

        Args:
            usage: Whether to measure what they use.
        """
        used = await asyncio.to_thread(read_usage) if usage else {}
        jobs = self._supervisor.jobs()
        self._meter.forget_others({process.pid for job in jobs for process in job.processes if process.pid})
        return [self._row(job, used) for job in jobs]

    async def status(self, name: str, *, usage: bool = True) -> JobStatus:
        """Return all that is known of one job.

        Args:
            name: The job.
            usage: Whether to measure what it uses.

        Raises:
            NotFound: There is none of that name.
        """
        supervisor = self._supervisor
        supervisor.info(name)
        used = await asyncio.to_thread(read_usage) if usage else {}
        info, spec = supervisor.info(name), supervisor.spec(name)
        processes = [supervisor.process(name, process.index) for process in info.processes]
        row = self._row(info, used)
        return JobStatus(
            **{field: getattr(row, field) for field in JobRow.__struct_fields__},
            command=spec.command,
            directory=spec.directory,
            user=spec.user,
            auto_start=spec.auto_start,
            depends_on=list(spec.depends_on),
            tty=spec.tty,
            logs=[path for process in processes for path in process.logs().values()],
            problem=supervisor.problems.get(name, ""),
        )

    def _row(self, job: JobInfo, usage: dict[int, Usage]) -> JobRow:
        return JobRow(
            name=job.name,
            state=job.summary,
            desired="running" if job.desired else "stopped",
            alive=job.alive,
            paused=job.paused,
            waits_for=list(job.waits_for),
            processes=[self._process(process, usage) for process in job.processes],
        )

    def _process(self, process: ProcessInfo, usage: dict[int, Usage]) -> ProcessRow:
        cpu = memory = None
        used = None if process.pid is None else usage.get(process.pid)
        if process.pid is not None and process.uptime is not None and used is not None:
            cpu, memory = self._meter.percent(process.pid, used.cpu_time, process.uptime), used.memory
        return ProcessRow(
            process=process.index,
            state=process.state.value,
            pid=process.pid,
            uptime=_rounded(process.uptime),
            restarts=process.restarts,
            cpu=cpu,
            memory=memory,
            last_exit=process.last_exit,
            message=process.message,
            retry_in=_rounded(process.retry_in),
            adopted=process.adopted,
        )


def event_details(event: JobEvent) -> dict[str, object]:
    """Return what the event `job` tells."""
    process: dict[str, object] = {}
    if event.index is not None and event.state is not None:
        process = {"process": event.index, "state": event.state.value, "pid": event.pid}
    return {"name": event.job, **process, "message": event.message}


def reload_result(plan: Plan, *, done: bool) -> ReloadResult:
    """Return what a plan does.

    Args:
        plan: The plan.
        done: Whether it has been done.
    """
    return ReloadResult(
        done=done,
        added=plan.names("added"),
        changed={change.name: change.keys for change in plan.changes if change.kind == "changed"},
        restarted=[change.name for change in plan.changes if change.kind == "changed" and change.restart],
        removed=plan.names("removed"),
        unchanged=plan.names("unchanged"),
        invalid={change.name: change.reason for change in plan.changes if change.kind == "invalid"},
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
