"""One soak: warm-up, rounds of load and faults, rest and checks after each, and the end."""

import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.soak.audit import read
from benchmarks.soak.checks import Check, latency_check, log_checks, unchanged
from benchmarks.soak.children import Children
from benchmarks.soak.clock import Clock
from benchmarks.soak.crowd import Crowd
from benchmarks.soak.daemon import Daemon
from benchmarks.soak.disk import Disk
from benchmarks.soak.farewell import farewell
from benchmarks.soak.faults import Faults
from benchmarks.soak.latency import Latency, measure
from benchmarks.soak.ledger import Ledger, compare, unexcused
from benchmarks.soak.notes import Notes
from benchmarks.soak.schedule import Fault
from benchmarks.soak.settle import Footprint, fill, footprint, settle

__all__ = ["Soak", "Totals"]

# Longer than any soak: an operation to wait for in vain.
_FOR_EVER: Final = 86_000

# Seconds from the start of the daemon's process to that of its server.
_CLOCK_ROOM: Final = 20.0

_LOOK: Final = 0.05  # seconds between two looks at the clients

# How much longer than before answers may take, measured against the yardstick.  What the machine does
# besides only ever adds to it, so it is measured again if it is more, and the best one counts.
_LATENCY_ROOM: Final = 1.5
_MEASUREMENTS: Final = 3
_MORE_MEASUREMENTS: Final = 12

# By which part memory may grow.  In the first half of the rounds the allocator finds out how scattered
# things can lie; in the second it must not need more, but for some pages.
_ROOM_AT_FIRST: Final = 0.5
_ROOM: Final = 0.08
_ENOUGH_ROUNDS: Final = 4


@dataclass
class Totals:
    """What was done in all rounds.

    Attributes:
        sent: Requests.
        answered: Answers.
        kinds: Of load.
        faults: Of each kind.
        lost: Entries that the audit log has lost, as it says.
        clients: How many there were.
    """

    sent: int = 0
    answered: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    clients: int = 0


class Soak:
    """A daemon, and what is done to it.

    Args:
        folder: Where everything of this soak is.
        daemon: The daemon.
        disk: Its disk.
        clock: Its clock.
        children: Who learns of the ends of processes.
        clients: How many there are at once.
        rounds: How many rounds there will be after the warm-up.
    """

    def __init__(
        self, folder: Path, daemon: Daemon, disk: Disk, clock: Clock, children: Children, *, clients: int, rounds: int
    ) -> None:
        self.totals = Totals()
        self._folder = folder
        self._daemon = daemon
        self._disk = disk
        self._clock = clock
        self._children = children
        self._clients = clients
        # Those in which memory finds its size; of too few rounds there is no second half to speak of.
        self._early = rounds // 2 if rounds >= _ENOUGH_ROUNDS else rounds
        self._number = 0
        self._last_entry = 0
        self._logged = 0
        self._before: tuple[Footprint, Latency] | None = None

    def round(self, name: str, seed: str, seconds: float, faults: list[Fault]) -> list[Check]:
        """Do one round, and check what has to be true after it; the first one is the warm-up.

        Args:
            name: Its name.
            seed: The chance of its clients.
            seconds: How long there is load.
            faults: What happens meanwhile.
        """
        notes = self._folder / name
        notes.mkdir()
        crowd = Crowd(self._daemon.where, notes, seed, self._clients, self._children)
        doing = Faults(self._daemon, crowd, self._disk, self._clock, time.time)
        with self._daemon.control() as client:
            endless = str(client.call("sleep", {"seconds": _FOR_EVER}, detach=True)["operation"])
        crowd.begin(endless)
        try:
            survived = self._load(crowd, doing, seconds, faults)
        finally:
            crowd.end()
        if not survived:
            return [Check("the daemon lives", [f"it has ended: {self._children.status(self._daemon.pid)}"])]
        if self._before is None:
            fill(self._daemon)
        restless = settle(self._daemon, endless)
        self.totals.clients += crowd.started
        crashed = [f"{crowd.crashed} of {crowd.started}"] if crowd.crashed else []
        return [
            Check("the clients of this soak have no defect", crashed, f"{crowd.started} clients"),
            Check("all comes to rest", restless),
            *self._compare(notes, doing),
            self._clock_check(),
            *self._at_rest(),
        ]

    def end(self) -> list[Check]:
        """Let the daemon end, and check that, too."""
        notes = self._folder / "farewell"
        notes.mkdir()
        checks = farewell(self._daemon, Notes(notes / "last.notes", "last"))
        ledger = self._ledger(notes)
        audit = read(self._daemon.history, self._last_entry)
        return [*checks, Check("the last answers are in the log", compare(ledger, audit.entries)), *self._log()]

    def _load(self, crowd: Crowd, doing: Faults, seconds: float, faults: list[Fault]) -> bool:
        """Let the time pass, and the faults happen; tell whether the daemon lives."""
        order = itertools.count()
        agenda: list[tuple[float, int, Callable[[], None]]] = []

        def begin(fault: Fault) -> Callable[[], None]:
            def act() -> None:
                print(f"  {fault}", flush=True)
                self.totals.faults[fault.kind] += 1
                heapq.heappush(agenda, (fault.at + fault.lasts, next(order), doing.begin(fault)))

            return act

        for fault in faults:
            heapq.heappush(agenda, (fault.at, next(order), begin(fault)))
        start = time.monotonic()
        while (passed := time.monotonic() - start) < seconds or agenda:
            if not self._daemon.alive:
                return False
            if agenda and agenda[0][0] <= passed:
                heapq.heappop(agenda)[2]()
                continue
            crowd.tend()
            time.sleep(_LOOK)
        return True

    def _compare(self, notes: Path, doing: Faults) -> list[Check]:
        """Compare what the clients noted with the audit log."""
        ledger = self._ledger(notes)
        with self._daemon.control() as client:
            lost = int(client.call("status")["history"]["lost"])
        audit = read(self._daemon.history, self._last_entry)
        self._last_entry = audit.last
        differences = compare(ledger, audit.entries, lost=lost - self.totals.lost)
        self.totals.lost = lost
        defects = [str(key) for key, slugs in ledger.answers.items() if "internal" in slugs]
        found = f"{ledger.answered} answers to {ledger.sent.total()} requests, {len(audit.entries)} entries"
        return [
            Check("every answered request is in the log exactly once", differences, found),
            Check("the log is sound, and has both ends of every session", audit.problems),
            Check("everybody who waits is answered", unexcused(ledger.trouble, doing.windows)),
            Check("no answer is an internal error", defects),
        ]

    def _at_rest(self) -> list[Check]:
        """Compare the daemon at rest with itself after the warm-up."""
        self._children.reap()  # what has lost its parent and ended is ours to take leave of
        now = footprint(self._daemon)
        strays = [kind for kind in now.family if kind in ("stray program", "stray job", "stray worker", "zombie")]
        checks = [Check("no process is lost", strays), *self._log()]
        if self._before is None:
            found = [self._measure() for _ in range(_MEASUREMENTS)]
            self._before = now, min(found, key=lambda latency: latency.ratio)
            return checks
        before, latency = self._before
        self._number += 1
        late = self._number > self._early
        checks += unchanged(before, now, room=_ROOM if late else _ROOM_AT_FIRST)
        if not late:
            self._before = before._replace(resident=max(before.resident, now.resident)), latency
        return [*checks, self._latency_check(latency)]

    def _latency_check(self, before: Latency) -> Check:
        for _ in range(_MORE_MEASUREMENTS):
            check = latency_check(before, self._measure(), _LATENCY_ROOM)
            if not check.wrong:
                break
        return check

    def _clock_check(self) -> Check:
        """Check that steps of the clock do not show where time is counted."""
        with self._daemon.control() as client:
            uptime = float(client.call("status")["uptime"])
        wrong = abs(uptime - (time.monotonic() - self._daemon.started)) > _CLOCK_ROOM
        return Check("the uptime does not follow the clock", [f"{uptime} s"] if wrong else [])

    def _measure(self) -> Latency:
        return measure(self._daemon.where.unix, self._folder, self._children)

    def _log(self) -> list[Check]:
        """Check what was logged since the last time."""
        lines = self._daemon.log_lines()
        checks = log_checks(lines[self._logged :])
        self._logged = len(lines)
        return checks

    def _ledger(self, notes: Path) -> Ledger:
        ledger = Ledger()
        for path in sorted(notes.iterdir()):
            with path.open() as lines:
                ledger.read(lines)
        self.totals.sent += ledger.sent.total()
        self.totals.answered += ledger.answered
        self.totals.kinds += ledger.kinds
        return ledger
