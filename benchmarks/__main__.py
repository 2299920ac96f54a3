"""Measure ctld beside a yardstick and its neighbours, and say which goals are reached.

Absolute rates mean nothing on a shared machine.  So all servers are alive together, get short
slices in random order, and what counts is the median of the ratios of each round.
"""

import argparse
import os
import resource
import secrets
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import cycle, fanout, flows, growth, hijack, memory, micro, profile, startup, streaming
from benchmarks.machine import Machine, this_machine
from benchmarks.processes import ROOT, BenchmarkError
from benchmarks.publish import publish
from benchmarks.report import Run, from_json, summary, table, to_json
from benchmarks.results import Plan, Row, missing

# In the order in which they run.
SCENARIOS = {
    "requests": flows.measure,
    "streaming": streaming.measure,
    "connect": cycle.measure,
    "events": fanout.measure,
    "hijack": hijack.measure,
    "memory": memory.measure,
    "start-up": startup.measure,
    "growth": growth.measure,
    "micro": micro.measure,
    "profile": profile.measure,
}

# The subject of a scenario that ended early.
FAILED = "all of it"

JSON = ROOT / ".tmp" / "bench" / "results.json"


def measure(names: list[str], plan: Plan) -> list[Row]:
    """Measure scenarios, and print what each has found as soon as it has."""
    rows: list[Row] = []
    for name in names:
        print(f"\n== {name} ==", flush=True)
        # Each has a folder of its own, with a short name: paths of sockets are short.
        with tempfile.TemporaryDirectory(prefix="bench") as scratch:
            begun = time.monotonic()
            try:
                found = SCENARIOS[name](replace(plan, scratch=Path(scratch)))
            except BenchmarkError as exc:  # what the others have found is worth keeping
                print(f"benchmarks: {name}: {exc}", file=sys.stderr)
                found = [missing(name, FAILED, "", str(exc))]
        print(f"\n{table(found)}\n\n({time.monotonic() - begun:.0f} s)", flush=True)
        rows += found
    return rows


def raise_descriptor_limit() -> None:
    """Let a thousand clients be open at once."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def print_place(machine: Machine) -> None:
    """Print where this runs."""
    print(machine)
    print(", ".join(f"{name} {version}" for name, version in machine.versions.items()))
    if machine.processors < 2:
        print("one processor only: servers and the load generator share it, and ratios are too small")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; default: all")
    parser.add_argument("--full", action="store_true", help="all peers in all scenarios, all sizes, more rounds")
    parser.add_argument("--rounds", type=int, help="rounds per scenario (default 7; 11 with --full)")
    parser.add_argument("--seconds", type=float, default=0.15, help="seconds per slice (default 0.15)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the random order")
    parser.add_argument("--json", type=Path, default=JSON, help="where to write the results (default .tmp/bench/)")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a goal is missed")
    parser.add_argument("--publish", action="store_true", help="write the results into the documentation")
    parser.add_argument("--publish-from", type=Path, metavar="JSON", help="publish an earlier run; measure nothing")
    args = parser.parse_args()
    if unknown := set(args.scenario) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    return args


def main() -> int:
    """Measure, print, write."""
    args = arguments()
    if args.publish_from:
        publish(from_json(args.publish_from.read_text()))
        return 0
    raise_descriptor_limit()
    machine = this_machine()
    print_place(machine)
    plan = Plan(
        rounds=args.rounds or (11 if args.full else 7),
        seconds=args.seconds,
        full=args.full,
        scratch=Path(),
        seed=args.seed,
    )
    print(f"{plan.rounds} rounds, {plan.seconds:g} s each, seed {plan.seed}")
    rows = measure(args.scenario or list(SCENARIOS), plan)
    run = Run(f"{datetime.now(UTC):%Y-%m-%d}", machine, plan.rounds, plan.seconds, tuple(rows))
    print(f"\n== goals ==\n\n{summary(rows)}")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(to_json(run))
    print(f"\nwritten to {os.path.relpath(args.json)}")
    if args.publish:
        publish(run)
    if any(row.subject == FAILED for row in rows):
        return 2
    return 1 if args.strict and any(row.verdict == "short" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
