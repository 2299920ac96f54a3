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
from ctld.wire.messages import NO_OPTIONS, Cancel, Incoming, Invalid, Options, Request, RequestId

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
_OPENING_BRACE: Final = ord("{")
_BACKSLASH: Final = ord("\\")


class _Wish(msgspec.Struct, gc=False):
    """Whether a line has a key `cancel`; UNSET is no value that JSON has, null is one."""

    cancel: Any = msgspec.UNSET


_decode_request = msgspec.json.Decoder(Request).decode
_decode_requests = msgspec.json.Decoder(Request).decode_lines
_decode_wish = msgspec.json.Decoder(_Wish).decode
_decode_any = msgspec.json.Decoder().decode

# A line this short cannot be nested too deeply: every level takes two of its bytes.
MAX_PLAIN: Final = 2 * MAX_NESTING


def plain_requests(chunk: bytes) -> list[Request] | None:
    """Decode lines that are all ordinary requests without id or deadline; None if one may be anything else.

    Args:
        chunk: Whole lines, with their newlines.
    """
    # `find` of several bytes, and `in` of one, are the quick ways to look.
    if chunk.find(b"cancel") >= 0 or (_BACKSLASH in chunk and chunk.find(b"\\u") >= 0):  # an escape may spell any key
        return None
    size = len(chunk)
    try:
        if not chunk.isascii():
            chunk.decode()  # the options are not decoded here, but they must be UTF-8 too
        if chunk.find(b"\n") == size - 1 <= MAX_PLAIN:
            requests = [_decode_request(chunk)]
        else:
            lines = chunk.split(b"\n")
            lines.pop()
            if size > MAX_PLAIN and max(map(len, lines)) > MAX_PLAIN:
                return None
            requests = list(map(_decode_request, lines))
    except (ValueError, RecursionError, msgspec.DecodeError):
        return None
    for request in requests:
        if request.id is not None or request.deadline is not None:
            return None
        if request.options is not NO_OPTIONS and not _is_object(request.options):
            return None
    return requests


def _checked(request: Request) -> Request | Invalid:
    """Look at what the decoder cannot check of a request (N2, N4)."""
    if request.id is not None and not is_request_id(request.id):
        return Invalid("bad-request", _BAD_ID)
    if request.deadline is not None and not request.deadline > 0:
        return Invalid("bad-request", _BAD_DEADLINE, request.id)
    return request


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
        if (b"cancel" in text or b"\\u" in text) and _decode_wish(text).cancel is not msgspec.UNSET:
            return _parse_unusual(text, deep)
        request = _decode_request(text)
        if not _is_object(request.options):
            return _parse_unusual(text, deep)
        return _checked(request)
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


def _is_object(options: Options) -> bool:
    """Tell whether options that were decoded just now are an object: what is none is skipped unseen."""
    return memoryview(options)[0] == _OPENING_BRACE  # type: ignore[arg-type]  # what was decoded is Raw
