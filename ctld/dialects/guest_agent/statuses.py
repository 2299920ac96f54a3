"""What a command monitor says by itself: six numbers, each with its sentence, and how text is written in them."""

import re
from enum import IntEnum
from typing import Final

__all__ = ["Status", "failure_body", "json_string"]


class Status(IntEnum):
    """The statuses of the wire; 0 is success by convention, and all other numbers are the handlers' own."""

    COMMAND_NOT_FOUND = 101
    BAD_REQUEST = 102
    CONNECTION_ERROR = 103
    TIMEOUT = 104
    HANDLER_ERROR = 105
    INTERNAL_ERROR = 106


_MESSAGES: Final = {
    Status.COMMAND_NOT_FOUND: "Could not find a handler for the requested command",
    Status.BAD_REQUEST: "Could not parse valid JSON from request",
    Status.CONNECTION_ERROR: "Connection error",
    Status.TIMEOUT: "Connection timeout before reading valid request",
    Status.HANDLER_ERROR: "The command handler encountered an error processing your request",
    Status.INTERNAL_ERROR: "The command server encountered an internal error trying to respond to your request",
}

# What Go's encoder escapes: what could end a script in a page, and what JSON demands.
_ESCAPED: Final = re.compile('["\\\\<>&\x00-\x1f\u2028\u2029\ud800-\udfff]')
_SHORT: Final = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def failure_body(status: int, message: str = "") -> bytes:
    """Return the answer with a status.

    Args:
        status: The status.
        message: What to say about it; empty: what the wire says of that status.
    """
    text = message or _MESSAGES[Status(status)]
    return b'{"Status":%d,"StatusMessage":%s}' % (status, json_string(text).encode())


def json_string(text: str) -> str:
    """Write a string as Go's encoder does; what is no text becomes U+FFFD."""
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in _SHORT:
        return _SHORT[character]
    code = 0xFFFD if "\ud800" <= character <= "\udfff" else ord(character)
    return f"\\u{code:04x}"
