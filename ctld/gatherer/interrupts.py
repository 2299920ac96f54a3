"""Signals of the worker: SIGINT is a flag that work looks at, SIGUSR1 is answered at once.

A handler that raised could cut an answer in two.  So the handler of SIGINT only sets a flag;
work looks at it between its steps, where it can give up cleanly, and every wait has the
wake-up pipe among its descriptors, so that a signal just before the wait ends it as well.
SIGCHLD needs nothing but that wake-up.
"""

import os
import select
import signal

from ctld.errors import CtldError
from ctld.gatherer.protocol import ALIVE

TYPE_CHECKING = False  # type checkers know the name; importing typing would double the start-up time
if TYPE_CHECKING:
    from types import FrameType
    from typing import Final

__all__ = ["CHANGED_SIGNALS", "Interrupted", "Interrupts", "ReaderGone", "wait_writable", "write_all"]

CHANGED_SIGNALS: "Final" = [signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ]
"""Signals that are not at their default here; a child must start with the default."""


class Interrupted(CtldError):
    """SIGINT came while a request was executed."""


class ReaderGone(CtldError):
    """Nobody reads what this process writes: whoever started it has ended."""


class Interrupts:
    """What the worker knows of signals.

    Attributes:
        pending: SIGINT came since this was last cleared.
    """

    def __init__(self) -> None:
        self.pending = False
        self._wakeup, self._wakeup_in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poller = select.poll()
        self._poller.register(self._wakeup, select.POLLIN)
        self._poller.register(1, 0)  # only that the other end is closed

    def install(self) -> None:
        """Take over the signals; from here on the parent may send them."""
        signal.set_wakeup_fd(self._wakeup_in, warn_on_full_buffer=False)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody reads us any more: nothing is left to do
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, self._on_child)
        signal.signal(signal.SIGUSR1, self._on_probe)
        signal.signal(signal.SIGINT, self._on_interrupt)
        # Whoever started us may have had them blocked: a signal that never arrives is no interrupt.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [*CHANGED_SIGNALS, signal.SIGTERM])

    def check(self) -> None:
        """Give up here if SIGINT came.

        Raises:
            Interrupted: It came.
        """
        if self.pending:
            raise Interrupted

    def wait(self, *descriptors: int) -> list[int]:
        """Wait until one of the descriptors can be read, or any signal arrives.

        Returns:
            The descriptors that can be read, or are at their end.

        Raises:
            ReaderGone: There is nobody to work for any more.
        """
        for descriptor in descriptors:
            self._poller.register(descriptor, select.POLLIN)
        ready = [descriptor for descriptor, _ in self._poller.poll()]
        for descriptor in descriptors:
            self._poller.unregister(descriptor)
        if self._wakeup in ready:
            ready.remove(self._wakeup)
            os.read(self._wakeup, 4096)
        if 1 in ready:
            raise ReaderGone
        return ready

    def _on_interrupt(self, number: int, frame: "FrameType | None") -> None:
        self.pending = True

    def _on_probe(self, number: int, frame: "FrameType | None") -> None:
        write_all(2, ALIVE)

    def _on_child(self, number: int, frame: "FrameType | None") -> None:
        pass


def write_all(descriptor: int, data: "bytes | memoryview") -> None:
    """Write all of it, also where a signal or a non-blocking pipe cuts a write short."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            wait_writable(descriptor)


def wait_writable(descriptor: int) -> None:
    """Wait until a pipe takes at least `select.PIPE_BUF` bytes."""
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    poller.poll()
