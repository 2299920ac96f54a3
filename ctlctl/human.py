"""Numbers as people read them: sizes, ages, times, rates; pure.

Which number is what is told by its key, because JSON does not say it; the names are those
that daemons use.  A number whose key says nothing stays a number.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["age", "amount", "by_key", "clock", "size"]

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

_SIZE_KEYS = ("bytes", "size", "memory", "rss")
_AGE_KEYS = ("age", "uptime", "elapsed", "duration", "seconds")
_TIME_KEYS = ("time", "started", "ended", "finished", "created", "since", "at")

# Seconds of which nobody wants to know how many days they are; what is no number is not below it either.
_ENDLESS = 1e15

# Seconds since the epoch are told from other numbers by their size: 1973 to 5138.
_TIMES = (1e8, 1e11)


def size(count: float) -> str:
    """Return a number of bytes: `512 B`, `1.5 MiB`."""
    value, power = abs(_float(count)), 0
    while value >= 1023.95 and power < len(_SIZES) - 1:
        value /= 1024
        power += 1
    digits = f"{value:.0f}" if power == 0 or value >= 99.95 else f"{value:.1f}"
    return f"{'-' if count < 0 else ''}{digits} {_SIZES[power]}"


def age(seconds: float) -> str:
    """Return a span of time in its two largest units: `3 d 4 h`, `5 min 2 s`, `0.3 s`."""
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    if not seconds < _ENDLESS:
        return f"{sign}{_float(seconds):g} s"
    if seconds < 9.95:
        return f"{sign}{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for unit, length, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= length:
            rest = whole % length // part
            return f"{sign}{whole // length} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{sign}{whole} s"


def clock(seconds: float) -> str:
    """Return a point in time, given in seconds since the epoch, as this place's clocks show it."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):  # it is beyond what this machine's calendar knows
        return f"{_float(seconds):g}"


def _float(number: float) -> float:
    """Return a number as a float, which an integer of JSON may be too large for."""
    try:
        return float(number)
    except OverflowError:
        return float("-inf") if number < 0 else float("inf")


def amount(value: float, unit: str) -> str:
    """Return a number with its unit; bytes as a size."""
    if unit == "bytes":
        return size(value)
    number = f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.1f}"
    return f"{number} {unit}" if unit else number


def by_key(key: str, value: Any) -> str | None:
    """Return a number as its key says that it is meant; None if that says nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    last = key.lower().rpartition("_")[2].rpartition(".")[2]
    if last in _SIZE_KEYS:
        return size(value)
    if last in _AGE_KEYS and abs(value) < _TIMES[1]:
        return age(value)
    if last in _TIME_KEYS and _TIMES[0] < value < _TIMES[1]:
        return clock(value)
    return None
