"""What Ctrl-C does while a command runs: cancel, then leave it running, then leave.

The first stroke asks the daemon to cancel, and waits for what comes of it.  A command may
take its time over that, so a second stroke leaves it alone: it looks, over a connection of
its own, whether the command runs on without a client, and names the operation if so.  If
not, it says so and waits for a third one, which leaves in any case.
"""

from __future__ import annotations

# `signal` without its enums: they cost more than all that is done with it here.
import _signal  # type: ignore[import-not-found]  # typeshed has `signal` only

from ctlctl.output import complain

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Self

    from ctld.client.conversation import Conversation

__all__ = ["Interrupts"]


class Interrupts:
    """Handles SIGINT while a call is under way.

    Args:
        conversation: The call's.
        prog: The program's name.
        find_operation: Finds the id of the operation that would run on without this client;
            None if there is none.
        say: Tells a person something, even from within a signal handler; None: on the
            standard error.
    """

    def __init__(
        self,
        conversation: Conversation,
        prog: str,
        find_operation: Callable[[], str | None],
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._conversation = conversation
        self._prog = prog
        self._say = say or (lambda text: complain(prog, text))
        self._find_operation = find_operation
        self._count = 0
        self._can_detach = True

    def __enter__(self) -> Self:
        # A shell starts background jobs with SIGINT ignored, and an embedding program may
        # have a handler of its own: both stay.
        self._installed = False
        if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
            try:
                _signal.signal(_signal.SIGINT, self._interrupted)
                self._installed = True
            except ValueError:
                pass  # this is not the main thread, which alone hears of signals
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._installed:
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if not self._conversation.running:
            raise KeyboardInterrupt  # nothing is asked yet, or all is answered
        if self._count == 1:
            self._cancel()
        elif self._count == 2 and self._can_detach:
            self._detach()
        else:
            self._say("left; the command may still be running")
            raise KeyboardInterrupt

    def _cancel(self) -> None:
        if self._conversation.cancel():
            self._say("cancelling; press Ctrl-C again to leave it running")
        else:
            # Nor can such a daemon name an operation: the next stroke is the last one.
            self._can_detach = False
            self._say("this daemon cannot cancel a command; press Ctrl-C again to leave it running")

    def _detach(self) -> None:
        operation = self._find_operation()
        if operation is None:
            self._say("it does not run on alone; press Ctrl-C again to leave at once")
            return
        self._say(f"left it running: {self._prog} op watch {operation}")
        raise KeyboardInterrupt
