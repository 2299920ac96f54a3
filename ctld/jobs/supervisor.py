"""The supervisor: the jobs of one directory, kept as they are wished to be.

This is what commands are written on.  Wishes return at once; `wait_for()` waits until one has
come true, or tells why it cannot.  The loop wakes up for an exit, a timer or a wish, and for
nothing else (`rotation.py` looks at files, if a job asks for it).
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from ctld.errors import CommandFailed, NotFound
from ctld.jobs.board import Board
from ctld.jobs.freezer import Freezer
from ctld.jobs.job import Job
from ctld.jobs.jobfile import InvalidJobFile, JobSpec, parse_job_file
from ctld.jobs.ledger import Ledger
from ctld.jobs.plan import Change, Plan, make_plan, stop_levels
from ctld.jobs.process import JobProcess, World
from ctld.jobs.recovery import recover
from ctld.jobs.rotation import LogRotation
from ctld.jobs.snapshot import Goal, JobEvent, JobInfo, Verdict, assess
from ctld.jobs.store import JobStore, check_name

__all__ = ["Supervisor"]

logger = logging.getLogger("ctld.jobs")

# Starts at once: enough for two cores; the loop serves its clients in between.
_STARTS_AT_ONCE: Final = 4


class Supervisor:
    """Jobs, from their files to their processes.

    Attributes:
        store: The job files.
        problems: What is wrong with files that were not loaded, by path.

    Args:
        store: The job files.
        state_directory: Where the daemon notes what runs; for nobody else to write.
        directory: What the directories of jobs are relative to.
        env: The environment that jobs add to; None: the daemon's.
        freezer: What freezes cgroups; None: the kernel's.
    """

    def __init__(
        self,
        store: JobStore,
        state_directory: str,
        *,
        directory: str = ".",
        env: Mapping[str, str] | None = None,
        freezer: Freezer | None = None,
    ) -> None:
        self.store = store
        self.problems: dict[str, str] = {}
        self._rotation = LogRotation(self._wanted_rotations)
        self._board = Board(on_settled=self._rotation.wake)
        self._files = asyncio.Lock()
        self._world = World(
            directory=os.path.abspath(directory),
            ledger=Ledger(state_directory),
            turnstile=asyncio.Semaphore(_STARTS_AT_ONCE),
            env=dict(os.environ if env is None else env),
            report=self._board.tell,
            changed=self._board.changed,
            freezer=freezer or Freezer(),
        )

    async def start(self) -> None:
        """Load the jobs, deal with what an earlier daemon left running, and start what starts by itself.

        Raises:
            NotFound: There is no such directory of job files.
            CommandFailed: The directory of the state cannot be used.
        """
        try:
            self._world.ledger.open()
        except OSError as error:
            raise CommandFailed(f"cannot use the state directory {error.filename!r}: {error.strerror}") from error
        plan, found = self._read_files(remove_missing=False)
        for name in plan.names("added"):
            self._board.jobs[name] = Job(name, found[name], self._world)
        await recover(self._world.ledger, self._board.jobs.get, self._world.freezer)
        for job in self._board.jobs.values():
            if job.desired:  # some of its processes have been taken over
                job.begin()
            elif job.spec.auto_start and not job.is_up:
                self._board.start(job)
        self._board.changed()

    async def close(self, *, leave_running: bool = False) -> None:
        """Stop all jobs, those that others depend on last, and wait until nothing is left of them.

        Args:
            leave_running: Leave the processes to the next daemon instead.
        """
        self._board.closed = True
        jobs = self._board.jobs
        if leave_running:
            await asyncio.gather(*(process.release() for job in jobs.values() for process in job.processes))
        else:
            for level in stop_levels({name: job.spec for name, job in jobs.items()}):
                stopping = [jobs[name] for name in level if name in jobs]
                for job in stopping:
                    job.stop()
                while any(job.is_up for job in stopping):
                    await self._board.next_change()
        await self._rotation.close()
        self._board.stop_settling()
        await asyncio.sleep(0)  # for the observers to hear the last of it

    def subscribe(self, observer: Callable[[JobEvent], None]) -> Callable[[], None]:
        """Have a function called, by the loop, for each event; returns the function that ends it."""
        return self._board.subscribe(observer)

    def jobs(self) -> list[JobInfo]:
        """Return all jobs, sorted by name."""
        return [job.info() for _, job in sorted(self._board.jobs.items())]

    def info(self, name: str) -> JobInfo:
        """Return one job.

        Raises:
            NotFound: There is none of that name; every other method that takes a name does so too.
        """
        return self._board.find(name).info()

    def spec(self, name: str) -> JobSpec:
        """Return what a job is, or is becoming."""
        return self._board.find(name).target

    def process(self, name: str, index: int = 0) -> JobProcess:
        """Return one process of a job, for its output files and its console."""
        processes = self._board.find(name).processes
        if not 0 <= index < len(processes):
            raise NotFound(f"job {name!r} has no process {index}", kind="process", name=f"{name}/{index}")
        return processes[index]

    def start_job(self, name: str) -> bool:
        """Wish that a job runs, and what it depends on; False if that was wished already.

        Raises:
            CommandFailed: It is being removed.
            ShuttingDown: Nothing starts any more.
        """
        with self._changing():
            return self._board.start(self._board.find(name))

    def stop_job(self, name: str) -> bool:
        """Wish that a job does not run; False if that was wished already."""
        with self._changing():
            return self._board.find(name).stop()

    def kill_job(self, name: str) -> bool:
        """Wish that a job does not run, and use SIGKILL; False if there was nothing to kill."""
        with self._changing():
            return self._board.find(name).kill()

    def restart_job(self, name: str) -> None:
        """Wish that a job's processes stop and start anew."""
        with self._changing():
            job = self._board.find(name)
            job.stop()
            self._board.start(job)

    def repair_job(self, name: str) -> None:
        """Give a job's processes their restarts back, and start those that are down.

        Raises:
            CommandFailed: It shall not run.
        """
        with self._changing():
            self._board.find(name).repair()

    def pause_job(self, name: str) -> bool:
        """Suspend a job's processes; False if they are.

        Raises:
            CommandFailed: It does not run.
        """
        with self._changing():
            return self._board.find(name).pause()

    def resume_job(self, name: str) -> bool:
        """Let a job's processes go on; False if they were not suspended."""
        with self._changing():
            return self._board.find(name).resume()

    def signal_job(self, name: str, number: int, index: int | None = None) -> int:
        """Send a signal to the processes of a job, or to one; returns to how many.

        Raises:
            NotFound: There is no such job, or no such process.
            CommandFailed: The system does not let us.
        """
        processes = self._board.find(name).processes if index is None else [self.process(name, index)]
        return sum(process.signal(number) for process in processes)

    def plan(self, name: str | None = None, *, remove_missing: bool = True) -> Plan:
        """Tell what `reload()` would do."""
        return self._read_files(name, remove_missing=remove_missing)[0]

    async def reload(self, name: str | None = None, *, remove_missing: bool = True) -> Plan:
        """Read the job files again, or one, and make the jobs what the files say.

        A changed job is stopped, replaced, and started if it starts by itself; where its processes
        need not know of the change, they live on.  An invalid file leaves its job as it is.
        Returns when the changed jobs have been replaced and the removed ones are gone.

        Args:
            name: The job; None: all.
            remove_missing: Whether a job whose file is gone is stopped and forgotten.

        Raises:
            NotFound: There is neither such a job nor a file for it.
        """
        async with self._files:
            plan = self._reload(name, remove_missing=remove_missing)
        await self._left(plan)
        return plan

    async def push(self, name: str, data: bytes) -> Plan:
        """Make these bytes the job's file and reload it.

        Raises:
            InvalidJobName: The name is none.
            InvalidJobFile: The bytes are no job file; nothing has been written.
            CommandFailed: The file cannot be written.
        """
        check_name(name)
        spec = parse_job_file(data)
        plan = make_plan(self._specs(), {name: spec}, remove_missing=False)
        if name in plan.names("invalid"):
            raise InvalidJobFile(next(change.reason for change in plan.changes if change.name == name))
        async with self._files:
            await asyncio.to_thread(self.store.write, name, data)
            plan = self._reload(name, remove_missing=True)
        await self._left(plan)
        return plan

    def pull(self, name: str) -> bytes:
        """Return the bytes of a job's file as they are on disk.

        Raises:
            NotFound: There is no such job, or its file is gone.
        """
        self._board.find(name)
        return self.store.read(name)

    async def delete(self, name: str) -> None:
        """Stop a job, wait until its processes are gone, remove its file and forget it."""
        self._board.find(name)
        async with self._files:
            # The file goes first: whenever the daemon dies, the next one does not bring the job back.
            await asyncio.to_thread(self.store.remove, name)
            job = self._board.find(name)
            with self._changing():
                job.remove()
        while self._board.jobs.get(name) is job and job.removing:
            await self._board.next_change()

    async def wait_for(self, name: str, goal: Goal) -> JobInfo:
        """Wait until a job runs, or has stopped.

        Raises:
            CommandFailed: It cannot come to that; the message tells why.
            NotFound: There is no such job, or it is removed meanwhile.
        """
        while True:
            await self._board.settled()
            job = self._board.find(name)
            info = job.info()
            match assess(goal, info):
                case Verdict.REACHED:
                    return info
                case Verdict.PENDING:
                    await self._board.next_change()
                case reason:
                    raise CommandFailed(f"job {name!r} is not {goal}: {reason}", job=name, reason=reason)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._board.changed()

    def _specs(self) -> dict[str, JobSpec]:
        return {name: job.target for name, job in self._board.jobs.items() if not job.removing}

    def _read_files(self, name: str | None = None, *, remove_missing: bool) -> tuple[Plan, dict[str, JobSpec]]:
        files: dict[str, bytes]
        if name is None:
            scan = self.store.scan()
            files, self.problems = scan.files, dict(scan.problems)
        else:
            try:
                files = {name: self.store.read(name)}
            except NotFound:
                self._board.find(name)
                files = {}
        found: dict[str, JobSpec | InvalidJobFile] = {}
        for job, data in files.items():
            try:
                found[job] = parse_job_file(data)
            except InvalidJobFile as error:
                found[job] = error
        loaded = self._specs()
        plan = make_plan(loaded, found, remove_missing=remove_missing)
        if name is not None:
            plan = Plan(tuple(change for change in plan.changes if change.name == name))
        for change in plan.changes:
            if change.kind == "invalid":
                self.problems[change.name] = change.reason
                logger.warning("the file of job %s is invalid: %s", change.name, change.reason)
        return plan, {job: spec for job, spec in found.items() if isinstance(spec, JobSpec)}

    def _apply(self, change: Change, found: Mapping[str, JobSpec]) -> None:
        name = change.name
        match change.kind:
            case "added":
                self._add(name, found[name])
            case "changed":
                self._board.jobs[name].replace(found[name], restart=change.restart)
            case "removed":
                self._board.jobs[name].remove()
            case "unchanged" | "invalid":
                return
        self._board.tell(JobEvent(job=name, message=f"Job {change.kind}."))

    def _add(self, name: str, spec: JobSpec) -> None:
        job = self._board.jobs.get(name)
        if job is not None:  # it was on its way out, and its processes have to go before the new ones come
            job.bring_back(spec)
            return
        job = self._board.jobs[name] = Job(name, spec, self._world)
        if spec.auto_start:
            self._board.start(job)

    def _reload(self, name: str | None, *, remove_missing: bool) -> Plan:
        plan, found = self._read_files(name, remove_missing=remove_missing)
        with self._changing():
            for change in plan.changes:
                self._apply(change, found)
        return plan

    async def _left(self, plan: Plan) -> None:
        """Wait until those that a plan stops have stopped."""
        names = {*plan.names("changed"), *plan.names("removed")}
        while any((job := self._board.jobs.get(name)) and job.info().leaving for name in names):
            await self._board.next_change()

    def _wanted_rotations(self) -> dict[str, tuple[int, int]]:
        return {
            path: (job.spec.log_max_bytes, job.spec.log_backups)
            for job in self._board.jobs.values()
            if job.spec.log_max_bytes
            for process in job.processes
            if process.pid is not None
            for path in process.logs().values()
        }
