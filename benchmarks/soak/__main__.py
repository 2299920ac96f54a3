"""Keep a daemon under a mixed load with random faults for some minutes, and check what has to be true then.

The faults, and what clients do, are drawn from a seed, which is printed: the same seed draws the
same ones again.  What comes of them also depends on who is faster, so a finding may take
several runs to come back.
"""

import argparse
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.soak.checks import Check
from benchmarks.soak.children import Children, adopt_orphans
from benchmarks.soak.clock import Clock
from benchmarks.soak.daemon import Daemon
from benchmarks.soak.disk import make_disk
from benchmarks.soak.run import Soak, Totals
from benchmarks.soak.schedule import KINDS, draw

__all__ = ["main"]

# Seconds of load between two rests: what is found then has a cause in them.
_ROUND: Final = 120.0

# The warm-up: every kind of fault once, so that what the daemon sets up for good is there.
_WARM_UP: Final = 40.0

# Seconds from one fault to the next, on average.
_EVERY: Final = 1.5


def main(argv: Sequence[str] | None = None) -> int:
    """Soak; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long there is load (default 10)")
    parser.add_argument("--seed", default="", help="repeat the run with this seed")
    parser.add_argument("--clients", type=int, default=8, help="client processes at once (default 8)")
    parser.add_argument("--keep", action="store_true", help="keep notes, log and audit log")
    args = parser.parse_args(argv)
    seed = args.seed or f"{random.SystemRandom().randrange(10**9)}"
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # the daemon must not outlive us
    folder = Path(tempfile.mkdtemp(prefix="ctld-soak-"))
    try:
        return _soak(folder, args.minutes * 60, seed, args.clients)
    finally:
        if args.keep:
            print(f"everything is in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)  # a file system may be mounted there, which goes with us


def _soak(folder: Path, seconds: float, seed: str, clients: int) -> int:
    adopt_orphans()
    children = Children()
    print(f"Python {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} processors")
    print(f"seed {seed}, {seconds / 60:g} minutes, {clients} clients at once")
    with Clock(folder) as clock:
        disk, kind = make_disk(folder / "state")
        print(f"the disk: {kind}; the clock: {'preloaded' if clock.environ else 'not set, for want of a compiler'}")
        daemon = Daemon(folder, folder / "state", clock.environ, children)
        try:
            rounds = max(round(seconds / _ROUND), 1)
            soak = Soak(folder, daemon, disk, clock, children, clients=clients, rounds=rounds)
            well = _rounds(soak, rounds, seconds, seed) and daemon.alive
            if daemon.alive:
                well = _report("the end", soak.end()) and well
        finally:
            daemon.kill()
    _print_totals(soak.totals)
    print("\nall is well" if well else "\nFAILED")
    return 0 if well else 1


def _rounds(soak: Soak, rounds: int, seconds: float, seed: str) -> bool:
    """Do all rounds; tell whether all went well."""
    warm_up = min(_WARM_UP, max(seconds / 3, 2.0))
    well = True
    for number in range(rounds + 1):
        name = f"round-{number}" if number else "warm-up"
        length = seconds / rounds if number else warm_up
        every = _EVERY if number else warm_up / (len(KINDS) + 2)
        begun = time.monotonic()
        print(f"\n{name}: {length:.0f} s of load")
        checks = soak.round(name, f"{seed}/{name}", length, draw(f"{seed}/{name}", length, every))
        well = _report(f"{name} took {time.monotonic() - begun:.0f} s with its rest", checks) and well
        if checks[0].what == "the daemon lives":
            return False
    return well


def _report(title: str, checks: Sequence[Check]) -> bool:
    print(f"\n{title}")
    for check in checks:
        print(f"  {check}", flush=True)
    return not any(check.wrong for check in checks)


def _print_totals(totals: Totals) -> None:
    print(f"\n{totals.answered} answers to {totals.sent} requests of {totals.clients} clients, by kind of load:")
    for kind, count in sorted(totals.kinds.items()):
        print(f"  {count:7}  {kind}")
    print(f"{totals.faults.total()} faults:")
    for kind, count in sorted(totals.faults.items()):
        print(f"  {count:7}  {kind}")
    print(f"{totals.lost} entries of the audit log lost, as it says itself")


if __name__ == "__main__":
    sys.exit(main())
