"""A terminal's screen, as far as `ctlctl` makes use of it, and a picture of it."""

import re
from collections.abc import Iterator
from html import escape
from itertools import groupby
from typing import Final, NamedTuple, TypeAlias

__all__ = ["PLAIN", "Line", "Screen", "Style", "svg"]


class Style(NamedTuple):
    """How a character looks.

    Attributes:
        colour: The number of one of the eight colours; -1: the usual one.
        bold: Whether it is bold.
        dim: Whether it is faint.
    """

    colour: int = -1
    bold: bool = False
    dim: bool = False


Line: TypeAlias = list[tuple[str, Style]]

PLAIN: Final = Style()

_CONTROL: Final = re.compile(r"\x1b\[(?P<arguments>[0-9;?]*)(?P<letter>[A-Za-z])")

# Readable on light and dark pages alike, since the picture brings its own background.
_BACKGROUND, _FOREGROUND = "#1b1f27", "#d7dce5"
_COLOURS: Final = ("#5c6370", "#ff7b72", "#7ee787", "#f2cc60", "#79c0ff", "#d2a8ff", "#76e3ea", "#ffffff")
_WIDTH, _HEIGHT, _MARGIN = 8.4, 19, 16  # of a character, and around all of them
_FONT: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


class Screen:
    """What programs have written: lines, colours, going up, erasing to the right.

    Attributes:
        lines: The lines, as characters with their looks.
    """

    def __init__(self) -> None:
        self.lines: list[Line] = [[]]
        self._row = self._column = 0
        self._style = PLAIN

    def write(self, text: str) -> None:
        """Show what a program has written.

        Raises:
            ValueError: It has written something of which nothing is known here.
        """
        position = 0
        while position < len(text):
            character = text[position]
            if match := _CONTROL.match(text, position):
                self._control(match["letter"], match["arguments"])
                position = match.end()
                continue
            position += 1
            if character == "\n":
                self._row += 1
            elif character == "\r":
                self._column = 0
            elif character >= " ":
                self._put(character)
            else:
                raise ValueError(f"the screen does not know {character!r}")
            self.lines.extend([] for _ in range(self._row + 1 - len(self.lines)))

    def text(self) -> str:
        """Return what can be read."""
        return "\n".join("".join(character for character, _ in line).rstrip() for line in self.lines)

    def _put(self, character: str) -> None:
        line = self.lines[self._row]
        line.extend((" ", PLAIN) for _ in range(self._column - len(line)))
        line[self._column : self._column + 1] = [(character, self._style)]
        self._column += 1

    def _control(self, letter: str, arguments: str) -> None:
        if letter == "K":
            del self.lines[self._row][self._column :]
        elif letter == "A":
            self._row = max(0, self._row - int(arguments or 1))
        elif letter == "m":
            for number in (arguments or "0").split(";"):
                self._style = _styled(self._style, int(number))
        else:
            raise ValueError(f"the screen does not know ESC [ {arguments} {letter}")


def _styled(style: Style, number: int) -> Style:
    if number in (1, 2):
        return style._replace(bold=number == 1, dim=number == 2)
    if 30 <= number <= 37:
        return style._replace(colour=number - 30)
    return PLAIN


def svg(lines: list[Line], columns: int, title: str) -> str:
    """Draw a screen."""
    while lines and not lines[-1]:
        lines = lines[:-1]
    width, height = round(columns * _WIDTH) + 2 * _MARGIN, len(lines) * _HEIGHT + 2 * _MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title)}">\n<title>{escape(title)}</title>\n'
        f'<rect width="{width}" height="{height}" rx="8" fill="{_BACKGROUND}"/>\n'
        f'<g font-family="{_FONT}" font-size="14" fill="{_FOREGROUND}" xml:space="preserve">\n'
    )
    rows = (_row(line, _MARGIN + number * _HEIGHT + 14) for number, line in enumerate(lines))
    return head + "".join(rows) + "</g>\n</svg>\n"


def _row(line: Line, y: int) -> str:
    spans = "".join(_spans(line))
    return f'<text y="{y}">{spans}</text>\n' if spans else ""


def _spans(line: Line) -> Iterator[str]:
    """Put each run of a style at its column: the font that is there may have another width."""
    column = 0
    for style, run in groupby(line, key=lambda cell: cell[1]):
        text = "".join(character for character, _ in run)
        start, column = column, column + len(text)
        if not text.strip():
            continue
        colour = f' fill="{_COLOURS[style.colour]}"' if style.colour >= 0 else ""
        weight = ' font-weight="bold"' if style.bold else ""
        faint = ' opacity="0.6"' if style.dim else ""
        place = f'x="{_MARGIN + start * _WIDTH:.1f}" textLength="{len(text) * _WIDTH:.1f}"'
        yield f"<tspan {place}{colour}{weight}{faint}>{escape(text, quote=False)}</tspan>"
