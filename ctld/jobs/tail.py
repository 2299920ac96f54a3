"""The end of an output file, and what is written to it from then on.

A job writes to its files itself and tells nobody, and the standard library has no inotify, so
whoever follows a file looks at its size now and then; nobody looks while nobody follows.
Reading is done in bounded pieces: a file may be larger than memory.

A line is passed on once it is complete, and the rest of a file without a line break (a
prompt) once nothing more has come for one look.
"""

import base64
import os
import stat
from contextlib import suppress
from typing import Final

import msgspec

from ctld.jobs.safe_folder import open_safely

__all__ = ["MAX_LINES", "LogLine", "LogTail", "last_bytes"]

MAX_LINES: Final = 10_000
"""How many lines from the end may be asked for."""

# One look reads no more, so that a job that writes without end does not keep the loop.
_PIECE: Final = 256 * 1024

# A longer line is passed on in parts.
_LONGEST_LINE: Final = 64 * 1024

# How far back the last lines are looked for; it takes 2 ms, and the loop waits.
_FARTHEST: Final = 4 * 1024 * 1024

# No waiting for a FIFO's writer.
_READING: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


class LogLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line of output.

    Attributes:
        process: The number of the process that wrote it.
        text: The line without its line break; U+FFFD stands for what is no UTF-8.
        base64: The bytes, if they are not all UTF-8.
        partial: Whether it goes on in the next one.
    """

    process: int
    text: str
    base64: str = ""
    partial: bool = False


class LogTail:
    """One output file, read from near its end on.

    Args:
        process: The number of the process that writes it.
        path: The file; it may not exist yet.
        lines: How many lines there already are to begin with.
    """

    def __init__(self, process: int, path: str, lines: int) -> None:
        self._process = process
        self._path = path
        self._lines = lines
        self._fd = -1
        self._rest = b""
        self._stale = False

    def read(self) -> list[LogLine]:
        """Return the lines that have come since the last time; empty: none, for the moment.

        Raises:
            OSError: It cannot be read.
        """
        if not self._open():
            return []
        if os.fstat(self._fd).st_size < os.lseek(self._fd, 0, os.SEEK_CUR):
            os.lseek(self._fd, 0, os.SEEK_SET)  # it has been rotated
            self._rest = b""
        data = os.read(self._fd, _PIECE)
        if not data:
            return self._leave()
        self._stale = False
        *lines, self._rest = (self._rest + data).split(b"\n")
        found = [part for line in lines for part in self._parts(line)]
        while len(self._rest) > _LONGEST_LINE:
            found.append(self._line(self._rest[:_LONGEST_LINE], partial=True))
            self._rest = self._rest[_LONGEST_LINE:]
        return found

    def flush(self) -> list[LogLine]:
        """Return what has no line break yet."""
        rest, self._rest = self._rest, b""
        return [self._line(rest, partial=True)] if rest else []

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _leave(self) -> list[LogLine]:
        """Decide about the unfinished line when nothing more has come."""
        waited, self._stale = self._stale, True
        return self.flush() if waited else []

    def _open(self) -> bool:
        if self._fd >= 0:
            if self._is_current():
                return True
            self.close()  # somebody has moved it away and made another one
            self._rest = b""
        with suppress(FileNotFoundError):
            self._fd = open_safely(self._path, _READING)
        if self._fd < 0:
            self._lines = MAX_LINES  # what comes is new, all of it
            return False
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            self.close()
            raise OSError(None, "it is no plain file", self._path)
        _seek_lines(self._fd, self._lines)
        self._lines = MAX_LINES
        return True

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.lstat(self._path), os.fstat(self._fd))
        except FileNotFoundError:
            return True  # there is no other one, and this one may still be written to

    def _parts(self, line: bytes) -> list[LogLine]:
        cuts = range(0, max(len(line), 1), _LONGEST_LINE)
        return [self._line(line[at : at + _LONGEST_LINE], partial=at + _LONGEST_LINE < len(line)) for at in cuts]

    def _line(self, data: bytes, *, partial: bool = False) -> LogLine:
        try:
            text, encoded = data.decode(), ""
        except UnicodeDecodeError:
            text, encoded = data.decode(errors="replace"), base64.b64encode(data).decode("ascii")
        return LogLine(process=self._process, text=text, base64=encoded, partial=partial)


def last_bytes(path: str, size: int) -> bytes:
    """Return the end of a file; nothing if it cannot be read, or is no plain one."""
    with suppress(OSError):
        fd = open_safely(path, _READING)
        try:
            found = os.fstat(fd)
            if stat.S_ISREG(found.st_mode):
                return os.pread(fd, size, max(found.st_size - size, 0))
        finally:
            os.close(fd)
    return b""


def _seek_lines(fd: int, lines: int) -> None:
    """Go to the beginning of the last lines of a file."""
    end = position = os.fstat(fd).st_size
    breaks = 0
    while position > 0 and end - position < _FARTHEST and lines:
        size = min(_PIECE, position)
        position -= size
        data = os.pread(fd, size, position)
        at = len(data)
        while (at := data.rfind(b"\n", 0, at)) >= 0:
            # The line break at the very end ends the last line and begins none.
            breaks += position + at + 1 < end
            if breaks == lines:
                os.lseek(fd, position + at + 1, os.SEEK_SET)
                return
    os.lseek(fd, position if lines else end, os.SEEK_SET)
