"""What a session has said lately, for those who come later."""

from collections import deque
from collections.abc import Iterator
from typing import Final

__all__ = ["SCROLLBACK_SIZE", "Scrollback"]

SCROLLBACK_SIZE: Final = 256 * 1024
"""Bytes that a session keeps: some thousand lines, a few full redraws of a large terminal."""

# Small pieces are joined up to this size, so that a program that writes byte by byte does
# not fill the memory with objects.
_JOIN_BELOW: Final = 4096


class Scrollback:
    """The latest output of a session, in pieces of one stream each.

    Args:
        limit: How many bytes are kept, at most.
    """

    __slots__ = ("_limit", "_pieces", "_size")

    def __init__(self, limit: int = SCROLLBACK_SIZE) -> None:
        self._limit = limit
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._size = 0

    def __len__(self) -> int:
        """The number of bytes kept."""
        return min(self._size, self._limit)

    def append(self, stream: int, data: bytes) -> None:
        """Keep output, and forget the oldest."""
        pieces = self._pieces
        self._size += len(data)
        if pieces and len(data) + len(pieces[-1][1]) <= _JOIN_BELOW and pieces[-1][0] == stream:
            pieces[-1] = (stream, pieces[-1][1] + data)
        else:
            pieces.append((stream, data))
        # Only whole pieces go: to cut the oldest one would copy as much again as was written.
        while self._size - len(pieces[0][1]) >= self._limit:
            self._size -= len(pieces.popleft()[1])

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Iterate over (stream, bytes), oldest first."""
        pieces = list(self._pieces)
        if self._size > self._limit:
            stream, oldest = pieces[0]
            pieces[0] = (stream, oldest[self._size - self._limit :])
        return iter(pieces)
