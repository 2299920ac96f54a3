"""In which line of a TOML text a key stands.

`tomllib` says what a text means, but not where; an error in a configuration that names its
line is worth a hundred lines of code.  This is the other half: it reads a text that
`tomllib` has accepted, so it only has to find its way and may trust the grammar, and notes
the line of every table, key and element.

Theory.  A path is a tuple of keys and indices, `("listen", 0, "mode")`.  What a header
names depends on what came before: in `[a.b]` the `a` may be an array of tables, and then
its last element is meant.  So the scanner counts the elements of each such array.  Below
a header everything is a key and a value; only arrays and inline tables open another level.
"""

import re
import tomllib
from typing import Final, TypeAlias

__all__ = ["Path", "line_of", "toml_lines"]

Path: TypeAlias = tuple[str | int, ...]

_GAP: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
# In this order: three quotes are not an empty string and a quote more.
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")'
    r"|'''.*?'{3,5}(?!')"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]+")


def toml_lines(text: str) -> dict[Path, int]:
    """Return the line, from 1, of every table, key and array element.

    Args:
        text: What `tomllib.loads()` has accepted; for other text the result means nothing.
    """
    return _Scanner(text.replace("\r\n", "\n")).scan()


def line_of(lines: dict[Path, int], path: Path) -> int | None:
    """Return the line of what a path names, or of the nearest thing around it."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0  # how far the newlines are in `_line`
        self._lines: dict[Path, int] = {}
        self._arrays: dict[Path, int] = {}  # arrays of tables, and how many elements they have so far

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        self._skip(_GAP)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_GAP)
        return self._lines

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise ValueError(f"no TOML at offset {self._at}")
        self._at = found.end()
        return found[0]

    def _ahead(self, token: str) -> bool:
        """Step over a token if it comes next."""
        if self._text.startswith(token, self._at):
            self._at += len(token)
            return True
        return False

    def _note(self, path: Path) -> None:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        self._lines.setdefault(path, self._line)

    def _header(self) -> Path:
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        keys = self._keys()
        self._at += 2 if is_array else 1
        path: Path = ()
        for key in keys[:-1]:
            path = self._current((*path, key))
            self._note(path)
        path = (*path, keys[-1])
        if is_array:
            self._arrays[path] = self._arrays.get(path, 0) + 1
            self._note(path)
        path = self._current(path)
        # A table may have come into being before, by the header of one within it.
        self._lines.pop(path, None)
        self._note(path)
        return path

    def _current(self, path: Path) -> Path:
        """Name the last element, where the path names an array of tables."""
        count = self._arrays.get(path)
        return path if count is None else (*path, count - 1)

    def _keys(self) -> list[str]:
        keys = []
        while True:
            self._skip(_BLANK)
            if self._text[self._at] in "\"'":
                keys.append(str(tomllib.loads(f"key = {self._skip(_STRING)}")["key"]))
            else:
                keys.append(self._skip(_BARE_KEY))
            self._skip(_BLANK)
            if not self._ahead("."):
                return keys

    def _pair(self, table: Path) -> None:
        path = table
        for key in self._keys():
            path = (*path, key)
            self._note(path)
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        if self._ahead("["):
            self._elements(path)
        elif self._ahead("{"):
            self._skip(_GAP)
            while not self._ahead("}"):
                self._pair(path)
                self._skip(_GAP)
                self._ahead(",")
                self._skip(_GAP)
        elif self._text[self._at] in "\"'":
            self._skip(_STRING)
        else:
            self._skip(_SCALAR)

    def _elements(self, path: Path) -> None:
        index = 0
        self._skip(_GAP)
        while not self._ahead("]"):
            self._note((*path, index))
            self._value((*path, index))
            self._skip(_GAP)
            self._ahead(",")
            self._skip(_GAP)
            index += 1
