"""Who is at work: the running operation, as the layers below the commands see it.

A lock belongs to the operation that took it, not to a thread or a task.  The operation
travels in a context variable, which nested commands and the tasks they start inherit; the
dispatcher sets it around each command.
"""

from contextvars import ContextVar
from typing import Final, Protocol

from ctld.peer import Peer

__all__ = ["Owner", "current_owner"]


class Owner(Protocol):
    """What locks, events and diagnostics need to know of an operation."""

    @property
    def id(self) -> str:
        """The operation's id, unique across restarts of the daemon."""
        ...

    @property
    def command(self) -> str:
        """The name of its command."""
        ...

    @property
    def holder(self) -> str:
        """Its name in "is held by ...": the client's `cli` in quotes, else the command."""
        ...

    @property
    def peer(self) -> Peer:
        """Who asked for it."""
        ...

    @property
    def started(self) -> float:
        """When it began, by `time.monotonic()`."""
        ...

    @property
    def finished(self) -> bool:
        """Whether it has ended: a finished owner takes no more locks."""
        ...


current_owner: Final[ContextVar[Owner | None]] = ContextVar("current_owner", default=None)
"""The operation on whose behalf the running code acts; None outside of commands."""
