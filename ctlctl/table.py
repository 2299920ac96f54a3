"""Results as tables and as keys with values; pure.

A table fits the width that it is given: the widest columns give way first, and what is cut
off ends in an ellipsis.  Width 0 is no terminal, where nothing is cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unicodedata import combining, east_asian_width

from ctlctl.exits import UsageError
from ctlctl.human import by_key
from ctlctl.output import json_line, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "cell",
    "choose",
    "columns_of",
    "cut",
    "display_width",
    "fields",
    "fit",
    "is_table",
    "line",
    "order",
    "pick",
    "table",
]

_GAP = 2  # blanks between columns
_LEAST = 6  # columns narrower than that say nothing any more
_MAX_DEPTH = 6  # of nested objects that are laid out; deeper ones are JSON on one line

_BOLD, _DIM, _GREEN, _RED, _YELLOW, _END = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[33m", "\x1b[0m"
_STATE_KEYS = frozenset(("state", "status"))
_GOOD = frozenset(("running", "ok", "done", "up", "active", "ready", "online", "started", "held"))
_BAD = frozenset(("failed", "error", "dead", "fatal", "lost", "broken", "crashed", "backoff"))


def is_table(value: object) -> bool:
    """Tell whether a value is a list of objects, and so a table."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) and row for row in value)


def choose(value: Any, columns: Sequence[str], sort: Sequence[str]) -> Any:
    """Return a result with only these keys, in this order of keys and rows; other values as they are.

    Raises:
        UsageError: No row has such a column.
    """
    if isinstance(value, dict):
        return {key: pick(value, key) for key in columns if _has([value], key)} if columns else value
    if not is_table(value):
        return value
    rows = order(value, sort)
    _check(rows, columns)
    return [{key: pick(row, key) for key in columns} for row in rows] if columns else rows


def order(rows: Sequence[Mapping[str, Any]], sort: Sequence[str]) -> list[Any]:
    """Return rows in order of columns, `-` before one for the highest first; nulls are last.

    Raises:
        UsageError: No row has such a column.
    """
    result = list(rows)
    _check(result, [key.removeprefix("-") for key in sort])
    for key in reversed(sort):
        name, descending = key.removeprefix("-"), key.startswith("-")
        known = [row for row in result if pick(row, name) is not None]
        known.sort(key=lambda row: _rank(pick(row, name)), reverse=descending)
        result = known + [row for row in result if pick(row, name) is None]
    return result


def _check(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> None:
    for key in keys:
        if rows and not _has(rows, key):
            names = ", ".join(one_line(name) for name in columns_of(rows, keep=True))
            raise UsageError(f"there is no column {key!r}: there are {names}")


def _has(rows: Sequence[Mapping[str, Any]], key: str) -> bool:
    head, dot, rest = key.partition(".")
    return any(key in row or (dot and isinstance(row.get(head), dict) and _has([row[head]], rest)) for row in rows)


def pick(row: Mapping[str, Any], key: str) -> Any:
    """Return what stands under a key, or under a path of them with dots."""
    if key in row:
        return row[key]
    head, dot, rest = key.partition(".")
    inner = row.get(head)
    return pick(inner, rest) if dot and isinstance(inner, dict) else None


def _rank(value: Any) -> tuple[int, Any]:
    if isinstance(value, int | float):
        return 0, value
    if isinstance(value, str):
        return 1, value.casefold()
    return 2, json_line(value)


def columns_of(rows: Sequence[Mapping[str, Any]], *, keep: bool = False) -> list[str]:
    """Return the keys of all rows, as they first appear; without those that are empty everywhere."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return [key for key in keys if keep or any(row.get(key) not in (None, "", [], {}) for row in rows)] or list(keys)


def table(
    rows: Sequence[Mapping[str, Any]], *, columns: Sequence[str] = (), width: int = 0, colour: bool = False
) -> str:
    """Return rows as a table with a head."""
    keys = list(columns) or columns_of(rows)
    body = [[cell(key, pick(row, key)) for key in keys] for row in rows]
    right = [_is_numeric([pick(row, key) for row in rows]) for key in keys]
    heads = [one_line(key).upper().replace("_", " ") for key in keys]
    wanted = [max(display_width(text) for text in column) for column in zip(heads, *body, strict=True)]
    widths = fit(wanted, width)
    head = line(heads, widths, right, [_BOLD] * len(keys) if colour else [])
    lines = [
        line(cells, widths, right, [_paint(key, pick(row, key)) for key in keys] if colour else [])
        for row, cells in zip(rows, body, strict=True)
    ]
    return "\n".join([head, *lines])


def fit(wanted: Sequence[int], width: int) -> list[int]:
    """Return widths that fit into a width: the widest columns give way first."""
    widths = list(wanted)
    room = width - _GAP * (len(widths) - 1)
    while width and sum(widths) > room and max(widths) > _LEAST:
        widest = max(widths)
        at = [index for index, each in enumerate(widths) if each == widest]
        second = max((each for each in widths if each < widest), default=_LEAST)
        over = sum(widths) - room
        cut = min(-(-over // len(at)), widest - max(second, _LEAST)) or 1
        for index in at:
            if sum(widths) > room:
                widths[index] -= cut
    return widths


def line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool], paints: Sequence[str] = ()) -> str:
    """Return one row, each cell as wide as its column."""
    parts = []
    for index, (text, width) in enumerate(zip(cells, widths, strict=True)):
        shown = cut(text, width)
        blanks = " " * (width - display_width(shown))
        if paints and paints[index]:
            shown = f"{paints[index]}{shown}{_END}"
        last = index == len(widths) - 1
        parts.append(blanks + shown if right[index] else shown if last else shown + blanks)
    return (" " * _GAP).join(parts).rstrip()


def fields(value: Mapping[str, Any], *, width: int = 0, colour: bool = False, depth: int = 0) -> str:
    """Return an object as lines of keys and values; what is nested stands below, indented."""
    indent = "  " * depth
    names = {key: one_line(key).replace("_", " ") for key in value}
    longest = max((display_width(name) for name in names.values()), default=0)
    lines = []
    for key, inner in value.items():
        name = f"{_BOLD}{names[key]}{_END}" if colour else names[key]
        below = _below(inner, max(width - 2 * depth - 2, 0) if width else 0, colour, depth)
        if below:
            lines.append(f"{indent}{name}:")
            lines.append(below)
        else:
            text = cell(key, inner)
            paint = _paint(key, inner) if colour else ""
            blanks = " " * (longest - display_width(names[key]) + _GAP)
            lines.append(f"{indent}{name}{blanks}{paint}{text}{_END if paint else ''}".rstrip())
    return "\n".join(lines)


def _below(value: Any, width: int, colour: bool, depth: int) -> str:
    """Return what has to stand in lines of its own; "" for what fits behind its key."""
    if depth >= _MAX_DEPTH:
        return ""
    if isinstance(value, dict) and value:
        return fields(value, width=width, colour=colour, depth=depth + 1)
    pad = "  " * (depth + 1)
    if is_table(value):
        return "\n".join(pad + each for each in table(value, width=width, colour=colour).splitlines())
    if isinstance(value, str) and "\n" in value.rstrip("\n"):
        return "\n".join(pad + one_line(each) for each in value.splitlines())
    return ""


def cell(key: str, value: Any) -> str:
    """Return a value as one piece of text."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, int | float):
        return by_key(key, value) or (f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 else str(value))
    if isinstance(value, list):
        if not value:
            return "-"
        if not any(isinstance(each, dict | list) for each in value):
            return ", ".join(cell("", each) for each in value)
    elif isinstance(value, dict):
        if not value:
            return "-"
        if not any(isinstance(each, dict | list) for each in value.values()):
            return " ".join(f"{one_line(name)}={cell(name, each)}" for name, each in value.items())
    return json_line(value)


def _is_numeric(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)


def _paint(key: str, value: Any) -> str:
    if value in (None, "", [], {}):
        return _DIM
    if key in _STATE_KEYS and isinstance(value, str):
        word = value.lower()
        return _GREEN if word in _GOOD else _RED if word in _BAD else _YELLOW
    return ""


def display_width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def _width(letter: str) -> int:
    return 0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1


def cut(text: str, width: int) -> str:
    """Return as much of a text as fits, with an ellipsis where something is missing.

    A text comes from others: however long it is, and made of what takes no room, this takes one look at each letter.
    """
    if display_width(text) <= width:
        return text
    if text.isascii():
        return f"{text[: max(width - 1, 0)]}…"
    room, letters = width - 1, 0
    for letter in text:
        room -= _width(letter)
        if room < 0:
            break
        letters += 1
    return f"{text[:letters]}…"
