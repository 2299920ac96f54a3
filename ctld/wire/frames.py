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
from ctld.wire.buffer import ReceiveBuffer

__all__ = ["HEADER_SIZE", "MAX_PAYLOAD", "Frame", "FrameReader", "FrameType", "encode_frame", "encode_object"]

MAX_PAYLOAD: Final = 64 * 1024
"""The longest payload: what one read of a pipe gives, and small enough that no stream holds up another."""

HEADER_SIZE: Final = 5

_HEADER: Final = struct.Struct(">BI")
_LENGTH: Final = struct.Struct(">I")


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


_FIRST_OF_A_LINE: Final = bytes([max(FrameType) + 1])


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
        except (msgspec.DecodeError, ValueError):
            raise RemoteProtocolError(f"a frame {self.type.name} must carry a JSON object") from None


def encode_frame(type: FrameType, payload: bytes = b"") -> bytes:
    """Return a frame as bytes.

    Raises:
        ValueError: The payload is longer than a frame can carry.
    """
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a frame carries {MAX_PAYLOAD} bytes at most, not {len(payload)}")
    return _HEADER.pack(type, len(payload)) + payload


def encode_object(type: FrameType, value: Any) -> bytes:
    """Return a frame that carries a JSON object."""
    return encode_frame(type, msgspec.json.encode(value))


class FrameReader:
    """Frames out of the bytes of a hijacked connection.

    `next_frame()` gives None while a frame is incomplete, and also from the first byte on
    that is no frame type: `at_lines` tells which.
    """

    __slots__ = ("_buffer", "_first", "_head", "at_lines")

    def __init__(self) -> None:
        self._buffer = ReceiveBuffer()
        self._first = b""
        self._head: tuple[FrameType, int] | None = None
        self.at_lines = False

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        self._buffer.feed(data)

    def next_frame(self) -> Frame | None:
        """Return the next frame.

        Raises:
            RemoteProtocolError: It announces more than a frame can carry.
        """
        if self._head is None:
            self._head = self._take_head()
            if self._head is None:
                return None
        type, size = self._head
        payload = self._buffer.take_exactly(size)
        if payload is None:
            return None
        self._head = None
        return Frame(type, bytes(payload))

    def take_rest(self) -> bytes:
        """Return, and forget, what follows the last whole frame."""
        head, self._head = self._head, None
        first, self._first = self._first if head is None else _HEADER.pack(*head), b""
        return first + self._buffer.take_all()

    @property
    def inside(self) -> bool:
        """Whether the bytes so far end within a frame."""
        return self._head is not None or (not self.at_lines and bool(self._first))

    def _take_head(self) -> tuple[FrameType, int] | None:
        if not self._first and not self.at_lines:
            self._first = bytes(self._buffer.take_exactly(1) or b"")
            self.at_lines = self._first >= _FIRST_OF_A_LINE
        if not self._first or self.at_lines:
            return None
        rest = self._buffer.take_exactly(_LENGTH.size)
        if rest is None:
            return None
        (size,) = _LENGTH.unpack(rest)
        if size > MAX_PAYLOAD:
            raise RemoteProtocolError(f"a frame of {size} bytes: {MAX_PAYLOAD} are the most")
        type = FrameType(self._first[0])
        self._first = b""
        return type, size
