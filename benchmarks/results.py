"""What a benchmark has found: rows, their goals, and the plan they were measured by.

Every scenario module has one function `measure(plan: Plan) -> list[Row]`.  A row is what was
measured of one subject in one scenario: the median of the rounds, and their spread.  A row
without a value stands for something that could not be measured, and its note says why, so
that nothing is left out silently.
"""

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Goal", "Plan", "Row", "Verdict", "missing", "row_of"]

Verdict = Literal["pass", "short", "missing", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How thorough to be, and where to write."""

    rounds: int
    seconds: float  # of one slice
    full: bool  # whether what takes long is wanted, too
    scratch: Path  # sockets and build products; short enough for the path of a socket
    seed: int = 0

    def random(self) -> random.Random:
        """Return the source of the order of slices: the same for the same seed."""
        return random.Random(self.seed)


@dataclass(frozen=True, slots=True)
class Goal:
    """What a row should reach."""

    text: str  # which line of the list of goals this is, for people
    op: Literal[">=", "<="]
    bound: float

    def reached(self, value: float) -> bool:
        """Tell whether a value is good enough."""
        return value >= self.bound if self.op == ">=" else value <= self.bound

    def __str__(self) -> str:
        return f"{self.op} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one subject in one scenario."""

    scenario: str
    subject: str
    value: float | None  # the median of the rounds; None when it could not be measured
    low: float | None  # the least of them
    high: float | None  # the greatest of them
    unit: str
    goal: Goal | None = None
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """Say `pass` or `short`; nothing where there is no goal."""
        if self.value is None:
            return "missing"
        if self.goal is None:
            return ""
        return "pass" if self.goal.reached(self.value) else "short"


def row_of(
    scenario: str, subject: str, values: Sequence[float], unit: str, goal: Goal | None = None, note: str = ""
) -> Row:
    """Make a row of what the rounds have measured: median, least and greatest."""
    return Row(scenario, subject, statistics.median(values), min(values), max(values), unit, goal, note)


def missing(scenario: str, subject: str, unit: str, why: str, goal: Goal | None = None) -> Row:
    """Make the row of something that cannot be measured here."""
    return Row(scenario, subject, None, None, None, unit, goal, why)
