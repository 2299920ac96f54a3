r"""The native dialect: one JSON object per line, versions 1 and 2 (native protocol, N1 to N4).

Version 1 is what the ancestor's clients speak.  Version 2 only adds keys, so one codec
serves both: a client that uses none of the additions never sees one.

Three things are worth knowing before a change here.  Lines that have arrived together are
decoded together, into Structs whose options stay JSON text; the dispatcher decodes those
straight into the types of the command.  Where one of them could be anything but a plain
request they are taken one by one instead, which says exactly what is wrong.  And messages
are joined as bytes around one encoded value, because building a dictionary for each costs
as much as encoding it.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from ctld.errors import LocalProtocolError
from ctld.wire.buffer import ReceiveBuffer
from ctld.wire.codec import END_OF_INPUT, NEED_DATA, Pause
from ctld.wire.jsontext import encode
from ctld.wire.lines import parse_line, plain_requests
from ctld.wire.messages import (
    Banner,
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

__all__ = ["FEATURES", "PROTOCOL", "NativeCodec"]

PROTOCOL: Final = 2

FEATURES: Final = ("id", "cancel", "deadline", "stream", "detach", "progress-data", "session")

# How much is decoded together at most: what was decoded in vain is decoded again, line by line.
_MAX_BATCH: Final = 16 * 1024

_NEWLINE: Final = 0x0A


class NativeCodec:
    """The server's side of one native connection.

    Args:
        max_line: The longest line to take, in bytes, without its newline.
    """

    __slots__ = (
        "_buffer",
        "_eof",
        "_line_by_line",
        "_max_batch",
        "_max_line",
        "_out",
        "_skipping",
        "event_size",
    )

    def __init__(self, max_line: int = 16 * 1024 * 1024) -> None:
        self._buffer: ReceiveBuffer | None = None  # there is none where nothing is held, and nothing skipped
        self._out: bytes | bytearray | None = None
        self._max_line = max_line
        self._max_batch = min(_MAX_BATCH, max_line)
        self._skipping = False  # the rest of a line that is too long
        self._eof = False
        self._line_by_line = False  # one of the lines that are here is no plain request
        self.event_size = 0

    @property
    def pending(self) -> int:
        """How many received bytes are not understood yet."""
        return 0 if self._buffer is None else len(self._buffer)

    def receive_data(self, data: bytes) -> None:
        """Take bytes that the peer sent."""
        if self._buffer is None:
            self._buffer = ReceiveBuffer()
        self._buffer.feed(data)

    def receive_eof(self) -> None:
        """Learn that the peer will send no more: what it sent last counts as a line (N2)."""
        self._eof = True

    def receive_requests(self, data: bytes) -> list[Request] | None:
        """Take bytes that the peer sent, whole requests most often; see `BatchCodec.receive_requests()`."""
        if self._buffer is None and len(data) <= self._max_batch and data[-1] == _NEWLINE:
            requests = plain_requests(data)
            if requests is not None:
                self.event_size = len(data) // len(requests)
                return requests
            self._line_by_line = True
        self.receive_data(data)
        return None

    def return_requests(self, data: bytes, taken: int) -> None:
        """Take back all but the first requests; see `BatchCodec.return_requests()`."""
        if self._buffer is None:
            self._buffer = ReceiveBuffer()
        self._buffer.put_back(b"\n".join(data.split(b"\n")[taken:]))
        self._line_by_line = True

    def hand_out(self, take: Callable[[list[Request]], int]) -> int | None:
        """Hand out requests that have arrived together; see `BatchCodec.hand_out()`."""
        buffer = self._buffer
        if buffer is None or self._line_by_line or self._skipping:
            return None
        chunk = buffer.take_lines(self._max_batch)
        if not chunk:
            return None
        requests = plain_requests(chunk)
        if requests is None:
            buffer.put_back(chunk)
            self._line_by_line = True
            return None
        self.event_size = len(chunk) // len(requests)
        taken = take(requests)
        if taken < len(requests):
            self.return_requests(chunk, taken)
        left = len(buffer)
        if not left:
            self._buffer = None
        return left if taken else None

    def next_event(self) -> Incoming | Pause:
        """Return the next event; blank lines make none (N2).

        Raises:
            RemoteProtocolError: The peer takes this for a web server.
        """
        buffer = self._buffer
        if buffer is None:
            return END_OF_INPUT if self._eof else NEED_DATA
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
                if not (self._eof or len(buffer)):
                    self._buffer = None  # an idle connection holds nothing
                if not self._eof:
                    return NEED_DATA
                line = buffer.take_all()
                if not line:
                    return END_OF_INPUT
            if len(line) > self._max_line:
                return self._too_large()
            if line and not line.isspace():
                self.event_size = len(line)
                event = parse_line(line)
                if event is not None:
                    return event
            else:
                buffer.skip_blank_lines(self._max_line)

    def send(self, message: Outgoing, request_id: RequestId | None = None) -> int:
        """Encode a message; with the id of its request if that had one (N4).

        Returns:
            How many bytes wait to be sent.

        Raises:
            LocalProtocolError: JSON cannot carry it; nothing of it has been written.
        """
        if type(message) is Reply and request_id is None:  # almost every message
            line = b'{"status":true,"response":%b}\n' % encode(message.response)
        elif request_id is None:
            line = b"%b}\n" % _open_line(message)
        else:
            line = b'%b,"id":%b}\n' % (_open_line(message), encode(request_id))
        waiting = self._out
        if waiting is None:
            self._out = line
            return len(line)
        if type(waiting) is bytes:
            self._out = waiting = bytearray(waiting)
        waiting += line
        return len(waiting)

    def data_to_send(self) -> bytes:
        """Return, and forget, the bytes to write."""
        data = self._out
        self._out = None  # an idle connection has no use for it
        if type(data) is bytes:
            return data
        return b"" if data is None else bytes(data)

    def trailing_data(self) -> bytes:
        """Return, and forget, the bytes that were received and not understood yet (N5)."""
        rest = b"" if self._buffer is None else self._buffer.take_all()
        self._buffer = None
        return rest

    def _too_large(self) -> Invalid:
        self.event_size = 0
        return Invalid("too-large", f"the request exceeds {self._max_line} bytes", fields={"max_line": self._max_line})


def _open_line(message: Outgoing) -> bytes:
    """Encode a message, but for the end of its object, where its id may follow."""
    if type(message) is Progress:
        return _progress_line(message)
    if type(message) is Reply:
        return b'{"status":true,"response":%b' % encode(message.response)
    if type(message) is Item:
        return b'{"status":true,"item":%b' % encode(message.item)
    if type(message) is Failure:
        return _failure_line(message)
    if type(message) is Continue:
        session = b',"session":%b' % encode(message.session) if message.session else b""
        return b'{"status":true,"response":"continue"%b' % session
    if type(message) is Banner:
        further = _banner_tail(message.protocol, tuple(message.features), message.max_line, message.server)
        return b'{"version":%b,%b' % (encode(message.version), further)
    raise LocalProtocolError(f"a server does not send a {type(message).__name__}")


@lru_cache(maxsize=16)  # a server has one, or one for each of its handlers, and every client is told it
def _banner_tail(protocol: int, features: tuple[str, ...], max_line: int, server: str) -> bytes:
    """Encode what a banner says after the version."""
    return encode({"protocol": protocol, "features": features, "max_line": max_line, "server": server})[1:-1]


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
