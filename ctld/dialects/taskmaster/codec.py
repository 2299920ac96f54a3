r"""Taskmaster's bytes (specification B2 to B4): queries in, answers out.

The protocol's document and its program disagree about the name of the command's key and the
shape of the answers, so each query says which of the two it speaks, by that key, and its
answer follows.  Answers go out in the order of the queries, one each; the codec remembers
for each outstanding one what its answer has to look like.

CR and LF mean nothing anywhere and are dropped as they come in.  The first `;;` ends a query:
base64 has no semicolon and no command has one in its name, so a literal one in a string has
to be written as `\u003b`.
"""

import base64
import binascii
import re
from collections import deque
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

import msgspec

from ctld.dialects.sentence import sentence_of
from ctld.errors import LocalProtocolError, RemoteProtocolError
from ctld.wire.buffer import ReceiveBuffer
from ctld.wire.codec import END_OF_INPUT, NEED_DATA, Pause
from ctld.wire.messages import Banner, Failure, Incoming, Invalid, Item, Outgoing, Progress, Reply, Request, RequestId

__all__ = ["INVALID_JOB_NAME", "MAX_FRAME", "Answer", "AnswerKind", "TaskmasterCodec"]

# A job file, base64 and the rest of the query fit several times over.
MAX_FRAME: Final = 1024 * 1024

INVALID_JOB_NAME: Final = "Invalid job name."

_TERMINATOR: Final = b";;"

# A web page may have its reader's browser send any text to a port of this machine: headers that
# mean nothing here, and queries behind them that would.
_HTTP: Final = re.compile(rb"[A-Z]{3,10} \S{1,4096} HTTP/\d")

# What the original calls invalid: queries that it does not understand.
_NOT_UNDERSTOOD: Final = frozenset({"syntax", "bad-request", "too-large", "unknown-command"})

AnswerKind: TypeAlias = Literal["success", "redundant", "invalid", "fail", "status", "file", "list"]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a query is answered with: the `response` of a `Reply` on this wire.

    Attributes:
        kind: The kind of answer.
        error: The sentence of a `fail`.
        data: The text of a `status`, the bytes of a `file`.
        job: The job that a `file` belongs to.
        names: The jobs of a `list`.
    """

    kind: AnswerKind
    error: str = ""
    data: bytes = b""
    job: str = ""
    names: tuple[str, ...] = ()


class _Shape(Enum):
    """Whose answers a query wants: those of the program, or those of its document."""

    PROGRAM = "cmd"
    DOCUMENT = "command"


class _Query(msgspec.Struct, gc=False):
    """What a query may hold; other keys are ignored."""

    cmd: Any = msgspec.UNSET
    command: Any = msgspec.UNSET
    job: Any = ""
    data: Any = ""


_decode = msgspec.json.Decoder(_Query).decode


class TaskmasterCodec:
    """The server's side of one Taskmaster connection.

    Args:
        max_frame: The longest query to take, in bytes, without its terminator.
    """

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._buffer = ReceiveBuffer()
        self._out = bytearray()
        self._max_frame = max_frame
        self._shapes: deque[_Shape] = deque()
        self._eof = False
        self._broken = ""
        self._event_size = 0

    @property
    def pending(self) -> int:
        """How many received bytes are not understood yet."""
        return len(self._buffer)

    @property
    def event_size(self) -> int:
        """How many bytes of input the latest event holds on to, about."""
        return self._event_size

    def receive_data(self, data: bytes) -> None:
        """Take bytes that the peer sent."""
        if not self._broken:
            self._buffer.feed(bytes(data).translate(None, b"\r\n"))

    def receive_eof(self) -> None:
        """Learn that the peer will send no more: what has no terminator yet is discarded (B3)."""
        self._eof = True

    def next_event(self) -> Incoming | Pause:
        """Return the next query.

        Raises:
            RemoteProtocolError: A query was too long, or a browser's: its answer was the last.
        """
        if self._broken:
            raise RemoteProtocolError(self._broken)
        frame = self._buffer.take_until(_TERMINATOR)
        # Without a terminator, the last byte may be the first half of one.
        if (len(self._buffer) - 1 if frame is None else len(frame)) > self._max_frame:
            return self._end("too-large", f"the query exceeds {self._max_frame} bytes")
        if frame is not None:
            self._event_size = len(frame)
            return self._understand(bytes(frame))
        if not self._eof:
            return NEED_DATA
        self._buffer.take_all()
        return END_OF_INPUT

    def send(self, message: Outgoing, request_id: RequestId | None = None) -> int:
        """Encode an answer; this wire has neither banner nor progress, so those are dropped.

        Raises:
            LocalProtocolError: The result of the command is no `Answer`, or a stream.
        """
        if self._broken and not self._shapes:
            return len(self._out)  # the query that ended it has had its answer, and it was the last
        match message:
            case Banner() | Progress():
                return len(self._out)
            case Failure(code=code) if code in _NOT_UNDERSTOOD:
                answer = Answer(kind="invalid")
            case Failure():
                answer = Answer(kind="fail", error=sentence_of(message))
            case Reply(response=Answer() as answer):
                pass
            case Reply() | Item():
                raise LocalProtocolError("Taskmaster's wire carries answers and nothing else")
        shape = self._shapes.popleft() if self._shapes else _Shape.PROGRAM
        keys = _as_program(answer) if shape is _Shape.PROGRAM else _as_document(answer)
        self._out += msgspec.json.encode(keys) + _TERMINATOR
        return len(self._out)

    def data_to_send(self) -> bytes:
        """Return, and forget, the bytes to write."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def trailing_data(self) -> bytes:
        """Return, and forget, the bytes that were received and not understood yet."""
        return self._buffer.take_all()

    def _understand(self, frame: bytes) -> Incoming:
        try:
            query = _decode(frame)
        except (ValueError, RecursionError):
            if _HTTP.match(frame):
                return self._end("syntax", "this is no web server")
            return self._refuse("syntax", "the query is no JSON object")
        named = [value for value in (query.cmd, query.command) if value is not msgspec.UNSET]
        shape = _Shape.DOCUMENT if query.cmd is msgspec.UNSET and named else _Shape.PROGRAM
        if not named or not all(isinstance(name, str) for name in named) or named[0] != named[-1]:
            return self._refuse("bad-request", "the query names no command, or two", shape)
        job, data = _unpack(query.job), _unpack(query.data)
        if job is None or data is None:
            return self._refuse("bad-request", "job and data must be base64", shape)
        try:
            name = job.decode()
        except UnicodeDecodeError:
            return self._refuse("job.name", INVALID_JOB_NAME, shape)
        self._shapes.append(shape)
        return Request(named[0], {"job": name, "data": data})

    def _end(self, code: str, message: str) -> Invalid:
        """Refuse a query, and understand nothing after it."""
        self._broken = message
        self._buffer.take_all()
        return self._refuse(code, message)

    def _refuse(self, code: str, message: str, shape: _Shape = _Shape.PROGRAM) -> Invalid:
        self._shapes.append(shape)
        return Invalid(code, message)


def _unpack(value: object) -> bytes | None:
    """Decode strict base64; None: it is none."""
    if not isinstance(value, str):
        return None
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None


def _pack(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _as_program(answer: Answer) -> dict[str, str]:
    """Always the same three keys, in this order."""
    data = _list_payload("processes", names=answer.names) if answer.kind == "list" else answer.data
    return {"response": answer.kind, "error": _pack(answer.error.encode(errors="replace")), "data": _pack(data)}


def _as_document(answer: Answer) -> dict[str, str]:
    """Only the keys that are needed."""
    keys: dict[str, str] = {"response": answer.kind}
    match answer.kind:
        case "fail":
            keys["error"] = _pack(answer.error.encode(errors="replace"))
        case "list":
            # The page that names the key `list` has a table that names it `data`; the payload's key differs too.
            keys["list"] = keys["data"] = _pack(_list_payload("processes", "jobs", names=answer.names))
        case "file":
            keys["job"] = _pack(answer.job.encode(errors="replace"))
            keys["data"] = _pack(answer.data)
        case "status":
            keys["data"] = _pack(answer.data)
        case "success" | "redundant" | "invalid":
            pass
    return keys


def _list_payload(*keys: str, names: tuple[str, ...]) -> bytes:
    jobs = [{"name": name} for name in names]
    return msgspec.json.encode(dict.fromkeys(keys, jobs))
