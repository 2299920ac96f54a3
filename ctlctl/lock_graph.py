"""`ctlctl lock graph`: who holds what, and who waits for whom, as a tree.

`lock_list` tells holders and waiters; whoever waits stands below the one that it waits for.
A circle has no beginning: it is drawn from one of its members, and says where it closes.
A tree that becomes too deep to be read goes on at the margin, in one of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ctlctl import exits
from ctlctl.human import age
from ctlctl.look import tell_nothing
from ctlctl.output import one_line, write_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ctlctl.caller import Caller

__all__ = ["picture", "run"]

_Row = dict[str, Any]

_DEEPEST = 20  # a name further to the right is out of sight on most terminals


def run(caller: Caller, words: Sequence[str]) -> int:
    """Draw the locks of the daemon.

    Raises:
        CtldError: The daemon does not tell.
    """
    wanted = caller.arguments
    if words or wanted.json or wanted.json_seq or wanted.watch:
        return caller.run(["lock_graph", *words])
    drawn = picture(caller.ask("lock_list"))
    if drawn:
        write_line(drawn)
    else:
        tell_nothing(wanted, "no lock is held")
    return exits.OK


def picture(rows: object) -> str:
    """Return the tree of holders and waiters; "" if there are none."""
    known = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return "\n".join(_Picture(known).lines())


class _Place(NamedTuple):
    """Where in the picture somebody stands: with what goes below not yet drawn.

    Attributes:
        party: Who it is.
        waiting: Who waits for that one, each with its wait and whether it is the last.
        tree: The lines of the tree that it stands in.
        below: What the lines below it begin with.
        depth: How many stand above it in its tree.
    """

    party: str
    waiting: Iterator[tuple[str, _Row, bool]]
    tree: list[str]
    below: str
    depth: int


class _Picture:
    """Draws the trees without recursion: a chain is as long as the daemon has clients."""

    def __init__(self, rows: Sequence[_Row]) -> None:
        self._names: dict[str, str] = {}
        for row in rows:
            self._names.setdefault(_party(row), _name(row))
        self._held: dict[str, list[_Row]] = {}
        self._waits: dict[str, list[_Row]] = {}
        for row in rows:
            held = self._held if row.get("state") == "held" else self._waits
            held.setdefault(_party(row), []).append(row)
        self._holders: dict[str, list[str]] = {}
        for party in self._names:
            self._holders.setdefault(_end_of(party), []).append(party)
            for lock in dict.fromkeys(map(_lock, self._held.get(party, ()))):
                self._holders.setdefault(lock, []).append(party)
        self._waiters: dict[str, list[tuple[str, _Row]]] = {party: [] for party in self._names}
        for party in self._names:
            for wait in self._waits.get(party, ()):
                for holder in self._blockers(wait):
                    self._waiters[holder].append((party, wait))
        self._shown: set[str] = set()

    def lines(self) -> Iterator[str]:
        """Draw every tree, those without a beginning last."""
        waiting = {party for waiters in self._waiters.values() for party, _ in waiters}
        for party in (*(party for party in self._names if party not in waiting), *self._names):
            if party not in self._shown:
                for tree in self._drawn(party):
                    yield from tree

    def _blockers(self, wait: _Row) -> list[str]:
        if wait.get("type") == "operation":  # it waits for the operation itself to end
            return self._holders.get(_end_of(str(wait.get("name"))), [])
        return self._holders.get(_lock(wait), [])

    def _drawn(self, root: str) -> list[list[str]]:
        """Return a tree, and those in which it goes on where it would become too deep."""
        trees: list[list[str]] = [[]]
        path = [self._placed(root, "", trees[0], "", 0)]
        above = {root}
        while path:
            place = path[-1]
            waiter = next(place.waiting, None)
            if waiter is None:
                above.discard(path.pop().party)
                continue
            other, wait, last = waiter
            head = place.below + ("└─ " if last else "├─ ")
            what = f": waits for {_what(wait)}"
            if other in self._shown:
                note = " (above: this is a circle)" if other in above else " (as elsewhere)"
                place.tree.append(f"{head}{self._names[other]}{note}{what}")
                continue
            if place.depth < _DEEPEST:
                below = place.below + ("   " if last else "│  ")
                path.append(self._placed(other, head, place.tree, below, place.depth + 1, what))
            else:
                place.tree.append(f"{head}{self._names[other]} (goes on below){what}")
                trees.append([])
                path.append(self._placed(other, "", trees[-1], "", 0))
            above.add(other)
        return trees

    def _placed(self, party: str, head: str, tree: list[str], below: str, depth: int, what: str = "") -> _Place:
        """Draw somebody with what it holds, and return what is left to draw."""
        self._shown.add(party)
        waiters = [(other, wait) for other, wait in self._waiters[party] if other != party]
        tree.append(f"{head}{self._names[party]}{what}")
        stem = "│ " if waiters else "  "
        tree += [f"{below}{stem}holds {_what(row)}" for row in self._held.get(party, ())]
        waiting = ((*waiter, index == len(waiters)) for index, waiter in enumerate(waiters, 1))
        return _Place(party, waiting, tree, below, depth)


def _party(row: _Row) -> str:
    return str(row.get("operation") or row.get("holder"))


def _name(row: _Row) -> str:
    holder, operation = one_line(str(row.get("holder"))), row.get("operation")
    name = f"{holder} [{one_line(str(operation))}]" if operation else holder
    return f"{name} of {one_line(str(row['peer']))}" if row.get("peer") else name


def _lock(row: _Row) -> str:
    """Return what two rows about one lock have in common."""
    return repr((row.get("kind"), row.get("name"), row.get("type") == "manipulation"))


def _end_of(party: str) -> str:
    """Return the same for who waits until somebody has ended; no lock is called so."""
    return f"operation {party}"


def _what(row: _Row) -> str:
    text = f"{one_line(str(row.get('kind')))} {one_line(str(row.get('name')))}"
    notes = [one_line(str(row.get("type")))] if row.get("type") != "operation" else []
    since = row.get("age")
    if isinstance(since, int | float):
        notes.append(age(since))
    if row.get("source"):
        notes.append(one_line(str(row["source"])))
    return f"{text} ({', '.join(notes)})" if notes else text
