"""Doing to a daemon and its surroundings what the schedule says, and undoing it."""

import os
import signal
from collections.abc import Callable
from typing import Final

from benchmarks.soak.clock import Clock, step_of
from benchmarks.soak.crowd import Crowd
from benchmarks.soak.daemon import Daemon
from benchmarks.soak.disk import Disk
from benchmarks.soak.link import Gone, dial
from benchmarks.soak.processes import descriptors, family
from benchmarks.soak.schedule import Fault

__all__ = ["Faults"]

# With so many more descriptors the daemon has to do, and so many connections want one.
_SPARE: Final = 12
_FLOOD: Final = 80


class Faults:
    """What can be done.

    Args:
        daemon: The daemon.
        crowd: Its clients.
        disk: Its disk.
        clock: Its clock.
        now: The clock of the clients' notes.

    Attributes:
        windows: When there were no descriptors.
    """

    def __init__(self, daemon: Daemon, crowd: Crowd, disk: Disk, clock: Clock, now: Callable[[], float]) -> None:
        self.windows: list[tuple[float, float]] = []
        self._daemon = daemon
        self._crowd = crowd
        self._disk = disk
        self._clock = clock
        self._now = now

    def begin(self, fault: Fault) -> Callable[[], None]:
        """Do it, and return what undoes it."""
        match fault.kind:
            case "kill a client":
                self._crowd.signal(self._client(fault.choice), signal.SIGKILL)
            case "kill all clients":
                self._crowd.signal(self._crowd.pids, signal.SIGKILL)
            case "stop a client":
                victim = self._client(fault.choice)
                self._crowd.signal(victim, signal.SIGSTOP)
                return lambda: self._crowd.signal(victim, signal.SIGCONT)
            case "stop the daemon":
                self._daemon.signal(signal.SIGSTOP)
                return lambda: self._daemon.signal(signal.SIGCONT)
            case "run out of descriptors":
                return self._run_out()
            case "fill the disk":
                self._disk.fill(self._daemon.pid)
                return lambda: self._disk.empty(self._daemon.pid)
            case "set the clock":
                self._clock.set(step_of(fault.choice))
            case "reload":
                self._daemon.signal(signal.SIGHUP)
            case "kill a worker" | "kill a job" | "kill a session":
                kind = {"kill a session": "program"}.get(fault.kind, fault.kind.rpartition(" ")[2])
                self._kill_one(kind, fault.choice)
            case _:
                raise ValueError(f"there is no fault {fault.kind!r}")
        return lambda: None

    def _client(self, choice: float) -> list[int]:
        pids = self._crowd.pids
        return [pids[int(choice * len(pids))]]

    def _kill_one(self, kind: str, choice: float) -> None:
        pids = [process.pid for process in family(self._daemon.pid, self._crowd.pids) if process.kind == kind]
        if pids:
            try:
                os.kill(pids[int(choice * len(pids))], signal.SIGKILL)
            except ProcessLookupError:
                return  # it has ended by itself

    def _run_out(self) -> Callable[[], None]:
        start = self._now()
        self._daemon.allow_descriptors(descriptors(self._daemon.pid).total() + _SPARE)
        flood = []
        for number in range(_FLOOD):
            try:
                flood.append(dial(self._daemon.where, ("unix", "tcp", "taskmaster")[number % 3], 1.0))
            except Gone:
                break  # there is not even room to wait

        def undo() -> None:
            for sock in flood:
                sock.close()
            self._daemon.allow_descriptors(None)
            self.windows.append((start, self._now()))

        return undo
