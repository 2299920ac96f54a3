"""A session on this process's terminal or descriptors, byte by byte: for terminals and other machines.

One poll waits for everything: the keyboard, the session, the screen and signals.  Nothing here
blocks on a screen that has been stopped, so that the keep-alive goes on meanwhile.
"""

from __future__ import annotations

import os
import select
import signal
import stat

from ctlctl.detach_keys import DetachKeys

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self

    from ctlctl.terminal import Terminal
    from ctld.client.blocking_session import BlockingSession

__all__ = ["Ended", "relay"]

_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_ENDING = (signal.SIGTERM, signal.SIGHUP)

# Output that waits for the screen; above it the session is not read.
_HIGH = 256 * 1024

# What a pipe or terminal that is ready surely takes without blocking.
_PIECE = 4096

_READ_SIZE = 64 * 1024


class Ended(Exception):
    """The relay ended before the session.

    Attributes:
        status: The exit status.
        detached: Whether the session was left running.
    """

    def __init__(self, status: int, *, detached: bool = False) -> None:
        super().__init__(status)
        self.status = status
        self.detached = detached


def relay(session: BlockingSession, terminal: Terminal | None, keys: bytes = b"") -> int:
    """Relay until the program ends, and return its exit status.

    Args:
        session: The session.
        terminal: The terminal, if the session has one; it is raw.
        keys: The sequence that leaves the session running.

    Raises:
        Ended: It was left before, or whoever reads the output has gone.
        ConnectionLost: The connection is gone.
    """
    with _SignalPipe((*_FORWARDED, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)) as signals:
        _Relay(session, terminal, DetachKeys(keys if terminal is not None else b""), signals).run()
    return session.exit_status


class _Relay:
    def __init__(
        self, session: BlockingSession, terminal: Terminal | None, keys: DetachKeys, signals: _SignalPipe
    ) -> None:
        self._session = session
        self._terminal = terminal
        self._keys = keys
        self._signals = signals
        self._input: int | None = 0
        self._screens = {1: _Screen(1), 2: _Screen(2)}

    def run(self) -> None:
        session = self._session
        self._show()  # what came in one packet with "continue"
        while not session.over or any(screen.waiting for screen in self._screens.values()):
            ready = self._wait(session.keep_alive())
            if self._signals.fd in ready:
                for number in self._signals.read():
                    self._on_signal(number)
            for screen in self._screens.values():
                if screen.fd in ready:
                    screen.write()
            if session.fileno() in ready:
                session.pump(0)
                self._show()
            if self._input is not None and self._input in ready:
                self._type(self._input)

    def _show(self) -> None:
        for piece in self._session.take():
            self._screens[piece.stream].add(piece.data)

    def _wait(self, seconds: float) -> dict[int, int]:
        session, poll = self._session, select.poll()
        poll.register(self._signals.fd, select.POLLIN)
        crowded = sum(screen.waiting for screen in self._screens.values()) > _HIGH
        wanted = (0 if crowded or session.over else select.POLLIN) | (select.POLLOUT if session.unsent else 0)
        if wanted:
            poll.register(session.fileno(), wanted)
        if self._input is not None and not session.crowded and not session.over:
            poll.register(self._input, select.POLLIN)
        for screen in self._screens.values():
            if screen.waiting:
                poll.register(screen.fd, select.POLLOUT)
        return dict(poll.poll(seconds * 1000))

    def _type(self, fd: int) -> None:
        try:
            data = os.read(fd, _READ_SIZE)
        except OSError:  # the terminal was taken away from us
            data = b""
        if not data:
            self._input = None
            self._session.close_stdin()
            return
        typed, detached = self._keys.feed(data)
        if typed:
            self._session.write(typed)
        if detached:
            self._session.detach()
            raise Ended(0, detached=True)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGWINCH:
            self._resize()
        elif number == signal.SIGTSTP:
            self._stop()
        elif number == signal.SIGCONT:
            if self._terminal is not None:
                self._terminal.make_raw()
                self._resize()
        elif self._terminal is not None and number in _ENDING:
            raise Ended(128 + number)  # it is this process that has to go, and its session with it
        else:
            self._session.signal(signal.Signals(number).name)

    def _resize(self) -> None:
        if self._terminal is not None:
            self._session.resize(*self._terminal.size())

    def _stop(self) -> None:
        if self._terminal is not None:
            self._terminal.restore()
        os.kill(os.getpid(), signal.SIGSTOP)
        # Whoever continues us sends SIGCONT, which is handled next.


class _Screen:
    """A descriptor for output, which may be slow."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._waiting = bytearray()
        try:
            regular = stat.S_ISREG(os.fstat(fd).st_mode)
        except OSError:
            regular = False
        self._piece = _HIGH if regular else _PIECE

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def add(self, data: bytes) -> None:
        self._waiting += data

    def write(self) -> None:
        try:
            count = os.write(self.fd, self._waiting[: self._piece])
        except BlockingIOError:
            return
        except BrokenPipeError:
            raise Ended(128 + signal.SIGPIPE) from None  # as a shell reports it
        del self._waiting[:count]


class _SignalPipe:
    """Signals as bytes in a pipe, so that one poll waits for them too."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self._numbers = numbers
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self.fd, self._writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        noted: Callable[..., None] = lambda number, frame: None  # noqa: E731 - the byte in the pipe says it all
        for number in self._numbers:
            if signal.getsignal(number) is not signal.SIG_IGN or number == signal.SIGWINCH:
                self._before[number] = signal.signal(number, noted)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self.fd)
        os.close(self._writing)

    def read(self) -> bytes:
        """Return the numbers of what has come."""
        return os.read(self.fd, 4096)
