"""Progress bars on a terminal: how far, how fast, how much longer; several at once.

A daemon that does several things in one command says which one a message is about: as
`"task"` in the message's `data`.  A message without numbers is a line of its own, and stays.

Nothing here needs a timer: bars move when messages come, at most some times a second, and
the last message is never left out.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from ctlctl.human import age, amount
from ctlctl.look import width
from ctlctl.output import one_line
from ctlctl.table import cut, display_width

if TYPE_CHECKING:
    from ctld.client import Update

__all__ = ["Bar", "Bars"]

_PERIOD = 0.1  # seconds between two drawings
_MOST_BARS = 20  # more do not fit on a screen; the oldest that is done gives way
_BAR = 24  # columns of a bar where there is room for it
_LEAST_BAR = 8
_SETTLED = 0.5  # seconds before which a rate is a guess


class Bar:
    """One thing that is under way.

    Args:
        now: When it began, in seconds of any clock.
        current: How far it was then.
    """

    def __init__(self, now: float, current: float) -> None:
        self._began = now
        self._first = current
        self._now = now
        self._current = current
        self._total: float | None = None
        self._unit = ""
        self._text = ""

    @property
    def done(self) -> bool:
        """Whether it is as far as it goes."""
        return self._total is not None and self._current >= self._total

    def update(self, now: float, update: Update) -> None:
        """Take a message with numbers."""
        current = update.current or 0.0
        if current < self._current:  # it began again, or is something else now
            self._began, self._first = now, current
        self._now, self._current, self._total = now, current, update.total
        self._unit = one_line(update.unit) if update.unit else ""
        self._text = one_line(update.message) if update.message not in (None, "") else ""

    def line(self, columns: int) -> str:
        """Return it as a line of at most so many columns."""
        numbers = self._numbers()
        total = self._total
        if total is None or total <= 0:
            return _joined(self._text, numbers, columns)
        share = min(max(self._current / total, 0.0), 1.0)
        room = columns - len(numbers) - 10
        bar = min(_BAR, room - min(display_width(self._text), room // 2))
        if bar < _LEAST_BAR:
            return _joined(self._text, f"{share:4.0%} {numbers}", columns)
        filled = int(share * bar)
        return _joined(self._text, f"[{'#' * filled}{'.' * (bar - filled)}] {share:4.0%} {numbers}", columns)

    def _numbers(self) -> str:
        parts = [amount(self._current, "" if self._total is not None and self._unit != "bytes" else self._unit)]
        if self._total is not None:
            parts[0] += f"/{amount(self._total, self._unit)}"
        elapsed = self._now - self._began
        rate = (self._current - self._first) / elapsed if elapsed >= _SETTLED else 0.0
        if rate > 0:
            parts.append(f"{amount(rate, self._unit)}/s")
            if self._total is not None and not self.done:
                parts.append(f"{age((self._total - self._current) / rate)} left")
        return "  ".join(parts)


def _joined(text: str, rest: str, columns: int) -> str:
    """Return a text and what stands right of it; the text gives way."""
    room = columns - display_width(rest) - 1
    if not text or room < 2:
        return cut(rest, columns)
    return f"{cut(text, room)} {rest}"


class Bars:
    """The bars of one command, at the lower end of the terminal that is the standard error."""

    def __init__(self) -> None:
        self._bars: dict[str, Bar] = {}
        self._drawn = 0
        self._last = 0.0
        self._stale = False

    def update(self, update: Update) -> None:
        """Show a message: as a bar if it has numbers, else as a line above the bars."""
        now = time.monotonic()
        if update.current is None:
            text = one_line(update.message) if update.message not in (None, "") else ""
            if text:
                self._draw([text])
            return
        task = update.data.get("task") if isinstance(update.data, dict) else None
        key = task if isinstance(task, str) else ""
        if key not in self._bars:
            self._make_room()
            self._bars[key] = Bar(now, update.current)
        self._bars[key].update(now, update)
        self._stale = True
        if now - self._last >= _PERIOD or self._bars[key].done:
            self._last = now
            self._draw([])

    def clear(self) -> None:
        """Take the bars off the terminal, for what is printed next; a later message brings them back."""
        if self._drawn:
            erase, self._drawn = self._erase(), 0
            _write(erase)
        self._stale = bool(self._bars)

    def close(self) -> None:
        """End: what was reached last stays to be read, unless it was already cleared away."""
        if self._stale and self._drawn:
            self._draw([])
        self._drawn = 0

    def _make_room(self) -> None:
        if len(self._bars) >= _MOST_BARS:
            done = next((key for key, bar in self._bars.items() if bar.done), next(iter(self._bars)))
            del self._bars[done]

    def _erase(self) -> str:
        return "\r\x1b[K" + "\x1b[A\x1b[K" * self._drawn

    def _draw(self, above: list[str]) -> None:
        columns = (width(2) or 80) - 1  # a line that fills the last column wraps on some terminals
        lines = [bar.line(columns) for bar in self._bars.values()]
        erase = self._erase() if self._drawn else ""
        # First: a signal's handler may want to clear what is written in the next line.
        self._drawn = len(lines)
        self._stale = False
        _write(erase + "".join(f"{line}\n" for line in (*above, *lines)))


def _write(text: str) -> None:
    try:
        os.write(2, text.encode(errors="backslashreplace"))
    except OSError:
        return  # there is nobody to show it to
