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

from typing import Final

from ctld.errors import LocalProtocolError
from ctld.wire.buffer import ReceiveBuffer
from ctld.wire.codec import END_OF_INPUT, NEED_DATA, Pause
from ctld.wire.jsontext import encode
from ctld.wire.lines import MAX_LONE, checked, lone_request, ordinary_requests, parse_line
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

# Requests that arrived together share the memory of their chunk for as long as one of them
# runs, so chunks are small.
_MAX_CHUNK: Final = 64 * 1024


class NativeCodec:
    """The server's side of one native connection.

    Args:
        max_line: The longest line to take, in bytes, without its newline.
    """

    __slots__ = (
        "_buffer",
        "_buffered",
        "_chunk",
        "_eof",
        "_line_by_line",
        "_max_line",
        "_max_lone",
        "_out",
        "_ready",
        "_skipping",
        "event_size",
    )

    def __init__(self, max_line: int = 16 * 1024 * 1024) -> None:
        self._buffer = ReceiveBuffer()
        self._out = bytearray()
        self._max_line = max_line
        self._max_lone = min(MAX_LONE, max_line)
        self._buffered = False  # whether anything is in the buffer, or is to be skipped
        self._skipping = False
        self._eof = False
        self._line_by_line = False
        self._ready: list[Request] = []  # decoded and not handed out yet, last one first
        self._chunk: bytes | bytearray | None = None  # what they were decoded from
        self.event_size = 0

    @property
    def pending(self) -> int:
        """How many received bytes are not understood yet."""
        if not self._buffered and not self._ready:
            return 0
        return len(self._buffer) + self.event_size * len(self._ready)

    def receive_data(self, data: bytes) -> None:
        """Take bytes that the peer sent."""
        # A client that asks and waits sends one line at a time: that one takes no detour.
        if not self._buffered and not self._ready and (request := lone_request(data, self._max_lone)) is not None:
            self._ready.append(request)
            self._chunk = data
            self.event_size = len(data)
        else:
            self._buffer.feed(data)
            self._buffered = True

    def receive_eof(self) -> None:
        """Learn that the peer will send no more: what it sent last counts as a line (N2)."""
        self._eof = True

    def next_event(self) -> Incoming | Pause:
        """Return the next event; blank lines make none (N2)."""
        if not self._ready and (not self._buffered or not self._take_chunk()):
            if self._buffered:
                return self._next_line()
            return END_OF_INPUT if self._eof else NEED_DATA
        request = self._ready.pop()
        if request.id is not None or request.deadline is not None:
            return checked(request)
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
        fits = len(chunk) <= min(_MAX_CHUNK, self._max_line)
        requests = ordinary_requests(chunk, count) if fits else None
        if requests is None:
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
                    self._buffered = len(buffer) > 0
                    return NEED_DATA
                line = bytearray(buffer.take_all())
                if not line:
                    self._buffered = False
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
