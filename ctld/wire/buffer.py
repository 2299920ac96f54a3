"""One growing buffer for what a peer sends: lines, terminators, sized blocks.

Linear in what arrives, whatever the sizes of the pieces: the search for a terminator goes
on where it stopped, and consumed bytes are dropped once per read, not once per element.
What arrives in one piece and is taken whole is never copied.
"""

__all__ = ["ReceiveBuffer"]

# How far it is looked ahead at once for white space: what follows is not copied.
_WINDOW = 4096


class ReceiveBuffer:
    """Bytes received and not consumed yet.

    `len()` of it is the number of those bytes: the caller holds it against its limit
    whenever a take comes back empty, before the end of the element arrives.
    """

    __slots__ = ("_data", "_scanned", "_sought", "_start")

    def __init__(self) -> None:
        self._data: bytes | bytearray = b""
        self._start = 0
        self._scanned = 0
        self._sought = b"\n"

    def __len__(self) -> int:
        return len(self._data) - self._start

    def feed(self, data: bytes) -> None:
        """Append what arrived."""
        held = self._data
        if not held:
            self._data = bytes(data)
            return
        if not isinstance(held, bytearray):
            self._data = bytearray(held)
        if self._start:
            del self._data[: self._start]  # type: ignore[union-attr]  # made a bytearray just now
            self._scanned -= self._start
            self._start = 0
        self._data += data

    def take_line(self) -> bytes | bytearray | None:
        r"""Return the next line without its `\n`, or None while it is incomplete."""
        return self.take_until(b"\n")

    def take_until(self, terminator: bytes) -> bytes | bytearray | None:
        """Return the bytes before the next terminator and drop both, or None while there is none."""
        data = self._data
        if terminator != self._sought:
            self._seek_another(terminator)
        end = data.find(terminator, self._scanned)
        if end < 0:
            # A terminator of several bytes may have begun at the very end.
            self._scanned = max(self._start, len(data) - len(terminator) + 1)
            return None
        element = data[self._start : end]
        self._advance(end + len(terminator))
        return element

    def take_lines(self, limit: int) -> bytes:
        r"""Return complete lines, newlines included, of at most `limit` bytes together; `b""` if there are none."""
        data = self._data
        start = self._start
        end = data.rfind(b"\n", start, start + limit) + 1
        if not end:
            return b""
        if end == len(data) and not start:  # as it arrived, most often
            self._data = b""
            self._scanned = 0
            return bytes(data)
        lines = bytes(data[start:end])
        self._advance(end)
        return lines

    def skip_blank_lines(self, longest: int) -> None:
        """Drop complete lines of nothing but white space that come next, many in one go.

        Args:
            longest: Where one of them is longer than that, none is dropped.
        """
        start = self._start
        window = self._data[start : start + _WINDOW]
        blank = window[: len(window) - len(window.lstrip())]
        size = blank.rfind(b"\n") + 1
        if size and max(map(len, blank[:size].split(b"\n"))) <= longest:
            self._advance(start + size)

    def put_back(self, data: bytes) -> None:
        """Put bytes that were taken just now before those that are left."""
        rest = self._data[self._start :]
        self._data = data + rest
        self._start = self._scanned = 0

    def take_exactly(self, size: int) -> bytes | bytearray | None:
        """Return the next `size` bytes, or None while there are fewer."""
        end = self._start + size
        if end > len(self._data):
            return None
        block = self._data[self._start : end]
        self._advance(end)
        return block

    def take_all(self) -> bytes:
        """Return everything that is left."""
        rest = bytes(self._data[self._start :])
        self._advance(len(self._data))
        return rest

    def skip_through(self, terminator: bytes) -> bool:
        """Drop everything up to the next terminator, and it; False if it has not arrived yet.

        Without one all is dropped but what may be the beginning of the terminator.
        """
        if terminator != self._sought:
            self._seek_another(terminator)
        end = self._data.find(terminator, self._scanned)
        if end < 0:
            self._advance(max(self._start, len(self._data) - len(terminator) + 1))
            return False
        self._advance(end + len(terminator))
        return True

    def _seek_another(self, terminator: bytes) -> None:
        """Begin anew: where another terminator is not, this one may be."""
        self._sought = terminator
        self._scanned = self._start

    def _advance(self, position: int) -> None:
        if position == len(self._data):
            self._data = b""  # an idle connection holds nothing
            position = 0
        self._start = self._scanned = position
