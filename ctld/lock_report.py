"""What people see of locks: rows, a picture, lines for the log, and the text of a deadlock.

Everything here reads; nothing takes a lock or waits for one, so that it answers while every
lock is held.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from ctld.errors import Deadlock
from ctld.lock_queue import Claim, LockKey, LockType, Party, lock_type
from ctld.ownership import Owner
from ctld.wait_graph import OperationWait, WaitGraph, dot, printable

if TYPE_CHECKING:
    from asyncio import Future

__all__ = ["Blocker", "LockClaim", "LockRow", "Source", "calling_source", "deadlock", "dump", "picture", "rows"]

Source: TypeAlias = tuple[CodeType, int]
"""Code and offset of an instruction: cheap to take, made into a line only when shown."""

# Frames that stand between the code that wants a lock and this module.
_GO_BETWEENS: Final = frozenset({"ctld.locks", "ctld.commands.context", "ctld.commands.operation", "contextlib"})
# The walk to the caller ends here: three or four frames are usual.
_MAX_FRAMES: Final = 12
# A cycle of more parties is complete in the error's fields; its message names so many.
_MAX_NAMED: Final = 8
# More rows than that in one log record help nobody.
_MAX_DUMPED: Final = 200


@dataclass(frozen=True, slots=True)
class LockRow:
    """One lock that somebody holds or waits for, as diagnostics show it.

    Attributes:
        kind: The kind of resource; `operation` where somebody waits for one to end.
        name: The name of the resource, or the operation's id.
        type: What sort of lock is meant.
        state: Whether it is held or waited for.
        holder: Who holds it or waits for it.
        peer: Who asked for that.
        age: Seconds since it is held or waited for.
        source: File and line of the code that took it or wants it.
        operation: The id of the operation that holds or waits.
    """

    kind: str
    name: str
    type: LockType
    state: Literal["held", "waiting"]
    holder: str
    peer: str
    age: float
    source: str
    operation: str


class LockClaim(Claim):
    """A claim with what people want to know of it.

    Attributes:
        owner: Whose it is.
        since: When it was granted, or began to wait, by the registry's clock.
        source: The code that wants it.
        granted: What its task sleeps on; None if it never had to wait.
    """

    __slots__ = ("granted", "owner", "since", "source")

    def __init__(self, owner: Owner, exclusive: bool, since: float, source: Source) -> None:
        self.owner_id = owner.id
        self.exclusive = exclusive
        self.owner = owner
        self.since = since
        self.source = source
        self.granted: Future[None] | None = None


Blocker: TypeAlias = Party[LockClaim] | OperationWait[LockClaim]


def calling_source() -> Source:
    """Find the code that wants a lock: the nearest caller that does not just pass a wish on."""
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to one's caller that does not build a traceback
    for _ in range(_MAX_FRAMES):
        if frame.f_back is None or frame.f_globals.get("__name__") not in _GO_BETWEENS:
            break
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


def _line(source: Source) -> str:
    code, offset = source
    line = next((line for start, end, line in code.co_lines() if start <= offset < end), None)
    return f"{code.co_filename.rpartition('/')[2]}:{line or code.co_firstlineno}"


def rows(graph: WaitGraph[LockClaim], now: float) -> list[LockRow]:
    """List every lock that is held or waited for: by resource, holders before the queue."""
    found = []
    for lock in graph.locks.values():
        found += [(lock.key, claim, True) for party in lock.holders.values() for claim in party.claims]
        found += [(lock.key, claim, False) for party in lock.queue() for claim in party.claims]
    found += [(wait.key, claim, False) for wait in graph.operation_waits() for claim in wait.claims]
    found.sort(key=lambda each: (each[0][1:], each[0][0]))  # stable: the queue stays in its order
    return [_row(key, claim, "held" if held else "waiting", now) for key, claim, held in found]


def _row(key: LockKey, claim: LockClaim, state: Literal["held", "waiting"], now: float) -> LockRow:
    return LockRow(
        kind=key[1],
        name=key[2],
        type=lock_type(key, claim.exclusive),
        state=state,
        holder=claim.owner.holder,
        peer=str(claim.owner.peer),
        age=round(now - claim.since, 3),
        source=_line(claim.source),
        operation=claim.owner_id,
    )


def dump(graph: WaitGraph[LockClaim], now: float) -> str:
    """Describe all locks and waits in lines for the log."""
    found = rows(graph, now)
    lines = [
        f"{printable(row.kind)} {printable(row.name)}: {row.type} {row.state} by {printable(row.holder)}"
        f" ({printable(row.peer)}, operation {printable(row.operation)}) for {row.age:.3f} s at {row.source}"
        for row in found[:_MAX_DUMPED]
    ]
    if len(found) > _MAX_DUMPED:
        lines.append(f"and {len(found) - _MAX_DUMPED} more")
    return "\n".join(lines)


def picture(graph: WaitGraph[LockClaim]) -> str:
    """Draw who waits for whom, in the DOT language.

    An arrow goes to those that are next in the way; whom these wait for in turn, their own
    arrows show.
    """
    nodes: dict[str, str] = {}
    edges: list[tuple[str, str, str]] = []
    for waiter, target, wait in _edges(graph):
        for owner in (waiter, target):
            nodes[owner.id] = "\n".join(map(printable, (owner.holder, str(owner.peer), owner.id)))
        edges.append((waiter.id, target.id, printable(_wanted(wait))))
    return dot(nodes, edges)


def _edges(graph: WaitGraph[LockClaim]) -> Iterator[tuple[Owner, Owner, Blocker]]:
    for lock in graph.locks.values():
        for party in lock.queue():
            for blocker in party.nearest_blockers():
                yield party.claims[0].owner, blocker.claims[0].owner, party
    for wait in graph.operation_waits():
        yield wait.claims[0].owner, wait.target.owner, wait


def deadlock(cycle: list[tuple[str, Blocker]], now: float) -> Deadlock:
    """Make the error that names a cycle: in its message for people, in its fields for programs."""
    waits = [wait for _, wait in cycle]
    parties = []
    for wait in waits:
        claim = _foremost(wait)
        parties.append(
            {
                "command": claim.owner.command,
                "resource": f"{wait.key[1]} {wait.key[2]}",
                "lock": lock_type(wait.key, claim.exclusive),
                "caller": str(claim.owner.peer),
                "age": round(now - claim.owner.started, 3),
            }
        )
    return Deadlock(f"deadlock: {_circle(waits)}", cycle=parties)


def _foremost(wait: Blocker) -> LockClaim:
    return max(wait.claims, key=lambda claim: claim.exclusive)


def _wanted(wait: Blocker) -> str:
    family, kind, name = wait.key
    if family == "operation":
        return f"the end of operation {name}"
    return f"{kind} {name} ({lock_type(wait.key, _foremost(wait).exclusive)})"


def _circle(waits: list[Blocker]) -> str:
    holders = [_foremost(wait).owner.holder for wait in waits]
    if len(waits) == 1:
        if waits[0].key[0] == "operation":
            return f"{holders[0]} would wait for its own end"
        return f"{holders[0]} wants {_wanted(waits[0])} and has it inclusively already: take it exclusively first"
    steps = [
        f"{holder} {'would wait' if wait is waits[0] else 'waits'} for {_wanted(wait)}, blocked by {blocker}"
        for wait, holder, blocker in zip(waits, holders, [*holders[1:], holders[0]], strict=True)
    ]
    if len(steps) > _MAX_NAMED:
        steps[_MAX_NAMED - 1 : -1] = [f"and so on for {len(steps) - _MAX_NAMED} more"]
    return "; ".join(steps)
