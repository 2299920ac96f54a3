"""The terminal of a job that wants one: its output to the file, and to whoever watches.

The daemon holds the master of the terminal, so this is the one kind of job whose output
passes through it, and that gets SIGHUP when the daemon dies.
"""

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ctld.processes import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Console"]

# What a terminal hands out at once.
_CHUNK: Final = 64 * 1024


class Console:
    """The daemon's side of a job's terminal.

    Attributes:
        listeners: Who gets every piece of output, as bytes, and at the end an empty one.
    """

    def __init__(self, terminal: Terminal, log: int | None) -> None:
        self.listeners: set[Callable[[bytes], None]] = set()
        self._terminal = terminal
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(terminal.master, self._on_output)

    @property
    def is_open(self) -> bool:
        """Whether there still is a terminal."""
        return self._terminal.master >= 0

    def write(self, data: bytes) -> int:
        """Type something; returns how many bytes the terminal took."""
        with suppress(BlockingIOError, OSError):
            return os.write(self._terminal.master, data)
        return 0

    def resize(self, rows: int, cols: int) -> None:
        """Tell the job the size of the window; one that has ended need not know.

        Raises:
            InvalidOptions: No terminal has such a size.
        """
        if self.is_open:
            self._terminal.resize(rows, cols)

    def close(self) -> None:
        """Take the last output and close the terminal."""
        while self.is_open and self._on_output():
            pass
        self._close()

    def _on_output(self) -> bool:
        """Pass one piece on; False when there is none at the moment, or none any more."""
        try:
            data = os.read(self._terminal.master, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: nobody has the other end open any more
            data = b""
        if not data:
            self._close()
            return False
        if self._log is not None:
            with suppress(OSError):  # a full disk must not take the job's terminal away
                os.write(self._log, data)
        for listener in tuple(self.listeners):
            listener(data)
        return True

    def _close(self) -> None:
        if self.is_open:
            self._loop.remove_reader(self._terminal.master)
            self._terminal.close()
            if self._log is not None:
                os.close(self._log)
            for listener in tuple(self.listeners):
                listener(b"")
