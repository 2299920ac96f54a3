"""A session as the ancestor's console: JSON lines in, raw bytes out (N5.2)."""

import binascii
from base64 import b64decode

import msgspec

from ctld.errors import CommandFailed
from ctld.sessions.session import Session
from ctld.sessions.viewers import SessionViewer
from ctld.stream import Stream
from ctld.wire.buffer import ReceiveBuffer

__all__ = ["ConsoleInput", "ConsoleViewer"]

# The longest line: some pages of pasted text.  What is longer is no typing.
_MAX_LINE = 1024 * 1024


class ConsoleInput(msgspec.Struct, frozen=True):
    """One line of the client.

    Attributes:
        keys: What was typed, as base64.
        rows: The height of the window; with `cols`.
        cols: Its width.
    """

    keys: str | None = None
    rows: int = 0
    cols: int = 0


_decode = msgspec.json.Decoder(ConsoleInput).decode


class ConsoleViewer(SessionViewer):
    """A session as a console; lines that are not understood are ignored."""

    def __init__(self, session: Session, stream: Stream, *, may_type: bool = True) -> None:
        super().__init__(session, stream, may_type=may_type)
        self._buffer = ReceiveBuffer()
        self._skipping = False

    def on_output(self, stream: int, data: bytes) -> None:
        """Send output as it is."""
        if not self._is_too_slow():
            self._stream.write(data)

    def on_data(self, data: bytes) -> None:
        """Do what the client's lines say."""
        buffer = self._buffer
        buffer.feed(data)
        if self._skipping:
            if not buffer.skip_through(b"\n"):
                return
            self._skipping = False
        while (line := buffer.take_line()) is not None:
            self._take(bytes(line))
        if len(buffer) > _MAX_LINE:
            self._skipping = True
            buffer.take_all()

    def _take(self, line: bytes) -> None:
        if not self.may_type:
            return
        try:
            typed = _decode(line)
            keys = b"" if typed.keys is None else b64decode(typed.keys, validate=True)
        except (msgspec.DecodeError, binascii.Error, ValueError, RecursionError):
            return
        if typed.rows > 0 and typed.cols > 0:
            try:
                self.session.resize(typed.rows, typed.cols)
            except CommandFailed:
                return  # no terminal is that large
        if keys:
            self.session.write(keys)
