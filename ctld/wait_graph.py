"""Who waits for whom, and who would wait for ever; pure, no loop, no clock.

Theory of operation.  The *wait-for graph* has owners as nodes.  A party that waits in the
queue of a lock is blocked by, and its owner has an edge to the owner of,

* every holder of that lock that conflicts with it (at least one of the two is exclusive),
* every conflicting party ahead of it in the queue: a reader behind a queued writer waits
  for that writer, although the lock itself may be held by readers only.

Waiting for the end of an operation is an edge to that operation.  An owner whose tasks wait
side by side is one node with several waits; the graph asks what *could* block it, so a
cycle through one of its tasks counts although another one might have resolved it.

Why asking once per wait suffices.  New edges could come from a new wait, from a grant, or
from a withdrawal; only the first one can close a cycle:

* A claim that joins its owner's party in the queue asks for no more than that party does,
  so it adds no edge.  Any other new wait goes to the end of the queue, where nobody is
  behind it, so all its new edges start at its own owner: that is where the search starts.
* A party is granted only when nothing blocks it.  A party behind it that conflicts had an
  edge to it in the queue and has the same edge to it as a holder; a party ahead of it that
  still waits does not conflict, else it would have blocked.  So a grant adds no edge.  Nor
  does one without a wait: the queue is empty then, or the owner holds as much already.
* A withdrawal, of a holder or of a waiter, only removes edges; where it takes the last
  exclusive claim out of a party, the party conflicts with fewer than before.

So an acyclic graph stays acyclic if every wait that closes a cycle is refused.  Taking a
lock exclusively that one already holds shared needs no rule of its own: that wait would be
blocked by its own owner, the shortest cycle there is.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Generic, TypeVar

from ctld.lock_queue import Claim, Lock, LockKey, Party

__all__ = ["OperationWait", "WaitGraph", "dot", "find_cycle", "printable"]

# A name that somebody outside chose is shown, not poured into a picture or a log line.
_MAX_SHOWN: Final = 200

N = TypeVar("N")
W = TypeVar("W")
C = TypeVar("C", bound=Claim)


def find_cycle(start: N, waits: Callable[[N], Iterable[tuple[N, W]]]) -> list[tuple[N, W]] | None:
    """Find a shortest way from `start` back to itself.

    Args:
        start: The node whose new wait is in question.
        waits: What a node waits for: pairs of the node waited for, and the wait.

    Returns:
        The nodes in order, beginning with `start`, each with its wait for the next one
        (the last one's is for `start`); None when `start` waits for nobody that waits for it.
    """
    reached: dict[N, tuple[N, W]] = {}
    frontier = deque([start])
    while frontier:
        node = frontier.popleft()
        for target, wait in waits(node):
            if target == start:
                cycle = [(node, wait)]
                while node != start:
                    node, wait = reached[node]
                    cycle.append((node, wait))
                return cycle[::-1]
            if target not in reached:
                reached[target] = (node, wait)
                frontier.append(target)
    return None


class OperationWait(Generic[C]):
    """One owner waits for the end of another one's operation."""

    __slots__ = ("claims", "key", "target")

    def __init__(self, claim: C, target: C) -> None:
        self.claims = [claim]
        self.target = target
        self.key: LockKey = ("operation", "operation", target.owner_id)


class _Node(Generic[C]):
    """What the graph knows of one owner: it exists while there is anything to know."""

    __slots__ = ("awaited", "awaits", "holding", "waiting")

    def __init__(self) -> None:
        self.holding: list[Party[C]] = []
        self.waiting: list[Party[C]] = []
        self.awaits: list[OperationWait[C]] | None = None
        self.awaited = 0


class WaitGraph(Generic[C]):
    """The state of all locks of one registry.

    Attributes:
        locks: Every lock that somebody holds; a queue without a holder does not exist.
    """

    def __init__(self) -> None:
        self.locks: dict[LockKey, Lock[C]] = {}
        self._nodes: dict[str, _Node[C]] = {}

    def request(self, key: LockKey, claim: C) -> bool:
        """Grant a claim, or put it into the queue; the latter must be followed by `cycle`.

        Returns:
            Whether it is granted.
        """
        owner_id = claim.owner_id
        lock = self.locks.get(key)
        if lock is None:
            lock = self.locks[key] = Lock(key)
        party = lock.holders.get(owner_id)
        if party is None or (claim.exclusive and not party.exclusive):
            node = self._nodes.get(owner_id)
            if node is None:
                node = self._nodes[owner_id] = _Node()
            if party is None and lock.first is None and lock.admits(claim.exclusive):
                party = lock.holders[owner_id] = Party(lock, owner_id, holds=True)
                node.holding.append(party)
            else:
                party = self._queue(lock, node, claim)
        party.claims.append(claim)
        party.exclusive += claim.exclusive
        claim.party = party
        return party.holds

    def _queue(self, lock: Lock[C], node: _Node[C], claim: C) -> Party[C]:
        for party in node.waiting:
            if party.lock is lock and (party.exclusive or not claim.exclusive):
                return party
        party = Party(lock, claim.owner_id, holds=False)
        node.waiting.append(party)
        lock.append(party)
        return party

    def withdraw(self, claim: C) -> list[C]:
        """Remove a claim, held or waiting.

        Returns:
            The claims that are granted because of that.
        """
        party: Party[C] = claim.party
        lock = party.lock
        party.claims.remove(claim)
        party.exclusive -= claim.exclusive
        if not party.claims:
            node = self._nodes[party.owner_id]
            if party.holds:
                del lock.holders[party.owner_id]
                node.holding.remove(party)
            else:
                lock.unlink(party)
                node.waiting.remove(party)
            self._tidy(party.owner_id, node)
        granted = []
        if lock.first is not None:
            for lucky in lock.hand_over():
                node = self._nodes[lucky.owner_id]
                node.waiting.remove(lucky)
                node.holding.append(lucky)
                granted += lucky.claims
        elif not lock.holders:
            del self.locks[lock.key]
        return granted

    def await_operation(self, claim: C, target: C) -> OperationWait[C]:
        """Note that one owner waits for the end of another; must be followed by `cycle`."""
        wait = OperationWait(claim, target)
        waiter = self._nodes.setdefault(claim.owner_id, _Node())
        waiter.awaits = [*(waiter.awaits or ()), wait]
        self._nodes.setdefault(target.owner_id, _Node()).awaited += 1
        return wait

    def end_await(self, wait: OperationWait[C]) -> None:
        """Note that such a wait is over."""
        waiter_id, target_id = wait.claims[0].owner_id, wait.target.owner_id
        waiter, target = self._nodes[waiter_id], self._nodes[target_id]
        waiter.awaits = [other for other in waiter.awaits or () if other is not wait] or None
        target.awaited -= 1
        self._tidy(waiter_id, waiter)
        self._tidy(target_id, target)

    def _tidy(self, owner_id: str, node: _Node[C]) -> None:
        if not (node.holding or node.waiting or node.awaits or node.awaited):
            self._nodes.pop(owner_id, None)

    def cycle(self, owner_id: str) -> list[tuple[str, Party[C] | OperationWait[C]]] | None:
        """Whether what this owner waits for would never come.

        Returns:
            A shortest cycle through the owner: each party's id with its wait for the next.
        """
        if not self._is_awaited(owner_id) or find_cycle(owner_id, self.nearest_waits) is None:
            return None
        return find_cycle(owner_id, self.waits)

    def _is_awaited(self, owner_id: str) -> bool:
        # Nobody waits for most waiters: they need no search, however long the queue is.
        node = self._nodes[owner_id]
        return (
            node.awaited > 0
            or any(party.lock.first is not None for party in node.holding)
            or any(party.behind is not None for party in node.waiting)
        )

    def waits(self, owner_id: str) -> Iterator[tuple[str, Party[C] | OperationWait[C]]]:
        """Yield everybody that an owner waits for, each with the wait."""
        node = self._nodes.get(owner_id)
        if node is not None:
            for party in node.waiting:
                for blocker in party.blockers():
                    yield blocker.owner_id, party
            for wait in node.awaits or ():
                yield wait.target.owner_id, wait

    def nearest_waits(self, owner_id: str) -> Iterator[tuple[str, Party[C] | OperationWait[C]]]:
        """Yield fewer edges than `waits`, by which the same owners can be reached."""
        node = self._nodes.get(owner_id)
        if node is not None:
            for party in node.waiting:
                for blocker in party.nearest_blockers():
                    yield blocker.owner_id, party
            for wait in node.awaits or ():
                yield wait.target.owner_id, wait

    def held_by(self, owner_id: str) -> list[LockKey]:
        """List the locks that an owner holds."""
        node = self._nodes.get(owner_id)
        return [] if node is None else [party.key for party in node.holding]

    def owners(self) -> Iterator[str]:
        """Yield everybody who holds, waits, or is waited for."""
        yield from self._nodes

    def operation_waits(self) -> Iterator[OperationWait[C]]:
        """Yield who waits for the end of an operation."""
        for node in self._nodes.values():
            yield from node.awaits or ()


def printable(text: str, limit: int = _MAX_SHOWN) -> str:
    """Make a name from outside fit for one line of a log or a picture."""
    clipped = text if len(text) <= limit else text[: limit - 3] + "..."
    if clipped.isprintable():
        return clipped
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in clipped)


def _quoted(text: str) -> str:
    return '"' + "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n")) + '"'


def dot(nodes: Mapping[str, str], edges: Iterable[tuple[str, str, str]]) -> str:
    """Write a wait-for graph in the DOT language.

    Args:
        nodes: The ids of the owners, and their labels; a newline in a label breaks the line.
        edges: Triples of who waits, for whom, and the label.
    """
    lines = [f"  {_quoted(node)} [label={_quoted(label)}];" for node, label in nodes.items()]
    lines += [f"  {_quoted(tail)} -> {_quoted(head)} [label={_quoted(label)}];" for tail, head, label in edges]
    return "\n".join(["digraph locks {", *lines, "}", ""])
