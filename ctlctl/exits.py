"""The one table from errors to exit statuses."""

from __future__ import annotations

from ctld.errors import (
    BadRequest,
    BadSyntax,
    Busy,
    Cancelled,
    ConfigError,
    ConnectionFailed,
    CtldError,
    DeadlineExceeded,
    Deadlock,
    Denied,
    InvalidOptions,
    Locked,
    ProtocolError,
    UnknownCommand,
)

__all__ = [
    "BROKEN_PIPE",
    "BUSY",
    "CANCELLED",
    "DEADLINE",
    "DENIED",
    "FAILED",
    "NO_DAEMON",
    "OK",
    "PROTOCOL",
    "USAGE",
    "HelpWanted",
    "UsageError",
    "status_of",
]

OK = 0
FAILED = 1  # the command said so, or the daemon has a defect, or it is shutting down
USAGE = 2
DENIED = 3
BUSY = 4  # locked by somebody else, or a bound is reached: the same may work later
DEADLINE = 5
CANCELLED = 6
NO_DAEMON = 7  # none listens, or it went away before it answered
PROTOCOL = 8  # the two sides do not understand each other

BROKEN_PIPE = 141  # as a shell reports a program that SIGPIPE has ended


class UsageError(CtldError):
    """The command line cannot be understood."""

    code = "usage"


class HelpWanted(UsageError):
    """`--help` stands after a command: it is to be explained, and not run.

    Attributes:
        words: The words of the command.
    """

    def __init__(self, words: list[str]) -> None:
        super().__init__(*words)
        self.words = words


_TABLE: tuple[tuple[tuple[type[CtldError], ...], int], ...] = (
    ((UsageError, ConfigError, UnknownCommand, InvalidOptions), USAGE),
    ((Denied,), DENIED),
    ((Locked, Deadlock, Busy), BUSY),
    ((DeadlineExceeded,), DEADLINE),
    ((Cancelled,), CANCELLED),
    ((ConnectionFailed,), NO_DAEMON),
    ((ProtocolError, BadRequest, BadSyntax), PROTOCOL),
)


def status_of(error: CtldError) -> int:
    """Return the exit status that stands for an error."""
    for classes, status in _TABLE:
        if isinstance(error, classes):
            return status
    return FAILED
