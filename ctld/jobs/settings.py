"""What the daemon is told about jobs in its configuration."""

import msgspec

__all__ = ["JobSettings"]


class JobSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[jobs]` table: the programs that the daemon keeps running.

    Attributes:
        directory: Where the job files are; empty: there are no jobs, and no commands about them.
        leave_running: Whether jobs go on when the daemon is stopped in order, until the next one
            takes them over.  Those with a terminal cannot.
    """

    directory: str = ""
    leave_running: bool = False
