"""A job: what is wished of it, its processes, and the way from one to the other.

Nothing here waits.  A wish is noted and fed to the processes; what can only happen once all
of them are gone (another specification, removal) is kept until `settle()`, which is called
after each change.

One whose cgroup is frozen hears nothing but SIGKILL.  So a wish thaws it, as it ends a pause.
"""

from collections.abc import Mapping
from pathlib import Path

from ctld.errors import CommandFailed
from ctld.jobs.jobfile import JobSpec
from ctld.jobs.process import JobProcess, World
from ctld.jobs.snapshot import JobInfo
from ctld.jobs.state import Input

__all__ = ["Job"]


class Job:
    """One job and its processes.

    Attributes:
        name: Its name.
        spec: What it is.
        desired: Whether it shall run.
        paused: Whether its processes are suspended.
        waits_for: The jobs that it waits for before its processes start, with the reason where that takes a wish.
        processes: Its processes.
        removing: Whether it goes once its processes have.
    """

    def __init__(self, name: str, spec: JobSpec, world: World) -> None:
        self.name = name
        self.spec = spec
        self.desired = False
        self.paused = False
        self.removing = False
        self.waits_for: dict[str, str] = {}
        self._world = world
        self._next: JobSpec | None = None
        self.processes = self._make_processes()

    @property
    def is_up(self) -> bool:
        """Whether there is any process."""
        return any(process.state.is_up for process in self.processes)

    @property
    def target(self) -> JobSpec:
        """What it is going to be: its specification, or the one that replaces it."""
        return self._next or self.spec

    def info(self) -> JobInfo:
        """Return what there is to know."""
        return JobInfo(
            name=self.name,
            desired=self.desired,
            processes=tuple(process.info() for process in self.processes),
            paused=self.paused,
            waits_for=dict(self.waits_for),
            leaving="removed" if self.removing else "replaced" if self._next else "",
        )

    def start(self, waits_for: Mapping[str, str]) -> bool:
        """Wish that it runs; False if that was wished already.

        Args:
            waits_for: What has to be alive before; empty: nothing.

        Raises:
            CommandFailed: It is being removed.
        """
        if self.removing:
            raise CommandFailed(f"job {self.name!r} is being removed")
        if self.desired:
            return False
        self.desired = True
        self.waits_for = dict(waits_for)
        if not self._next:  # else it starts as what it is going to be
            self._start_processes()
        return True

    def go_on(self, waits_for: Mapping[str, str]) -> None:
        """Learn what it still has to wait for, and start if that is nothing."""
        waited, self.waits_for = bool(self.waits_for), dict(waits_for)
        if waited and self.desired and not self._next:
            self._start_processes()

    def stop(self) -> bool:
        """Wish that it does not run; False if that was wished already."""
        changed, self.desired = self.desired, False
        self._feed(Input.STOP)
        return changed

    def kill(self) -> bool:
        """Wish that it does not run, at once; False if it did not."""
        changed = self.desired or self.is_up
        self.desired = False
        self._feed(Input.KILL)
        return changed

    def repair(self) -> None:
        """Give its processes their restarts back, and start those that are down.

        Raises:
            CommandFailed: It shall not run.
        """
        if not self.desired:
            raise CommandFailed(f'"{self.name}" not running.')
        if not self.waits_for and not self._next:
            self._feed(Input.REPAIR)

    def pause(self) -> bool:
        """Suspend its processes; False if they are.

        Raises:
            CommandFailed: It does not run.
        """
        if not self.is_up:
            raise CommandFailed(f"job {self.name!r} is not running")
        changed, self.paused = not self.paused, True
        for process in self.processes:
            process.pause()
        return changed

    def resume(self) -> bool:
        """Let its processes go on; False if they were not suspended."""
        changed, self.paused = self.paused, False
        for process in self.processes:
            process.resume()
        return changed

    def replace(self, spec: JobSpec, *, restart: bool) -> None:
        """Make it another job of the same name: at once, or once its processes have stopped.

        What happens to it after that is said by `auto_start`, unless a start is wished meanwhile.
        """
        if not restart:
            self.spec = spec
            for process in self.processes:
                process.spec = spec
            return
        self._next = spec
        self.desired = False
        self._feed(Input.STOP)

    def remove(self) -> None:
        """Have it stop and go."""
        self.removing = True
        self.stop()

    def bring_back(self, spec: JobSpec) -> None:
        """Have it stay after all, as another job."""
        self.removing = False
        self.replace(spec, restart=True)

    def take_over(self, index: int, *, stopping: bool, again: bool) -> None:
        """Learn that an earlier daemon had started a process, and what it had meant to do with it."""
        if not stopping:
            self.desired = True
            return
        self._world.freezer.thaw(self._frozen())
        self.processes[index].feed(Input.STOP)
        if again:
            self.desired = True
            self.processes[index].feed(Input.START)

    def settle(self) -> bool:
        """Do what had to wait for the end of its processes; True if it has just become another job."""
        if self._next is None or self.is_up:
            return False
        self.spec, self._next = self._next, None
        self.processes = self._make_processes()
        return True

    def begin(self) -> None:
        """Start the processes of what it has just become, if a start has been wished."""
        if self.desired:
            self._start_processes()

    def _make_processes(self) -> list[JobProcess]:
        return [JobProcess(self.name, index, self.spec, self._world) for index in range(self.spec.processes)]

    def _start_processes(self) -> None:
        if not self.waits_for:
            self._feed(Input.START)

    def _feed(self, event: Input) -> None:
        self.paused = False
        if event in (Input.STOP, Input.KILL):
            self.waits_for = {}
        frozen = self._frozen()
        if event is not Input.KILL:
            self._world.freezer.thaw(frozen)
        for process in self.processes:
            process.feed(event)
        if event is Input.KILL:  # what is frozen does nothing any more before it dies; what comes after it shall live
            self._world.freezer.thaw(frozen)

    def _frozen(self) -> list[Path]:
        """Return the cgroups of its processes that are frozen."""
        return self._world.freezer.frozen([process.pid for process in self.processes if process.pid is not None])
