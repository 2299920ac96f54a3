"""Which rows make which plot; pure."""

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
    if points := _fanout(rows):
        title = "Events, by the number of subscribers"
        svg = curves(title, "microseconds for one delivery", "subscribers", [Curve("ctld full", points)])
        found["benchmark-events.svg"] = Picture(title, svg)
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


def _fanout(rows: Sequence[Row]) -> list[tuple[float, float]]:
    return [
        (float(row.scenario.removeprefix("events to ")), row.value)
        for row in rows
        if row.scenario.startswith("events to ") and row.unit == "us" and row.value is not None
    ]
