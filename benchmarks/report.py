"""A run as text for a terminal, and as JSON; pure."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from benchmarks.goals import ACCEPTANCE
from benchmarks.machine import Machine
from benchmarks.results import Goal, Row

__all__ = ["Run", "from_json", "number", "rows_by_goal", "spread", "summary", "table", "to_json"]

WIDTH = 80
SUBJECT = 23  # what a name may take of that
ALONE = 45  # where neither spread nor goal follows


@dataclass(frozen=True, slots=True)
class Run:
    """What one run has found, where and when."""

    date: str
    machine: Machine
    rounds: int
    seconds: float
    rows: tuple[Row, ...]


def number(value: float) -> str:
    """Write a number with three digits that mean something."""
    size = abs(value)
    if size >= 1_000_000:
        return f"{number(value / 1_000_000)}M"
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def spread(row: Row) -> str:
    """Write how far the rounds were apart."""
    if row.low is None or row.high is None:
        return ""
    return f"{number(row.low)} to {number(row.high)}"


def table(rows: Sequence[Row]) -> str:
    """Lay rows out for a terminal, one block for each scenario."""
    lines = []
    for scenario, group in groupby(rows, key=lambda row: row.scenario):
        lines += ["", scenario]
        note = ""
        for row in group:
            lines += _lines(row)
            if row.note != note:
                note = row.note
                lines += textwrap.wrap(note, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines[1:])


def _lines(row: Row) -> list[str]:
    value = "-" if row.value is None else number(row.value)
    if row.value is not None and row.low is None and row.goal is None:
        return [f"  {row.subject:{ALONE}} {value:>9} {row.unit}"]
    goal = "" if row.goal is None else str(row.goal)
    subject, above = (row.subject, []) if len(row.subject) <= SUBJECT else ("", [f"  {row.subject}"])
    figures = f"{value:>9} {row.unit:8} {spread(row):>18} {goal:>8} {row.verdict}"
    return [*above, f"  {subject:{SUBJECT}} {figures}".rstrip()]


def rows_by_goal(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Sort rows under the goals that they are for: all of the acceptance list, and then others."""
    found: dict[str, list[Row]] = {text: [] for text in ACCEPTANCE}
    for row in rows:
        if row.goal is not None:
            found.setdefault(row.goal.text, []).append(row)
    return found


def summary(rows: Iterable[Row]) -> str:
    """Say for each goal whether it is reached."""
    lines = []
    for text, group in rows_by_goal(rows).items():
        reached = sum(row.verdict == "pass" for row in group)
        measured = sum(row.verdict != "missing" for row in group)
        if not measured:
            verdict = "not measured"
        elif reached == measured == len(group):
            verdict = "pass"
        elif reached == measured:
            verdict = f"pass, but {len(group) - measured} of {len(group)} missing"
        else:
            verdict = f"short: {measured - reached} of {len(group)}"
        lines.append(f"  {text:46} {verdict}")
    return "\n".join(lines)


def to_json(run: Run) -> str:
    """Write a run down."""
    return json.dumps(asdict(run), indent=1) + "\n"


def from_json(text: str) -> Run:
    """Read a run that was written down.

    Raises:
        ValueError: It is none.
    """
    try:
        found: dict[str, Any] = json.loads(text)
        rows = tuple(
            Row(**{**row, "goal": None if row["goal"] is None else Goal(**row["goal"])}) for row in found.pop("rows")
        )
        return Run(machine=Machine(**found.pop("machine")), rows=rows, **found)
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"this is no run of the benchmarks: {exc}") from exc
