"""Which rows make which plot; pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.results import Row
from benchmarks.servers import FLOOR
from benchmarks.svg import Bar, Curve, bars, curves
from benchmarks.wires import KINDS

__all__ = ["Picture", "plots"]

BARS = {
    "c50": ("50 clients, one request each in flight", "requests per second, x LIMIT-B (dashed): more is better"),
    "pipe64": ("One client, 64 requests in flight", "requests per second, x LIMIT-B (dashed): more is better"),
    "seq1": ("One client, one request after the other", "median time of a request, x LIMIT-B (dashed): less is better"),
}


NUMBER = r"([\d,]+)"

# The curves, and the rows that are their points: one of the two, scenario or subject, has the number.
GROWTH = [
    ("connections", re.compile("growth with connections"), re.compile(NUMBER)),
    ("commands", re.compile("growth with commands"), re.compile(f"{NUMBER}, 10 of them asked for")),
    ("subscribers", re.compile(f"events to {NUMBER}"), re.compile("ctld full")),
]


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot, and what it shows."""

    title: str
    svg: str


def plots(rows: Sequence[Row]) -> dict[str, Picture]:
    """Draw what the rows have: by file name."""
    found = {}
    for shape, (title, unit) in BARS.items():
        if groups := _bars_of(rows, shape):
            found[f"benchmark-{shape}.svg"] = Picture(title, bars(title, unit, KINDS, groups, mark=1))
    if lines := _growth(rows):
        title = "What one request costs, by numbers"
        unit = "microseconds of the server's processor; of subscribers, for one event to one of them"
        svg = curves(title, unit, "how many of them", lines)
        found["benchmark-growth.svg"] = Picture(title, svg)
    return found


def _bars_of(rows: Sequence[Row], shape: str) -> list[tuple[str, list[Bar | None]]]:
    """Return a group for each server: its bars for ping and echo."""
    by_place = {(row.scenario, row.subject): row for row in rows}
    subjects = dict.fromkeys(
        row.subject
        for row in rows
        if row.scenario.partition(" ")[0] == shape and row.unit in {"x", "x time"} and _in_picture(row.subject)
    )
    return [(subject, [_bar(by_place.get((f"{shape} {kind}", subject))) for kind in KINDS]) for subject in subjects]


def _in_picture(subject: str) -> bool:
    """Tell whether a subject is one to compare: not a ratio to a peer, and not the floor, which dwarfs all others."""
    return "/" not in subject and subject != FLOOR.name


def _bar(row: Row | None) -> Bar | None:
    if row is None or row.value is None or row.low is None or row.high is None:
        return None
    return Bar(row.value, row.low, row.high)


def _growth(rows: Sequence[Row]) -> list[Curve]:
    """Return a curve for each kind of growth that was measured."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name, scenario, subject in GROWTH:
            found = scenario.fullmatch(row.scenario), subject.fullmatch(row.subject)
            if all(found) and row.unit == "us" and row.value is not None:
                count = next(match[1] for match in found if match and match.re.groups)
                points.setdefault(name, []).append((float(count.replace(",", "")), row.value))
    return [Curve(name, sorted(each)) for name, each in points.items()]
