"""When a request is complete, and what it asks for.

Theory of operation.  Nothing ends a request: one JSON value comes, and the client waits.
So the bytes alone must say when it is whole.  The scanner follows brackets and strings, each byte
once, whatever the sizes of the pieces, and asks the parser once at most: when the outermost
bracket has closed.  Text that has gone wrong cannot become right by what follows, so from then
on nothing is kept; the wire gives no answer to that but the end of the connection.

What counts is what has arrived at a time: a second value makes a request of what came
with it invalid, but not one that was whole before.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

__all__ = ["RequestScanner", "TooLong", "field", "options_of", "understand"]

_SPACE: Final = b" \t\r\n"
_BRACKET_OR_STRING: Final = re.compile(rb'["{}\[\]]')
_QUOTE_OR_ESCAPE: Final = re.compile(rb'["\\]')
_NOT_SPACE: Final = re.compile(rb"[^ \t\r\n]")
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class TooLong(ValueError):
    """A request is longer than anybody wants to hold."""


class _Pairs(list[tuple[str, Any]]):
    """An object as it stands, since keys may come twice."""


# Whose value nobody asks for: it may have any number of digits.
_NUMBER: Final = object()


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


_GRAMMAR: Final = json.JSONDecoder(
    object_pairs_hook=_Pairs,
    parse_int=lambda _: _NUMBER,
    parse_float=lambda _: _NUMBER,
    parse_constant=_no_number,
)


class RequestScanner:
    """Takes bytes until they are a request.

    Args:
        max_size: The most bytes that a peer may send.

    Attributes:
        hopeless: Whether what came can never become a request.
        size: How many bytes came.
        command: What the request asks for, once there is one.
    """

    def __init__(self, max_size: int) -> None:
        self.hopeless = False
        self.size = 0
        self.command = ""
        self._max_size = max_size
        self._data = bytearray()
        self._position = 0
        self._depth = 0
        self._in_string = False
        self._begun = False

    @property
    def pending(self) -> int:
        """How many bytes are held."""
        return len(self._data)

    def feed(self, data: bytes) -> bytes | None:
        """Take what arrived at a time; return the request if that has made it whole.

        Raises:
            TooLong: It is longer than is taken.
        """
        self.size += len(data)
        if self.size > self._max_size:
            self._data.clear()
            raise TooLong(f"a request has at most {self._max_size} bytes")
        if self.hopeless:
            return None
        self._data += data
        complete = self._begin() and self._scan()
        if not complete:
            return None
        request = bytes(self._data)
        command = understand(request)
        if command is None:
            self._give_up()
            return None
        self.command = command
        return request

    def take_all(self) -> bytes:
        """Return, and forget, the bytes that are held."""
        data = bytes(self._data)
        self._data.clear()
        return data

    def _give_up(self) -> None:
        self.hopeless = True
        self._data.clear()

    def _begin(self) -> bool:
        """Find where the value begins; tell whether it is an object, whose end has to be found."""
        if self._begun:
            return True
        found = _NOT_SPACE.search(self._data, self._position)
        if found is None:
            self._position = len(self._data)
            return False
        if found[0] == b"{":
            self._begun = True
            self._position = found.start()
            return True
        word = bytes(self._data[found.start() :]).rstrip(_SPACE)
        if word == b"null":
            self._begun = True
            self._position = len(self._data)
            return True
        if not b"null".startswith(word) or bytes(self._data[-1:]) in (b" ", b"\t", b"\r", b"\n"):
            self._give_up()
        return False

    def _scan(self) -> bool:
        """Go on through the value; tell whether it has ended."""
        data = self._data
        while self._depth or self._position < len(data):
            pattern = _QUOTE_OR_ESCAPE if self._in_string else _BRACKET_OR_STRING
            found = pattern.search(data, self._position)
            if found is None:
                self._position = len(data)
                return False
            mark = found[0]
            if mark == b"\\":
                if found.end() == len(data):
                    self._position = found.start()  # what it escapes has not come yet
                    return False
                self._position = found.end() + 1
                continue
            self._position = found.end()
            if mark == b'"':
                self._in_string = not self._in_string
                continue
            self._depth += 1 if mark in (b"{", b"[") else -1
            if not self._depth:
                break
        return True


def understand(data: bytes) -> str | None:
    """Return the command that a complete request asks for; None: this is no complete request."""
    pairs = _pairs_of(data)
    if pairs is None:
        return None
    command = ""
    for key, value in pairs:
        if _is(key, "command"):
            if isinstance(value, str):
                command = value
            elif value is not None:
                return None
    return _LONE_SURROGATE.sub("\ufffd", command)


def field(data: bytes, name: str) -> object:
    """Return a field of a complete request, by its name in lower case; None if it is not there.

    Keys are matched without regard to case; of several the last one that is no null counts.
    """
    value: object = None
    for key, found in _pairs_of(data) or ():
        if _is(key, name) and found is not None:
            value = found
    return value


def options_of(data: bytes) -> Mapping[str, Any]:
    """Return the keys of a complete request beside its command, as values.

    Raises:
        ValueError: A number is too long to be one.
    """
    decoded = json.loads(_text(data))
    return {key: value for key, value in (decoded or {}).items() if not _is(key, "command")}


def _text(data: bytes) -> str:
    """Decode as Go does: each byte that is no UTF-8 is a U+FFFD of its own."""
    return _LONE_SURROGATE.sub("\ufffd", data.decode("utf-8", "surrogateescape"))


def _pairs_of(data: bytes) -> list[tuple[str, Any]] | None:
    try:
        value = _GRAMMAR.decode(_text(data))
    except (ValueError, RecursionError):
        return None
    if value is None:
        return []
    return value if isinstance(value, _Pairs) else None


def _is(key: str, name: str) -> bool:
    return len(key) == len(name) and key.lower() == name
