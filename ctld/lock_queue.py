"""One lock: who holds it, who queues for it, who is next; pure, no loop, no clock.

A *claim* is one wish of one owner for one lock.  All claims of one owner on one lock form a
*party*: they queue in one place and are granted together, so that a lock is re-entrant per
owner, however many tasks the owner has.  A lock has parties that hold it (many shared ones,
or one exclusive one) and a first-come-first-served queue.  A reader never overtakes a queued
writer, so readers cannot starve writers; a writer never overtakes a queued reader either.
"""

from collections.abc import Iterator
from typing import Any, Generic, Literal, TypeAlias, TypeVar

__all__ = ["Claim", "Lock", "LockFamily", "LockKey", "LockType", "Party", "lock_type"]

LockFamily: TypeAlias = Literal["state", "manipulation", "operation"]
LockType: TypeAlias = Literal["inclusive", "exclusive", "manipulation", "operation"]
LockKey: TypeAlias = tuple[LockFamily, str, str]
"""Family, kind and name: one resource has a state lock and a manipulation lock."""

C = TypeVar("C", bound="Claim")


def lock_type(key: LockKey, exclusive: bool) -> LockType:
    """Name the kind of a claim as people see it."""
    family = key[0]
    if family == "state":
        return "exclusive" if exclusive else "inclusive"
    return family


class Claim:
    """One wish of one owner for one lock: it waits, it holds, it is withdrawn.

    Attributes:
        owner_id: Whose it is.
        exclusive: Whether it bears no other owner beside it.
        party: Where it belongs; set by `WaitGraph.request`.
    """

    __slots__ = ("exclusive", "owner_id", "party")
    party: "Party[Any]"

    def __init__(self, owner_id: str, exclusive: bool) -> None:
        self.owner_id = owner_id
        self.exclusive = exclusive


class Party(Generic[C]):
    """All claims of one owner on one lock; a link of the lock's queue while it waits.

    Attributes:
        exclusive: How many of its claims are exclusive.
        ahead: Who is before it in the queue.
        behind: Who is after it in the queue.
    """

    __slots__ = ("ahead", "behind", "claims", "exclusive", "holds", "lock", "owner_id")

    def __init__(self, lock: "Lock[C]", owner_id: str, holds: bool) -> None:
        self.lock = lock
        self.owner_id = owner_id
        self.holds = holds
        self.claims: list[C] = []
        self.exclusive = 0
        self.ahead: Party[C] | None = None
        self.behind: Party[C] | None = None

    @property
    def key(self) -> LockKey:
        """The lock it is about."""
        return self.lock.key

    def blockers(self) -> "Iterator[Party[C]]":
        """Yield every party that this waiting one waits for, holders first."""
        for holder in self.lock.holders.values():
            if self.exclusive or holder.exclusive:
                yield holder
        ahead = self.ahead
        while ahead is not None:
            if self.exclusive or ahead.exclusive:
                yield ahead
            ahead = ahead.ahead

    def nearest_blockers(self) -> "Iterator[Party[C]]":
        """Yield blockers from which all others can be reached.

        A queued writer waits for everybody before it: nobody behind it needs edges past it.
        That keeps the graph of a queue of n writers at n edges instead of n * n / 2.
        """
        ahead = self.ahead
        while ahead is not None:
            if ahead.exclusive:
                yield ahead
                return
            if self.exclusive:
                yield ahead
            ahead = ahead.ahead
        for holder in self.lock.holders.values():
            if self.exclusive or holder.exclusive:
                yield holder


class Lock(Generic[C]):
    """One lock: who holds it, and the queue.  It exists while somebody holds it."""

    __slots__ = ("first", "holders", "key", "last")

    def __init__(self, key: LockKey) -> None:
        self.key = key
        self.holders: dict[str, Party[C]] = {}
        self.first: Party[C] | None = None
        self.last: Party[C] | None = None

    def admits(self, exclusive: bool) -> bool:
        """Whether its holders leave room for one more party."""
        # An exclusive holder is the only one, so any holder tells for all.
        return not self.holders or not (exclusive or next(iter(self.holders.values())).exclusive)

    def queue(self) -> Iterator[Party[C]]:
        """Yield who waits, in the order of arrival."""
        party = self.first
        while party is not None:
            yield party
            party = party.behind

    def append(self, party: Party[C]) -> None:
        """Let a party queue at the end."""
        party.ahead = self.last
        if self.last is None:
            self.first = party
        else:
            self.last.behind = party
        self.last = party

    def unlink(self, party: Party[C]) -> None:
        """Take a party out of the queue."""
        if party.ahead is None:
            self.first = party.behind
        else:
            party.ahead.behind = party.behind
        if party.behind is None:
            self.last = party.ahead
        else:
            party.behind.ahead = party.ahead
        party.ahead = party.behind = None

    def hand_over(self) -> Iterator[Party[C]]:
        """Make holders of those at the head of the queue whom nothing blocks any more."""
        while (party := self.first) is not None and self.admits(bool(party.exclusive)):
            self.unlink(party)
            party.holds = True
            self.holders[party.owner_id] = party
            yield party
