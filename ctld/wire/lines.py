"""What the lines of the native dialect mean (native protocol, N1, N2, N4).

Almost every line is an ordinary request, and those that arrive together are decoded with as
few looks at their bytes as possible: each look is for something that the decoder would pass
over in silence.  Whatever may be something else is read by `parse_line()`, which says
exactly what is wrong.
"""

import re
import sys
from typing import Any, Final, TypeGuard

import msgspec

from ctld.errors import RemoteProtocolError
from ctld.wire.jsontext import MAX_NESTING, decode_deep, is_suspect, is_too_deep
from ctld.wire.messages import NO_OPTIONS, Cancel, Incoming, Invalid, Request, RequestId

__all__ = [
    "MAX_ID_BYTES",
    "MAX_PLAIN",
    "SYNTAX_MESSAGE",
    "is_request_id",
    "parse_line",
    "plain_requests",
]

# An id is echoed in every message about its request; what is longer is data, not a name.
MAX_ID_BYTES: Final = 256

# The ancestor's words, which its users know.
SYNTAX_MESSAGE: Final = "syntax error, expected a valid JSON"

_BAD_ID: Final = f"id must be a 64-bit integer or a string of at most {MAX_ID_BYTES} bytes"
_BAD_DEADLINE: Final = "deadline must be a number of seconds above 0"
_HTTP: Final = re.compile(rb"[A-Z]{3,10} \S{1,4096} HTTP/\d")

# Of all values of JSON an object begins with the greatest byte.  To compare is the quickest
# way to tell one from options that were skipped unseen; to look at the byte takes four times as long.
_LEAST_OBJECT: Final = bytearray(b"{")


class _Line(Request, frozen=True, gc=False, forbid_unknown_fields=False):
    """A line with further keys; one that has `cancel` is a wish, whatever else it has (N4)."""

    cancel: Any = msgspec.UNSET  # which is no value that JSON has; null is one


_decode_request = msgspec.json.Decoder(Request).decode
_decode_line = msgspec.json.Decoder(_Line).decode
_decode_any = msgspec.json.Decoder().decode

# A line this short cannot be nested too deeply: every level takes two of its bytes.
MAX_PLAIN: Final = 2 * MAX_NESTING


def plain_requests(chunk: bytes) -> list[Request] | None:
    """Decode lines that are all ordinary requests without id or deadline; None if one may be anything else.

    Args:
        chunk: Whole lines, with their newlines.
    """
    try:
        if not chunk.isascii():
            chunk.decode()  # the options are not decoded here, but they must be UTF-8 too
        lines = chunk.split(b"\n")
        lines.pop()
        if len(chunk) > MAX_PLAIN and max(map(len, lines)) > MAX_PLAIN:
            return None
        requests = []
        for line in lines:
            request = _decode_request(line)
            options = request.options
            if request.id is not None or request.deadline is not None:
                return None
            if options is not NO_OPTIONS and options < _LEAST_OBJECT:  # type: ignore[operator]  # decoded just now, it is Raw
                return None
            requests.append(request)
    except (ValueError, RecursionError, msgspec.DecodeError):
        return None
    return requests


def _checked(line: _Line) -> Request | Invalid:
    """Return the request of a line, once that is looked at which the decoder cannot check (N2, N4)."""
    if line.id is not None and not is_request_id(line.id):
        return Invalid("bad-request", _BAD_ID)
    if line.deadline is not None and not line.deadline > 0:
        return Invalid("bad-request", _BAD_DEADLINE, line.id)
    return Request(line.cmd, line.options, line.id, line.deadline, line.stream, line.detach, line.session)


def parse_line(text: bytes | bytearray) -> Incoming | None:
    """Return what one line of the client means (N1, N2, N4); it is not blank.

    None means nothing at all: a wish to cancel what cannot be the id of a request.

    Raises:
        RemoteProtocolError: It is the first line of an HTTP request.
    """
    deep: Any = None
    try:
        if not text.isascii():
            text.decode()  # the options are not decoded here, but they must be UTF-8 too
        if is_suspect(text):
            deep = _decode_suspect(text)
        line = _decode_line(text)
        if line.cancel is not msgspec.UNSET or line.options < _LEAST_OBJECT:  # type: ignore[operator]  # decoded just now, it is Raw
            return _parse_unusual(text, deep)
        return _checked(line)
    except msgspec.ValidationError:
        return _parse_unusual(text, deep)
    except RecursionError:
        # Too deep for this stack, and within our own bound.
        return Invalid("syntax", SYNTAX_MESSAGE) if deep is None else _parse_value(deep)
    except (ValueError, msgspec.DecodeError):
        # Any web page may have a browser post lines to a TCP port of this machine: the first one gives it away.
        if _HTTP.match(text):
            raise RemoteProtocolError("this is no web server") from None
        return Invalid("syntax", SYNTAX_MESSAGE)


def _decode_suspect(text: bytes | bytearray) -> Any:
    """Return the value of a text that may be nested too deeply; None if only its nesting can be told.

    Options may hold numbers that no float can and half surrogate pairs; whoever decodes them says so, and
    the number of brackets beside them must make no difference.

    Raises:
        ValueError: It is nested too deeply.
    """
    try:
        return decode_deep(text)
    except ValueError:
        if is_too_deep(text):
            raise
        return None


def _parse_unusual(text: bytes | bytearray, deep: Any) -> Incoming | None:
    """Return what a line means that is no ordinary request; `deep` is its value, if it is known already."""
    if deep is not None:
        return _parse_value(deep)
    try:
        value = _decode_any(text)
    except (ValueError, msgspec.DecodeError):  # a number that no float can hold, for one
        return Invalid("syntax", SYNTAX_MESSAGE)
    return _parse_value(value)


def _parse_value(value: Any) -> Incoming | None:
    """Return what a decoded line means, or what exactly is wrong with it."""
    if not isinstance(value, dict):
        return Invalid("bad-request", f"expected a JSON object, got {_kind(value)}")
    if "cancel" in value:
        wanted = value["cancel"]
        return Cancel(wanted) if wanted is None or is_request_id(wanted) else None
    request_id = value.get("id")
    if request_id is not None and not is_request_id(request_id):
        return Invalid("bad-request", _BAD_ID)
    problem = _problem(value)
    if problem:
        return Invalid("bad-request", problem, request_id)
    options = value.get("opts")
    if options is None:
        options = {}
    elif not isinstance(options, dict):
        return Invalid("invalid-options", f"opts must be an object, not {_kind(options)}", request_id, {"path": "$"})
    return Request(
        value["cmd"],
        options,
        request_id,
        value.get("deadline"),
        bool(value.get("stream")),
        bool(value.get("detach")),
        value.get("session"),
    )


def _problem(request: dict[str, Any]) -> str:
    """Say what is wrong with the members of a request beside `id` and `opts`; "" if nothing is."""
    if "cmd" not in request:
        return "the key cmd is missing"
    if not isinstance(request["cmd"], str):
        return f"cmd must be a string, not {_kind(request['cmd'])}"
    deadline = request.get("deadline")
    if deadline is not None and not (type(deadline) in (int, float) and 0 < deadline <= sys.float_info.max):
        return _BAD_DEADLINE
    for key in ("stream", "detach"):
        if not isinstance(request.get(key), bool | None):
            return f"{key} must be true or false"
    if not isinstance(request.get("session"), dict | None):
        return "session must be an object"
    return ""


def is_request_id(value: object) -> TypeGuard[RequestId]:
    """Tell whether a value can be the id of a request (N4)."""
    if type(value) is int:
        return -(2**63) <= value < 2**64
    return type(value) is str and len(value.encode(errors="surrogatepass")) <= MAX_ID_BYTES


def _kind(value: object) -> str:
    """Name a decoded value as JSON does."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"
