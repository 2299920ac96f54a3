"""Who asks: the identity of a caller, as a frozen value."""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

__all__ = ["Peer", "Role"]

Role: TypeAlias = Literal["anyone", "observe", "operate", "admin"]


@dataclass(frozen=True, slots=True)
class Peer:
    """One caller, as far as its transport vouches for it.

    `dataclasses.replace()` makes another; `Peer.DAEMON` is the daemon itself.

    Attributes:
        name: A name for people: the user's, a certificate's, or what a login command set.
        role: The role that policy gave it.
        uid: The user id of the process that connected; None where the transport does not tell.
        gid: Its primary group id.
        groups: Its supplementary group ids.
        pid: Its process id; a hint for people only, since a pid may be used again.
        transport: `unix`, `tcp`, `tls`, or `internal` for the daemon itself.
    """

    name: str = ""
    role: Role = "anyone"
    uid: int | None = None
    gid: int | None = None
    groups: frozenset[int] = frozenset()
    pid: int | None = None
    transport: str = ""

    DAEMON: ClassVar["Peer"]

    def __str__(self) -> str:
        if self.name:
            return self.name
        if self.uid is not None:
            return f"uid {self.uid}"
        return self.transport or "unknown"


Peer.DAEMON = Peer(name="daemon", role="admin", transport="internal")
