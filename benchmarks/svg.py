"""Draw plots as SVG: bars side by side and curves; readable on light and dark pages; pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

__all__ = ["Bar", "Curve", "bars", "curves"]

WIDTH = 720
LABELS = 190  # what names take on the left
VALUES = 60  # what figures take on the right of the longest bar
THICK = 13
GAP = 12
TOP = 52

# One colour for each series, with enough contrast to white and to near-black.
COLOURS = ("#4078c0", "#c4772a", "#3f9a63", "#a05fb5", "#b84a4a")

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.small { font-size: 11px; fill: #57606a }
.title { font-size: 15px; font-weight: 600 }
.line { stroke: #57606a; stroke-width: 1 }
.mark { stroke: #57606a; stroke-width: 1; stroke-dasharray: 4 3 }
.grid { stroke: #d0d7de; stroke-width: 1 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9da7b1 } .line, .mark { stroke: #9da7b1 } .grid { stroke: #3d444d }
}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: a value and its spread."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve: points by rising x."""

    name: str
    points: Sequence[tuple[float, float]]


def bars(
    title: str,
    unit: str,
    series: Sequence[str],
    groups: Sequence[tuple[str, Sequence[Bar | None]]],
    mark: float | None = None,
) -> str:
    """Draw groups of horizontal bars, one bar of each series in a group.

    Args:
        title: What is shown.
        unit: What the figures are.
        series: What the bars of a group are.
        groups: The name of each, and its bars; None where something was not measured.
        mark: A value at which a line goes through all bars.
    """
    highest = max((bar.high for _, group in groups for bar in group if bar), default=0.0)
    longest = max(highest, mark or 0.0) or 1.0
    scale = (WIDTH - LABELS - VALUES) / longest
    parts = _legend(series)
    y = TOP
    for name, group in groups:
        middle = y + len(group) * THICK / 2 + 4
        parts.append(f'<text x="{LABELS - 10}" y="{middle:.0f}" text-anchor="end">{escape(name)}</text>')
        for index, bar in enumerate(group):
            parts += _bar(bar, y + index * THICK, scale, COLOURS[index % len(COLOURS)])
        y += len(group) * THICK + GAP
    if mark is not None:
        at = LABELS + mark * scale
        parts.append(f'<line class="mark" x1="{at:.1f}" y1="{TOP - 6}" x2="{at:.1f}" y2="{y - GAP + 6}"/>')
    parts.append(f'<line class="line" x1="{LABELS}" y1="{TOP - 6}" x2="{LABELS}" y2="{y - GAP + 6}"/>')
    return _picture(title, unit, y + 4, parts)


def _bar(bar: Bar | None, y: float, scale: float, colour: str) -> list[str]:
    if bar is None:
        return [f'<text class="small" x="{LABELS + 6}" y="{y + 10:.0f}">not measured</text>']
    end = LABELS + bar.value * scale
    low, high, middle = LABELS + bar.low * scale, LABELS + bar.high * scale, y + (THICK - 2) / 2
    return [
        f'<rect x="{LABELS}" y="{y:.1f}" width="{max(end - LABELS, 0.5):.1f}" height="{THICK - 2}" fill="{colour}"/>',
        f'<line class="line" x1="{low:.1f}" y1="{middle:.1f}" x2="{high:.1f}" y2="{middle:.1f}"/>',
        f'<text class="small" x="{max(end, high) + 6:.1f}" y="{y + 10:.0f}">{_figure(bar.value)}</text>',
    ]


def curves(title: str, unit: str, along: str, lines: Sequence[Curve]) -> str:
    """Draw curves over a logarithmic x; y begins at 0.

    Args:
        title: What is shown.
        unit: What y is.
        along: What x is.
        lines: The curves.
    """
    left, right, bottom = 60, WIDTH - 30, TOP + 220
    xs = [math.log10(x) for curve in lines for x, _ in curve.points if x > 0] or [0.0]
    first, span = min(xs), (max(xs) - min(xs)) or 1.0
    highest = _round_up(max((y for curve in lines for _, y in curve.points), default=0.0))

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (math.log10(x) - first) / span * (right - left), bottom - y / highest * (bottom - TOP)

    parts = _legend([curve.name for curve in lines])
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = bottom - share * (bottom - TOP)
        parts.append(f'<line class="grid" x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        figure = _figure(highest * share)
        parts.append(f'<text class="small" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{figure}</text>')
    for x in sorted({x for curve in lines for x, _ in curve.points if x > 0}):
        at, _ = place(x, 0)
        parts.append(f'<text class="small" x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{_count(x)}</text>')
    for index, curve in enumerate(lines):
        colour = COLOURS[index % len(COLOURS)]
        dots = [place(x, y) for x, y in curve.points if x > 0]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in dots]
    middle = (left + right) / 2
    parts.append(f'<text class="small" x="{middle}" y="{bottom + 34}" text-anchor="middle">{escape(along)}</text>')
    return _picture(title, unit, bottom + 42, parts)


def _legend(names: Sequence[str]) -> list[str]:
    parts = []
    x = float(WIDTH - 20)
    for index, name in reversed(list(enumerate(names))):
        x -= 7 * len(name) + 14  # as wide as a name of wide letters may get
        parts.append(f'<rect x="{x:.0f}" y="9" width="10" height="10" fill="{COLOURS[index % len(COLOURS)]}"/>')
        parts.append(f'<text class="small" x="{x + 14:.0f}" y="18">{escape(name)}</text>')
        x -= 12
    return parts


def _picture(title: str, unit: str, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'role="img" aria-label="{escape(title, {chr(34): "&quot;"})}">'
    )
    texts = [
        f'<text class="title" x="10" y="19">{escape(title)}</text>',
        f'<text class="small" x="10" y="37">{escape(unit)}</text>',
    ]
    return "\n".join([head, f"<style>{STYLE}</style>", *texts, *parts, "</svg>", ""])


def _figure(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _round_up(value: float) -> float:
    """Return the next number that has round quarters."""
    if value <= 0:
        return 1.0
    power: float = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value * (1 - 1e-9))


def _count(value: float) -> str:
    for size, suffix in ((2**20, " Mi"), (2**10, " Ki")):
        if value >= size and value % size == 0:
            return f"{value / size:.0f}{suffix}"
    return f"{value:,.0f}"
