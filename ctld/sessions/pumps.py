"""Between descriptors and callbacks: what moves the bytes of a session, without a task or a thread.

The loop tells when a descriptor is ready; one read of at most a frame's size per turn keeps a
program that writes without end from starving everybody else.
"""

import asyncio
import errno
import fcntl
import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

from ctld.wire.frames import MAX_PAYLOAD

__all__ = ["InputPump", "OutputPump"]

# What waits for a program that does not read; above it, its client is not read either.
_HIGH: Final = 256 * 1024
_LOW: Final = 64 * 1024

# Pieces that are written in one call; the system takes 1024.
_AT_ONCE: Final = 64

# What a pipe is widened to whose reader does not keep up: the default is a quarter of it, and
# each time it is full costs two turns of the loop.
_WIDE: Final = 256 * 1024

# What waits keeps all that it came with: a piece that is less than this share of it is copied.
_SHARE: Final = 4


class OutputPump:
    """Reads what a program writes, until its end.

    Args:
        fd: A descriptor that does not block; owned from now on.
        on_data: Called with each piece.
        on_end: Called once, after the last piece: there is no writer left.

    Attributes:
        silent: Whether nothing has come since this was last set to True.
    """

    def __init__(self, fd: int, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._fd = fd
        self._on_data = on_data
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._reading = False
        self.silent = True
        self.resume()

    @property
    def open(self) -> bool:
        """Whether there may be more."""
        return self._fd >= 0

    @property
    def paused(self) -> bool:
        """Whether nothing is read for now."""
        return self.open and not self._reading

    def pause(self) -> None:
        """Read nothing for now; the program blocks when its pipe is full."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume(self) -> None:
        """Read on."""
        if self.open and not self._reading:
            self._reading = True
            self._loop.add_reader(self._fd, self._on_readable)

    def close(self) -> None:
        """Read no more, whatever there is."""
        if self.open:
            self.pause()
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _on_readable(self) -> None:
        if not self._reading:
            return
        try:
            data = os.read(self._fd, MAX_PAYLOAD)
        except BlockingIOError:
            return
        except OSError as exc:
            # A terminal that nobody has open any more says EIO where a pipe is at its end.
            if exc.errno != errno.EIO and exc.errno != errno.ECONNRESET:
                raise
            data = b""
        if data:
            self.silent = False
            self._on_data(data)
        else:
            self.close()
            self._on_end()


class InputPump:
    """Writes what a client types to a program that may be slow to read it, or not read at all.

    Args:
        fd: A descriptor that does not block; owned from now on.
        on_full: Called with True when too much waits, and with False when there is room again.
    """

    def __init__(self, fd: int, on_full: Callable[[bool], None]) -> None:
        self._fd = fd
        self._on_full = on_full
        self._loop = asyncio.get_running_loop()
        self._queue: deque[memoryview] = deque()
        self._size = 0
        self._full = False
        self._ending = False
        self._writing = False
        self._wide = False

    @property
    def open(self) -> bool:
        """Whether the program may still read something."""
        return self._fd >= 0

    @property
    def full(self) -> bool:
        """Whether too much waits."""
        return self._full

    def write(self, *pieces: bytes | memoryview) -> None:
        """Have the program read that, one after the other; what it will never read is dropped."""
        if not self.open or self._ending:
            return
        written = 0 if self._queue else self._try(pieces[:_AT_ONCE])
        if not self.open:
            return
        for piece in pieces:
            if written >= len(piece):
                written -= len(piece)
            else:
                left = memoryview(piece)[written:]
                written = 0
                self._queue.append(_kept(left))
                self._size += len(left)
        if self._queue:
            self._widen()
            self._wait()
            if not self._full and self._size > _HIGH:
                self._full = True
                self._on_full(True)

    def end(self) -> None:
        """Let the program see the end of its input, once it has read what is there."""
        self._ending = True
        if not self._queue:
            self.close()

    def close(self) -> None:
        """Write nothing more."""
        if not self.open:
            return
        if self._writing:
            self._writing = False
            self._loop.remove_writer(self._fd)
        fd, self._fd = self._fd, -1
        self._queue.clear()
        self._size = 0
        os.close(fd)
        if self._full:
            self._full = False
            self._on_full(False)

    def _widen(self) -> None:
        """Have the pipe hold more, where it is one and the system lets us: once it has been full."""
        if not self._wide:
            self._wide = True
            with suppress(OSError):
                fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _WIDE)

    def _wait(self) -> None:
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._fd, self._on_writable)

    def _try(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Write what can be written now; the number of bytes."""
        try:
            return os.writev(self._fd, pieces)
        except BlockingIOError:
            pass
        except OSError:
            self.close()  # nobody reads it any more: no error of whoever types
        return 0

    def _on_writable(self) -> None:
        queue = self._queue
        written = self._try(tuple(islice(queue, _AT_ONCE)))
        if not self.open:
            return
        self._size -= written
        while written:
            piece = queue.popleft()
            if written < len(piece):
                queue.appendleft(piece[written:])
                break
            written -= len(piece)
        if self._full and self._size <= _LOW:
            self._full = False
            self._on_full(False)
        if not self._queue and self.open:
            self._writing = False
            self._loop.remove_writer(self._fd)
            if self._ending:
                self.close()


def _kept(piece: memoryview) -> memoryview:
    """Return a piece that can wait, without keeping much more than itself."""
    return piece if len(piece) * _SHARE >= len(memoryview(piece.obj)) else memoryview(bytes(piece))
