"""How results look on this standard output: as wide as it is, coloured where that is wanted."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from ctlctl.output import complain, is_terminal, neutral, plain, write_line
from ctlctl.table import cell, choose, columns_of, display_width, fields, is_table, line, pick, table

if TYPE_CHECKING:
    from ctlctl.arguments import Arguments

__all__ = ["Rows", "coloured", "result", "tell_nothing", "width"]

_BOLD, _END = "\x1b[1m", "\x1b[0m"
_LEAST_WIDTH = 20  # a terminal that says less does not know, or nobody can read it anyway
_STREAM_COLUMN = 8  # columns of a table whose further rows are not known yet


def width(number: int = 1) -> int:
    """Return the columns of a standard stream's terminal; 0 if it is none."""
    stream = (sys.stdin, sys.stdout, sys.stderr)[number]
    if stream is None or not os.isatty(number):
        return 0
    try:
        columns = os.get_terminal_size(number).columns
    except OSError:
        columns = 0
    return max(columns, _LEAST_WIDTH) if columns else 80


def coloured() -> bool:
    """Tell whether results are coloured: on a terminal that can, unless NO_COLOR says no."""
    return is_terminal(1) and not os.environ.get("NO_COLOR")


def result(value: Any, arguments: Arguments) -> str:
    """Return an object or a list as text for people."""
    value = choose(value, arguments.columns, arguments.sort)
    if is_table(value):
        return table(value, columns=arguments.columns, width=width(), colour=coloured())
    if isinstance(value, dict) and value:
        return fields(value, width=width(), colour=coloured())
    if isinstance(value, list) and not any(isinstance(each, dict | list) for each in value):
        return "\n".join(neutral(each) if isinstance(each, str) else cell("", each) for each in value)
    return plain(value)


def tell_nothing(arguments: Arguments, text: str = "(none)") -> None:
    """Say that there is nothing to show; not to a program that reads the standard output.

    Args:
        arguments: Whether progress is unwanted, and so this.
        text: What to say.
    """
    if width():
        write_line(text)
    elif not arguments.quiet:
        complain("", text)


class Rows:
    """A table whose rows come one by one, so that its columns are decided by the first of them.

    Args:
        arguments: Which columns are wanted.
    """

    def __init__(self, arguments: Arguments) -> None:
        self._wanted = arguments.columns
        self._keys: list[str] = []
        self._shape: list[str] = []
        self._widths: list[int] = []

    def next(self, row: dict[str, Any]) -> str:
        """Return the next row, below a head where its keys are not those of the last one."""
        head = ""
        shape = sorted(row)
        if shape != self._shape:
            self._shape = shape
            self._keys = list(self._wanted) or columns_of([row], keep=True)
            texts = [cell(key, pick(row, key)) for key in self._keys]
            heads = [neutral(key, frozenset()).upper().replace("_", " ") for key in self._keys]
            self._widths = [
                max(display_width(head), display_width(text), _STREAM_COLUMN)
                for head, text in zip(heads, texts, strict=True)
            ]
            paints = [_BOLD] * len(heads) if coloured() else []
            head = line(heads, self._widths, [False] * len(heads), paints) + "\n"
        cells = [cell(key, pick(row, key)) for key in self._keys]
        # A cell that turns out wider moves what follows: nothing is lost for tidiness.
        widths = [max(wide, display_width(text)) for wide, text in zip(self._widths, cells, strict=True)]
        return head + line(cells, widths, [False] * len(cells))
