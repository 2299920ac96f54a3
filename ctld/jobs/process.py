"""One process of a job in the real world: it carries out what the automaton decides.

Every happening (a wish, an exit, a timer) goes through `feed()`, which asks the automaton
and acts; nothing here decides about states.  There is at most one child, one attempt to
start one, and one timer.
"""

import asyncio
import hashlib
import logging
import os
import resource
import secrets
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from ctld.errors import CommandFailed
from ctld.jobs.console import Console
from ctld.jobs.freezer import Freezer
from ctld.jobs.jobfile import JobSpec
from ctld.jobs.ledger import TOKEN_VARIABLE, Entry, Ledger
from ctld.jobs.output import log_path, open_log
from ctld.jobs.plan import exec_digest_input
from ctld.jobs.search import command_digest
from ctld.jobs.snapshot import JobEvent, ProcessInfo
from ctld.jobs.state import Action, Input, Process, State, Transition, advance, expiry_input, judge_exit
from ctld.processes import (
    DEVNULL,
    Child,
    ExitStatus,
    ProcessIdentity,
    Spawn,
    find_account,
    inherited_environment,
    open_terminal,
    spawn,
)

# A wish ends a pause; what happens by itself does not.
_WISHES: Final = frozenset({Input.START, Input.STOP, Input.KILL, Input.REPAIR})

__all__ = ["JobProcess", "World", "exec_digest"]

logger = logging.getLogger("ctld.jobs")


@dataclass(frozen=True, slots=True)
class World:
    """What all processes of a supervisor share.

    Attributes:
        directory: What the directories of jobs are relative to.
        ledger: Where running processes are noted.
        turnstile: How many starts there are at once; the loop turns in between.
        env: The environment that jobs add to.
        report: Who hears of what happens, after it has.
        daemon: Which process we are.
        daemon_command: What we run, as a digest.
        freezer: What freezes their cgroups.
        open_files: How many files a process may have open: as many as we could, before we raised our own limit.
        changed: Who hears that there is a pid now, which is no event.
    """

    directory: str
    ledger: Ledger
    turnstile: asyncio.Semaphore
    env: Mapping[str, str]
    report: Callable[[JobEvent], None]
    changed: Callable[[], None]
    daemon: ProcessIdentity | None = field(default_factory=lambda: ProcessIdentity.of(os.getpid()))
    daemon_command: str = field(default_factory=lambda: command_digest("self"))
    freezer: Freezer = field(default_factory=Freezer)
    open_files: int = field(default_factory=lambda: resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def exec_digest(spec: JobSpec) -> str:
    """Return a name for what a process runs, to notice that a job has changed while no daemon ran."""
    return hashlib.sha256(exec_digest_input(spec)).hexdigest()


class JobProcess:
    """One process of a job.

    Attributes:
        index: Its number within the job.
        spec: What it runs; the job may exchange it for one that needs no restart.
        console: Its terminal, if the job wants one and it runs.
    """

    def __init__(self, job: str, index: int, spec: JobSpec, world: World) -> None:
        self.index = index
        self.spec = spec
        self.console: Console | None = None
        self._job = job
        self._world = world
        self._loop = asyncio.get_running_loop()
        self._process = Process()
        self._child: Child | None = None
        self._starting: asyncio.Task[Child] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._entry: Entry | None = None
        self._adopted = False
        self._paused_at: float | None = None
        self._last_exit = ""
        self._message = ""

    @property
    def state(self) -> State:
        """What it is doing."""
        return self._process.state

    @property
    def pid(self) -> int | None:
        """Its process id; None: there is no process."""
        return self._child.pid if self._child else None

    def info(self) -> ProcessInfo:
        """Return what there is to know."""
        process, now = self._process, self._loop.time()
        left = None if process.deadline is None else max(process.deadline - now, 0.0)
        return ProcessInfo(
            index=self.index,
            state=process.state,
            pid=self.pid,
            uptime=now - process.started if self._child else None,
            restarts=process.restarts,
            retry_in=None if process.state.is_up else left,
            time_left=left if process.state.is_up else None,
            last_exit=self._last_exit,
            message=self._message,
            adopted=self._adopted,
        )

    def logs(self) -> dict[str, str]:
        """Return the paths of its output files: of `stdout` and `stderr`, where they go to files."""
        names = {"stdout": self.spec.stdout, "stderr": "" if self.spec.tty else self.spec.stderr}
        return {stream: log_path(self._directory(), name, self.index) for stream, name in names.items() if name}

    def feed(self, event: Input, detail: str = "") -> None:
        """Let something happen to it.

        Args:
            event: What happens.
            detail: What to add to the message about it.
        """
        if event in _WISHES:
            # SIGKILL is heard asleep, and nothing shall happen before it.
            self.resume(wake=event is not Input.KILL)
        self._process, made = advance(self._process, event, self.spec.policy, self._loop.time())
        for transition in made:
            for action in transition.actions:
                self._act(action)
        self._set_timer()
        if self._entry is not None and self.state is State.STOPPING:
            self._note(msgspec.structs.replace(self._entry, stopping=True, again=self._process.again))
        for transition in made:
            self._report(transition, detail)
            detail = ""

    def signal(self, number: int) -> bool:
        """Send a signal to its group; False: there is no process.

        Raises:
            CommandFailed: The system does not let us.
        """
        return self._child is not None and self._child.signal(number)

    def pause(self) -> None:
        """Suspend it, and its clock; a restart that is due waits too."""
        if self._paused_at is None:
            self.signal(signal.SIGSTOP)
            self._paused_at = self._loop.time()
            self._set_timer()

    def resume(self, *, wake: bool = True) -> None:
        """Let it go on, or without `wake` only its clock."""
        if self._paused_at is not None:
            away, self._paused_at = self._loop.time() - self._paused_at, None
            if (deadline := self._process.deadline) is not None:
                self._process = replace(self._process, deadline=deadline + away)
            if wake:
                self.signal(signal.SIGCONT)
            self._set_timer()

    def adopt(self, child: Child, entry: Entry, age: float) -> None:
        """Take over a process that an earlier daemon had started `age` seconds ago."""
        now = self._loop.time()
        young = age < self.spec.policy.start_time
        self._process = Process(
            state=State.STARTING if young else State.ALIVE,
            budget=entry.budget,
            restarts=entry.restarts,
            started=now - age,
            deadline=now - age + self.spec.policy.start_time if young else None,
        )
        self._adopted = True
        self._message = "Taken over from an earlier daemon."
        self._watch(child, entry)
        self._set_timer()
        logger.info("%s/%d: taken over from an earlier daemon, pid %d", self._job, self.index, child.pid)

    async def release(self) -> None:
        """Let it live without us: an orderly daemon's way to leave it to the next."""
        if self._starting:
            await asyncio.wait([self._starting])
            await asyncio.sleep(0)  # for the callback that takes its result
        self._cancel_timer()
        if self._child:
            self._child.release()
            self._child = None

    def _act(self, action: Action) -> None:
        match action:
            case Action.SPAWN:
                self._adopted = False
                self._starting = self._loop.create_task(self._start())
                self._starting.add_done_callback(self._on_started)
            case Action.SIGNAL:
                self._send(self.spec.stop_signal)
                self._send(signal.SIGCONT)  # one that is stopped does not hear
            case Action.SLAY:
                self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self._starting:
            self._starting.cancel()
        try:
            self.signal(number)
        except CommandFailed as error:
            self._message = error.message
            logger.warning("%s/%d: %s", self._job, self.index, error)

    async def _start(self) -> Child:
        """Start the child; whatever keeps it from starting is a CommandFailed."""
        spec = self.spec
        entry = Entry(
            job=self._job,
            index=self.index,
            token=secrets.token_hex(16),
            digest=exec_digest(spec),
            stop_signal=spec.stop_signal,
            stop_time=spec.policy.stop_time,
            budget=self._process.budget,
            restarts=self._process.restarts,
            daemon=self._world.daemon,
            daemon_command=self._world.daemon_command,
        )
        async with self._world.turnstile:
            await asyncio.sleep(0)
            with ExitStack() as files:
                try:
                    self._world.ledger.write(entry)
                    child = await self._spawn(spec, entry, files)
                except OSError as error:
                    name = f"{error.filename!r}" if error.filename else "a file"
                    raise CommandFailed(f"cannot open {name}: {error.strerror}") from error
        self._watch(child, entry)
        return child

    async def _spawn(self, spec: JobSpec, entry: Entry, files: ExitStack) -> Child:
        outputs = {}
        for stream, path in self.logs().items():
            outputs[stream] = open_log(path, spec.umask)
            files.callback(os.close, outputs[stream])
        with ExitStack() as undo:
            terminal = undo.enter_context(open_terminal()) if spec.tty else None
            child = await spawn(
                Spawn(
                    argv=("/bin/sh", "-c", self._script(spec)),
                    env=self._environment(spec, entry),
                    cwd=self._directory(),
                    user=spec.user or None,
                    group=spec.group or None,
                    umask=spec.umask,
                    limits=spec.limits,
                    stdout=DEVNULL if terminal else outputs.get("stdout", DEVNULL),
                    stderr=DEVNULL if terminal else outputs.get("stderr", DEVNULL),
                    terminal=terminal,
                    kill_group=True,
                )
            )
            undo.pop_all()
        if terminal:
            self.console = Console(terminal, os.dup(outputs["stdout"]) if outputs else None)
        return child

    def _script(self, spec: JobSpec) -> str:
        """Return what the shell runs; it also takes our raised limit back, as another way costs milliseconds."""
        own, raised = self._world.open_files, resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if own == raised or resource.RLIMIT_NOFILE in spec.limits:
            return f"exec {spec.command}"
        return f"ulimit -S -n {own}; exec {spec.command}"

    def _directory(self) -> str:
        return os.path.normpath(os.path.join(self._world.directory, self.spec.directory))

    def _environment(self, spec: JobSpec, entry: Entry) -> dict[str, str]:
        inherited = inherited_environment(self._world.env)
        account = find_account(spec.user, spec.group or None).environment() if spec.user else {}
        own = {"CTLD_JOB": self._job, "CTLD_PROCESS": str(self.index), TOKEN_VARIABLE: entry.token}
        return {**inherited, **account, **spec.env, **own}

    def _on_started(self, task: asyncio.Task[Child]) -> None:
        self._starting = None
        if task.cancelled():  # it was to stop before it had started, and spawn() leaves nothing behind
            self._gone(Input.DIED_BADLY)
        elif (error := task.exception()) is not None:
            if not isinstance(error, CommandFailed):
                logger.error("%s/%d: cannot be started", self._job, self.index, exc_info=error)
            self._last_exit = ""
            self._gone(Input.FAILED, str(error))
        else:
            if self._paused_at is not None:
                self._send(signal.SIGSTOP)
            self._world.changed()

    def _watch(self, child: Child, entry: Entry) -> None:
        self._child = child
        self._note(msgspec.structs.replace(entry, identity=child.identity))
        child.on_exit(self._on_exit)

    def _on_exit(self, status: ExitStatus) -> None:
        self._child = None
        self._last_exit = str(status)
        judged = judge_exit(self.spec.policy, status.code, status.signal) if status.known else Input.DIED_BADLY
        self._gone(judged, self._last_exit)

    def _gone(self, event: Input, detail: str = "") -> None:
        if self.console:
            self.console.close()
            self.console = None
        self._entry = None
        self._world.ledger.forget(self._job, self.index)
        self.feed(event, detail)

    def _note(self, entry: Entry) -> None:
        """Have the next daemon know; a start is noted before it happens, so what fails here loses no process."""
        self._entry = entry
        try:
            self._world.ledger.write(entry)
        except OSError as error:
            logger.warning("%s/%d: it cannot be noted that it runs: %s", self._job, self.index, error)

    def _set_timer(self) -> None:
        self._cancel_timer()
        if self._process.deadline is not None and self._paused_at is None:
            self._timer = self._loop.call_at(self._process.deadline, self._on_timer)

    def _cancel_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        # A loop may wake a little early, within the resolution of its clock.
        event = expiry_input(self._process, max(self._loop.time(), self._process.deadline or 0.0))
        if event is not None:
            self.feed(event)

    def _report(self, transition: Transition, detail: str) -> None:
        if not transition.note:
            return
        self._message = f"{transition.note} ({detail})" if detail else transition.note
        logger.info("%s/%d: %s", self._job, self.index, self._message)
        self._world.report(
            JobEvent(job=self._job, index=self.index, state=transition.target, pid=self.pid, message=self._message)
        )
