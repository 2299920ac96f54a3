"""Run one scenario module by itself: `python -m benchmarks.memory`."""

import argparse
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from benchmarks.results import Plan, Row

__all__ = ["format_rows", "run_alone"]


def run_alone(name: str, doc: str | None, measure: Callable[[Plan], Sequence[Row]]) -> int:
    """Measure, and print the rows.

    Returns:
        The exit status: 1 if a goal is missed.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=doc)
    parser.add_argument("--rounds", type=int, default=7, help="rounds (default 7)")
    parser.add_argument("--seconds", type=float, default=0.2, help="seconds per slice (default 0.2)")
    parser.add_argument("--full", action="store_true", help="what takes long, too")
    parser.add_argument("--seed", type=int, default=0, help="for the order of slices (default 0)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        plan = Plan(rounds=args.rounds, seconds=args.seconds, full=args.full, scratch=Path(scratch), seed=args.seed)
        rows = measure(plan)
    print("\n".join(format_rows(rows)))
    return 1 if any(row.verdict == "short" for row in rows) else 0


def format_rows(rows: Iterable[Row]) -> list[str]:
    """Lay rows out in columns; pure."""
    cells = [("scenario", "subject", "value", "spread", "unit", "goal", "")]
    cells += [
        (
            row.scenario,
            row.subject,
            _number(row.value),
            "" if row.low == row.high else f"{_number(row.low)} to {_number(row.high)}",
            row.unit,
            "" if row.goal is None else str(row.goal),
            " ".join(filter(None, [row.verdict, f"({row.note})" if row.note else ""])),
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(6)]
    return ["  ".join([*map(str.ljust, line, widths), line[6]]).rstrip() for line in cells]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
