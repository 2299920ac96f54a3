"""What the audit log is made of: an entry, and a question about entries."""

from typing import Final, Literal, TypeAlias

import msgspec

from ctld.errors import InvalidOptions

__all__ = ["MAX_LIMIT", "Entry", "HistoryQuery", "Outcome"]

# The most that one query returns; more is had in pages, by `before`.
MAX_LIMIT: Final = 10_000

Outcome: TypeAlias = Literal["done", "failed", "cancelled", "denied"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One command that somebody asked for.

    Attributes:
        id: The number of the entry, growing; 0 until it is written.
        time: When it was asked for, in seconds since the epoch.
        duration: How long it took, in seconds.
        command: Its name.
        options: Its options as JSON text, secrets replaced.
        cli: The command line of the client, secrets replaced.
        outcome: How it ended.
        slug: The error's slug; empty if it succeeded.
        message: The error's message.
        peer: The caller's name as the policy knows it: a user's, or a certificate's.
        uid: The caller's user id.
        gid: The caller's group id.
        pid: The caller's process id.
        loginuid: The uid that the caller's user logged in with.
        executable: The caller's program.
        connection: The connection that it came over.
        dialect: The protocol that it came in.
        operation: The id of the operation.
    """

    id: int = 0
    time: float
    duration: float = 0.0
    command: str
    options: str = "{}"
    cli: str = ""
    outcome: Outcome
    slug: str = ""
    message: str = ""
    peer: str = ""
    uid: int | None = None
    gid: int | None = None
    pid: int | None = None
    loginuid: int | None = None
    executable: str = ""
    connection: str = ""
    dialect: str = ""
    operation: str = ""


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are wanted: of those that fit, the newest `limit`, newest first.

    Attributes:
        since: Asked for at this time or later.
        cmd: This command.
        uid: By this user.
        failed: True: those that did not succeed; False: those that did.
        before: With a lower id, for the next page.
        limit: How many.
    """

    since: float | None = None
    cmd: str | None = None
    uid: int | None = None
    failed: bool | None = None
    before: int | None = None
    limit: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_LIMIT:
            raise InvalidOptions(f"the limit is between 1 and {MAX_LIMIT}", path="$.limit")
