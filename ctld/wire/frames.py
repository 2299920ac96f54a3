r"""Session frames: several streams over one hijacked connection (native protocol, N5).

A frame is one byte of type, four bytes of length (big-endian) and that many bytes of
payload, at most 64 KiB.  Types are below 8, so that no line of JSON begins with one: that is
how the end of the framing is told from the next request.
"""

import struct
from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgspec

from ctld.errors import RemoteProtocolError

__all__ = [
    "HEADER_SIZE",
    "MAX_PAYLOAD",
    "Frame",
    "FrameReader",
    "FrameType",
    "encode_frame",
    "encode_head",
    "encode_object",
]

MAX_PAYLOAD: Final = 64 * 1024
"""The longest payload: what one read of a pipe gives, and small enough that no stream holds up another."""

HEADER_SIZE: Final = 5

_HEADER: Final = struct.Struct(">BI")


class FrameType(IntEnum):
    """What a frame carries."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    RESIZE = 3
    SIGNAL = 4
    EXIT = 5
    PING = 6
    PONG = 7


_LAST_TYPE: Final = max(FrameType)
_TYPES: Final = tuple(FrameType)  # by number: a look-up costs a tenth of asking the enumeration


class Frame(NamedTuple):
    """One frame.  An empty payload of a stream is the end of that stream."""

    type: FrameType
    payload: bytes

    def object(self) -> dict[str, Any]:
        """Return the JSON object of a resize, a signal or an exit.

        Raises:
            RemoteProtocolError: The payload is none.
        """
        try:
            return msgspec.json.decode(self.payload, type=dict[str, Any])
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise RemoteProtocolError(f"a frame {self.type.name} must carry a JSON object") from None


def encode_head(type: FrameType, size: int) -> bytes:
    """Return what precedes a payload of so many bytes.

    Raises:
        ValueError: The payload is longer than a frame can carry.
    """
    if size > MAX_PAYLOAD:
        raise ValueError(f"a frame carries {MAX_PAYLOAD} bytes at most, not {size}")
    return _HEADER.pack(type, size)


def encode_frame(type: FrameType, payload: bytes = b"") -> bytes:
    """Return a frame as bytes.

    Raises:
        ValueError: The payload is longer than a frame can carry.
    """
    return encode_head(type, len(payload)) + payload


def encode_object(type: FrameType, value: Any) -> bytes:
    """Return a frame that carries a JSON object."""
    return encode_frame(type, msgspec.json.encode(value))


class FrameReader:
    """Frames out of the bytes of a hijacked connection.

    `next_frame()` gives None while a frame is incomplete, and also from the first byte on
    that is no frame type: `at_lines` tells which.
    """

    __slots__ = ("_at", "_chunk", "_head", "_left", "_partial", "_type", "at_lines")

    def __init__(self) -> None:
        self._chunk = memoryview(b"")
        self._at = 0
        self._head = b""  # of a frame, as long as it is incomplete
        self._type: FrameType | None = None  # of the frame that we are in
        self._left = 0  # of its payload, beyond what was taken of it
        self._partial = bytearray()
        self.at_lines = False

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        if self._at < len(self._chunk):
            data = bytes(self._chunk[self._at :]) + data
        self._chunk = memoryview(data)
        self._at = 0

    def next_frame(self) -> Frame | None:
        """Return the next frame.

        Raises:
            RemoteProtocolError: It announces more than a frame can carry.
        """
        type = self._take_head() if self._type is None else self._type
        if type is None:
            return None
        piece = self._take_payload()
        if self._left:
            self._partial += piece
            return None
        self._type = None
        payload = bytes(self._partial + piece) if self._partial else bytes(piece)
        self._partial.clear()
        return Frame(type, payload)

    def next_part(self, stream: FrameType) -> Frame | memoryview | None:
        """Return the next frame; of a frame of one stream, as much as there is.

        Most bytes of a session are the payloads of one stream, which need not be complete to
        be passed on, nor copied.

        Args:
            stream: The type of these frames; all of them are taken by this method.

        Returns:
            A piece of a payload, never empty; or a frame, of the stream only the empty one.

        Raises:
            RemoteProtocolError: The next frame announces more than a frame can carry.
        """
        type = self._take_head() if self._type is None else self._type
        if type is not stream or not self._left:
            return self.next_frame()
        piece = self._take_payload()
        if not self._left:
            self._type = None
        return piece or None

    def take_rest(self) -> bytes:
        """Return, and forget, what follows the last whole frame, or the last piece of one."""
        head, self._head = self._head, b""
        if self._type is not None:
            head = _HEADER.pack(self._type, len(self._partial) + self._left)
            self._type = None
        rest = b"".join((head, self._partial, self._chunk[self._at :]))
        self._partial.clear()
        self._chunk = memoryview(b"")
        self._at = 0
        return rest

    @property
    def inside(self) -> bool:
        """Whether the bytes so far end within a frame."""
        return self._type is not None or bool(self._head)

    def _take(self, size: int) -> memoryview:
        """Return the next bytes, at most so many."""
        piece = self._chunk[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def _take_payload(self) -> memoryview:
        piece = self._take(self._left)
        self._left -= len(piece)
        return piece

    def _take_head(self) -> FrameType | None:
        """Return the type of the next frame, once its head is complete."""
        if self.at_lines or self._at == len(self._chunk):
            return None
        if not self._head and self._chunk[self._at] > _LAST_TYPE:
            self.at_lines = True
            return None
        self._head += self._take(HEADER_SIZE - len(self._head))
        if len(self._head) < HEADER_SIZE:
            return None
        type, size = _HEADER.unpack(self._head)
        if size > MAX_PAYLOAD:
            raise RemoteProtocolError(f"a frame of {size} bytes: {MAX_PAYLOAD} are the most")
        self._head = b""
        self._type, self._left = _TYPES[type], size
        return self._type
