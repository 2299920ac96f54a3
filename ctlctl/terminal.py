"""The terminal that a person sits at: raw while a session has it, and as it was afterwards."""

from __future__ import annotations

import os
import termios
import tty

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

__all__ = ["Terminal"]


class Terminal:
    """A terminal; in raw mode between `__enter__` and `__exit__`, but for pauses.

    Args:
        fd: Its descriptor.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self._fd)
        self.make_raw()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.restore()

    def make_raw(self) -> None:
        """Let every key through."""
        tty.setraw(self._fd, termios.TCSANOW)

    def restore(self) -> None:
        """Make it what it was; nothing if it is gone."""
        if self._before is None:
            return
        try:
            # At once: waiting for the output to drain could wait for ever on a stopped terminal.
            termios.tcsetattr(self._fd, termios.TCSANOW, self._before)
        except termios.error:
            return

    def size(self) -> tuple[int, int]:
        """Return its rows and columns; 24 and 80 if it does not know."""
        try:
            columns, rows = os.get_terminal_size(self._fd)
        except OSError:
            return 24, 80
        return rows or 24, columns or 80
