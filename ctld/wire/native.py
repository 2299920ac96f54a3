r"""The native dialect: one JSON object per line, versions 1 and 2 (native protocol, N1 to N4).

Version 1 is what the ancestor's clients speak.  Version 2 only adds keys, so one codec
serves both: a client that uses none of the additions never sees one.

Three things are worth knowing before a change here.  All lines that have arrived together
are decoded in one call, into Structs whose options stay JSON text; the dispatcher decodes
those straight into the types of the command.  A chunk in which a line could be anything
but an ordinary request is taken apart line by line instead, which says exactly what is
wrong.  And messages are joined as bytes around one encoded value, because building a
dictionary for each costs as much as encoding it.
"""

import sys
from typing import Any, Final, TypeGuard, cast

import msgspec

from ctld.errors import LocalProtocolError
from ctld.wire.buffer import ReceiveBuffer
from ctld.wire.codec import END_OF_INPUT, NEED_DATA, Pause
from ctld.wire.jsontext import MAX_NESTING, decode_deep, encode, is_suspect
from ctld.wire.messages import (
    Banner,
    Cancel,
    Continue,
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

__all__ = [
    "FEATURES",
    "MAX_ID_BYTES",
    "PROTOCOL",
    "SYNTAX_MESSAGE",
    "NativeCodec",
    "is_ordinary",
    "is_request_id",
    "parse_line",
]

PROTOCOL: Final = 2

FEATURES: Final = ("id", "cancel", "deadline", "stream", "detach", "progress-data", "session")

# An id is echoed in every message about its request; what is longer is data, not a name.
MAX_ID_BYTES: Final = 256

# The ancestor's words, which its users know.
SYNTAX_MESSAGE: Final = "syntax error, expected a valid JSON"

_BAD_ID: Final = f"id must be a 64-bit integer or a string of at most {MAX_ID_BYTES} bytes"
_BAD_DEADLINE: Final = "deadline must be a number of seconds above 0"
_OPENING_BRACE: Final = ord("{")


class _Wish(msgspec.Struct, gc=False):
    """Whether a line has a key `cancel`; UNSET is no value that JSON has, null is one."""

    cancel: Any = msgspec.UNSET


_decode_request = msgspec.json.Decoder(Request).decode
_decode_requests = msgspec.json.Decoder(Request).decode_lines
_decode_wish = msgspec.json.Decoder(_Wish).decode
_decode_any = msgspec.json.Decoder().decode

# Requests that arrived together share the memory of their chunk for as long as one of them
# runs, so chunks are small.
_MAX_CHUNK: Final = 64 * 1024


class NativeCodec:
    """The server's side of one native connection.

    Args:
        max_line: The longest line to take, in bytes, without its newline.
    """

    __slots__ = ("_buffer", "_chunk", "_eof", "_line_by_line", "_max_line", "_out", "_ready", "_skipping", "event_size")

    def __init__(self, max_line: int = 16 * 1024 * 1024) -> None:
        self._buffer = ReceiveBuffer()
        self._out = bytearray()
        self._max_line = max_line
        self._skipping = False
        self._eof = False
        self._line_by_line = False
        self._ready: list[Request] = []  # decoded and not handed out yet, last one first
        self._chunk: bytearray | None = None  # what they were decoded from
        self.event_size = 0

    @property
    def pending(self) -> int:
        """How many received bytes are not understood yet."""
        return len(self._buffer) + self.event_size * len(self._ready)

    def receive_data(self, data: bytes) -> None:
        """Take bytes that the peer sent."""
        self._buffer.feed(data)

    def receive_eof(self) -> None:
        """Learn that the peer will send no more: what it sent last counts as a line (N2)."""
        self._eof = True

    def next_event(self) -> Incoming | Pause:
        """Return the next event; blank lines make none (N2)."""
        if not self._ready and not self._take_chunk():
            return self._next_line()
        request = self._ready.pop()
        if request.id is not None or request.deadline is not None:
            return _checked(request)
        return request

    def _take_chunk(self) -> bool:
        """Decode all lines that are here in one call; tell whether there are any, and all are ordinary."""
        self._chunk = None
        if self._skipping or self._line_by_line or not self._buffer:
            return False
        chunk = self._buffer.whole_lines()
        count = chunk.count(b"\n")
        if not count:
            return False
        if len(chunk) > min(_MAX_CHUNK, self._max_line) or not is_ordinary(chunk, count):
            self._line_by_line = True
            return False
        try:
            requests = [_decode_request(chunk)] if count == 1 else _decode_requests(chunk)
        except (ValueError, RecursionError, msgspec.DecodeError):
            self._line_by_line = True
            return False
        if len(requests) != count:
            self._line_by_line = True
            return False
        self._buffer.drop(len(chunk))
        requests.reverse()
        self._ready = requests
        self._chunk = chunk
        self.event_size = len(chunk) // count
        return True

    def _next_line(self) -> Incoming | Pause:
        """Return the next event from the next line that makes one."""
        buffer = self._buffer
        while True:
            if self._skipping:
                if not buffer.skip_through(b"\n"):
                    return END_OF_INPUT if self._eof else NEED_DATA
                self._skipping = False
            line = buffer.take_line()
            if line is None:
                self._line_by_line = False
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
                self.event_size = len(line)
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
        elif type(message) is Continue:
            line = b'{"status":true,"response":"continue"'
            if message.session:
                line += b',"session":%b' % encode(message.session)
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
        if self._chunk is None or not self._ready:
            return self._buffer.take_all()
        lines = self._chunk.split(b"\n")  # the last one is empty
        left = b"\n".join(lines[-len(self._ready) - 1 :])
        self._ready = []
        self._chunk = None
        return left + self._buffer.take_all()

    def _too_large(self) -> Invalid:
        self.event_size = 0
        return Invalid("too-large", f"the request exceeds {self._max_line} bytes", fields={"max_line": self._max_line})


def is_ordinary(chunk: bytearray, count: int) -> bool:
    """Tell whether lines may be decoded as requests in one call, and nothing be overlooked by that.

    Args:
        chunk: Complete lines, with their newlines.
        count: How many newlines there are.
    """
    return (
        chunk.isascii()
        and chunk.startswith(b"{")
        and chunk.endswith(b"}\n")
        # The decoder takes any white space between two values, and newlines within them.
        and (count == 1 or chunk.count(b"}\n{") == count - 1)
        # Each line has a brace of its own, so none can be nested more deeply than this.
        and chunk.count(b"{") + chunk.count(b"[") - count < MAX_NESTING
        # Options that are no object are skipped unseen, and so is what an escape may spell.
        and chunk.count(b'"opts"') == chunk.count(b'"opts":{') + chunk.count(b'"opts": {')
        and b"cancel" not in chunk
        and b"\\u" not in chunk
    )


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
    """
    deep: Any = None
    try:
        if not text.isascii():
            text.decode()  # the options are not decoded here, but they must be UTF-8 too
        if is_suspect(text):
            deep = decode_deep(text)
        if (b"cancel" in text or b"\\u" in text) and _decode_wish(text).cancel is not msgspec.UNSET:
            return _parse_unusual(text, deep)
        request = _decode_request(text)
        # Raw, since it was decoded just now; what is no object is skipped unseen.
        if memoryview(cast("msgspec.Raw", request.options))[0] != _OPENING_BRACE:
            return _parse_unusual(text, deep)
        return _checked(request)
    except msgspec.ValidationError:
        return _parse_unusual(text, deep)
    except RecursionError:
        return _parse_value(deep)  # too deep for this stack, and within our own bound
    except (ValueError, msgspec.DecodeError):
        return Invalid("syntax", SYNTAX_MESSAGE)


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
