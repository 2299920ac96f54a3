r"""The native dialect: one JSON object per line, versions 1 and 2 (native protocol, N1 to N4).

Version 1 is what the ancestor's clients speak.  Version 2 only adds keys, so one codec
serves both: a client that uses none of the additions never sees one.

Three things are worth knowing before a change here.  A line is decoded in one step into a
Struct whose options stay JSON text; the dispatcher decodes those straight into the types
of the command.  The slow ways (deep nesting, finding out what exactly is wrong with a
line) are taken only for lines that need them.  And messages are joined as bytes around
one encoded value, because building a dictionary for each costs as much as encoding it.
"""

import sys
from typing import Any, Final, TypeGuard

import msgspec

from ctld.errors import LocalProtocolError
from ctld.wire.buffer import ReceiveBuffer
from ctld.wire.codec import END_OF_INPUT, NEED_DATA, Pause
from ctld.wire.jsontext import decode_deep, encode, is_suspect
from ctld.wire.messages import (
    Banner,
    Cancel,
    Failure,
    Incoming,
    Invalid,
    Item,
    Outgoing,
    Progress,
    Reply,
    Request,
    RequestId,
)

__all__ = ["FEATURES", "MAX_ID_BYTES", "PROTOCOL", "SYNTAX_MESSAGE", "NativeCodec", "is_request_id", "parse_line"]

PROTOCOL: Final = 2

FEATURES: Final = ("id", "cancel", "deadline", "stream", "detach", "progress-data")

# An id is echoed in every message about its request; what is longer is data, not a name.
MAX_ID_BYTES: Final = 256

# The ancestor's words, which its users know.
SYNTAX_MESSAGE: Final = "syntax error, expected a valid JSON"

_NO_OPTIONS: Final = msgspec.Raw(b"{}")
_ABSENT: Final = msgspec.UNSET  # no value that JSON has, so that `"cancel": null` differs from no cancel


_OPENING_BRACE: Final = ord("{")


class _Line(msgspec.Struct, gc=False):
    """One line of the client, in the types that a good one has."""

    cmd: str
    opts: msgspec.Raw = _NO_OPTIONS
    id: int | str | None = None
    deadline: float | None = None
    stream: bool = False
    detach: bool = False
    session: dict[str, Any] | None = None
    cancel: Any = _ABSENT


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_any = msgspec.json.Decoder().decode


class NativeCodec:
    """The server's side of one native connection.

    Args:
        max_line: The longest line to take, in bytes, without its newline.
    """

    __slots__ = ("_buffer", "_eof", "_max_line", "_out", "_skipping")

    def __init__(self, max_line: int = 16 * 1024 * 1024) -> None:
        self._buffer = ReceiveBuffer()
        self._out = bytearray()
        self._max_line = max_line
        self._skipping = False
        self._eof = False

    @property
    def pending(self) -> int:
        """How many received bytes are not understood yet."""
        return len(self._buffer)

    def receive_data(self, data: bytes) -> None:
        """Take bytes that the peer sent."""
        self._buffer.feed(data)

    def receive_eof(self) -> None:
        """Learn that the peer will send no more: what it sent last counts as a line (N2)."""
        self._eof = True

    def next_event(self) -> Incoming | Pause:
        """Return the next event; blank lines make none (N2)."""
        buffer = self._buffer
        while True:
            if self._skipping:
                if not buffer.skip_through(b"\n"):
                    return END_OF_INPUT if self._eof else NEED_DATA
                self._skipping = False
            line = buffer.take_line()
            if line is None:
                if len(buffer) > self._max_line:
                    self._skipping = True
                    return self._too_large()
                if not self._eof:
                    return NEED_DATA
                line = bytearray(buffer.take_all())
                if not line:
                    return END_OF_INPUT
            if len(line) > self._max_line:
                return self._too_large()
            if line and not line.isspace():
                event = parse_line(line)
                if event is not None:
                    return event

    def send(self, message: Outgoing, request_id: RequestId | None = None) -> int:
        """Encode a message; with the id of its request if that had one (N4).

        Returns:
            How many bytes wait to be sent.

        Raises:
            LocalProtocolError: JSON cannot carry it; nothing of it has been written.
        """
        if type(message) is Reply:
            line = b'{"status":true,"response":%b' % encode(message.response)
        elif type(message) is Progress:
            line = _progress_line(message)
        elif type(message) is Item:
            line = b'{"status":true,"item":%b' % encode(message.item)
        elif type(message) is Failure:
            line = _failure_line(message)
        elif type(message) is Banner:
            line = encode(message)[:-1]
        else:
            raise LocalProtocolError(f"a server does not send a {type(message).__name__}")
        if request_id is None:
            line += b"}\n"
        else:
            line += b',"id":%b}\n' % encode(request_id)
        self._out += line
        return len(self._out)

    def data_to_send(self) -> bytes:
        """Return, and forget, the bytes to write."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def trailing_data(self) -> bytes:
        """Return, and forget, the bytes that were received and not understood yet (N5)."""
        return self._buffer.take_all()

    def _too_large(self) -> Invalid:
        return Invalid("too-large", f"the request exceeds {self._max_line} bytes", fields={"max_line": self._max_line})


def parse_line(text: bytes | bytearray) -> Incoming | None:
    """Return what one line of the client means (N1, N2, N4); it is not blank.

    None means nothing at all: a wish to cancel what cannot be the id of a request.
    """
    try:
        if not text.isascii():
            text.decode()  # the options are not decoded here, but they must be UTF-8 too
        if is_suspect(text):
            return _parse_value(decode_deep(text), len(text))
        line = _decode_line(text)
        if not _is_usual(line):
            return _parse_value(_decode_any(text), len(text))
    except msgspec.ValidationError:
        return _parse_unusual(text)
    except (ValueError, msgspec.DecodeError):
        return Invalid("syntax", SYNTAX_MESSAGE)
    return Request(line.cmd, line.opts, line.id, line.deadline, line.stream, line.detach, line.session, len(text))


def _is_usual(line: _Line) -> bool:
    """Tell whether a decoded line is a request in which nothing more can be wrong."""
    return (
        line.cancel is _ABSENT
        and (line.opts is _NO_OPTIONS or memoryview(line.opts)[0] == _OPENING_BRACE)
        and (line.id is None or is_request_id(line.id))
        and (line.deadline is None or line.deadline > 0)
    )


def _parse_unusual(text: bytes | bytearray) -> Incoming | None:
    try:
        value = _decode_any(text)
    except (ValueError, msgspec.DecodeError):  # a number that no float can hold, for one
        return Invalid("syntax", SYNTAX_MESSAGE)
    return _parse_value(value, len(text))


def _parse_value(value: Any, size: int) -> Incoming | None:
    """Return what a decoded line means, or what exactly is wrong with it."""
    if not isinstance(value, dict):
        return Invalid("bad-request", f"expected a JSON object, got {_kind(value)}")
    if "cancel" in value:
        wanted = value["cancel"]
        return Cancel(wanted) if wanted is None or is_request_id(wanted) else None
    request_id = value.get("id")
    if request_id is not None and not is_request_id(request_id):
        return Invalid("bad-request", f"id must be a 64-bit integer or a string of at most {MAX_ID_BYTES} bytes")
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
        size,
    )


def _problem(request: dict[str, Any]) -> str:
    """Say what is wrong with the members of a request beside `id` and `opts`; "" if nothing is."""
    if "cmd" not in request:
        return "the key cmd is missing"
    if not isinstance(request["cmd"], str):
        return f"cmd must be a string, not {_kind(request['cmd'])}"
    deadline = request.get("deadline")
    if deadline is not None and not (type(deadline) in (int, float) and 0 < deadline <= sys.float_info.max):
        return "deadline must be a number of seconds above 0"
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


def _progress_line(message: Progress) -> bytes:
    line = b'{"status":true,"progress":%b' % encode(message.message)
    if message.current is not None:
        line += b',"current":%b' % encode(message.current)
    if message.total is not None:
        line += b',"total":%b' % encode(message.total)
    if message.unit:
        line += b',"unit":%b' % encode(message.unit)
    if message.data is not None:
        line += b',"data":%b' % encode(message.data)
    return line


def _failure_line(message: Failure) -> bytes:
    """Encode a failure; its own keys win over fields of the same name (N3)."""
    own = {"status": False, "message": message.message, "code": message.code}
    if not message.fields:
        return encode(own)[:-1]
    further = {key: value for key, value in message.fields.items() if key not in own and key != "id"}
    return encode(own | further)[:-1]
