"""`ctlctl lock graph`: who holds what, and who waits for whom, as a tree.

`lock_list` tells holders and waiters; whoever waits stands below the one that it waits for.
A circle has no beginning: it is drawn from one of its members, and says where it closes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctlctl import exits
from ctlctl.human import age
from ctlctl.output import one_line, write_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctlctl.caller import Caller

__all__ = ["picture", "run"]

_Row = dict[str, Any]


def run(caller: Caller, words: Sequence[str]) -> int:
    """Draw the locks of the daemon.

    Raises:
        CtldError: The daemon does not tell.
    """
    wanted = caller.arguments
    if words or wanted.json or wanted.json_seq or wanted.watch:
        return caller.run(["lock_graph", *words])
    rows = caller.ask("lock_list")
    write_line(picture(rows) or "no lock is held")
    return exits.OK


def picture(rows: object) -> str:
    """Return the tree of holders and waiters; "" if there are none."""
    known = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    tree = _Tree(known)
    return "\n".join(tree.lines())


class _Tree:
    def __init__(self, rows: Sequence[_Row]) -> None:
        self._names: dict[str, str] = {}
        self._held: dict[str, list[_Row]] = {}
        self._waits: dict[str, list[_Row]] = {}
        for row in rows:
            party = _party(row)
            self._names.setdefault(party, _name(row))
            held = self._held if row.get("state") == "held" else self._waits
            held.setdefault(party, []).append(row)
        self._shown: set[str] = set()

    def lines(self) -> list[str]:
        """Draw every tree, those without a beginning last."""
        lines: list[str] = []
        free = [party for party in self._names if not self._blockers(party)]
        for party in (*free, *self._names):
            if party not in self._shown:
                lines += self._drawn(party, "", "")
        return lines

    def _blockers(self, party: str) -> set[str]:
        return {holder for holder in self._names for wait in self._waits.get(party, ()) if self._holds(holder, wait)}

    def _holds(self, holder: str, wait: _Row) -> bool:
        if wait.get("type") == "operation":
            return holder == str(wait.get("name"))  # it waits for the operation itself to end
        return any(_lock(row) == _lock(wait) for row in self._held.get(holder, ()))

    def _drawn(self, party: str, head: str, below: str) -> list[str]:
        again = party in self._shown
        self._shown.add(party)
        lines = [head + self._names[party] + (" (above: this is a circle)" if again else "")]
        if again:
            return lines
        waiting = [
            (other, wait)
            for other in self._names
            for wait in self._waits.get(other, ())
            if other != party and self._holds(party, wait)
        ]
        stem = "│ " if waiting else "  "
        lines += [f"{below}{stem}holds {_what(row)}" for row in self._held.get(party, ())]
        for index, (other, wait) in enumerate(waiting):
            last = index == len(waiting) - 1
            branch, further = ("└─ ", "   ") if last else ("├─ ", "│  ")
            drawn = self._drawn(other, below + branch, below + further)
            lines += [f"{drawn[0]}: waits for {_what(wait)}", *drawn[1:]]
        return lines


def _party(row: _Row) -> str:
    return str(row.get("operation") or row.get("holder"))


def _name(row: _Row) -> str:
    holder, operation = one_line(str(row.get("holder"))), row.get("operation")
    name = f"{holder} [{one_line(str(operation))}]" if operation else holder
    return f"{name} of {one_line(str(row['peer']))}" if row.get("peer") else name


def _lock(row: _Row) -> tuple[object, object, bool]:
    return row.get("kind"), row.get("name"), row.get("type") == "manipulation"


def _what(row: _Row) -> str:
    text = f"{one_line(str(row.get('kind')))} {one_line(str(row.get('name')))}"
    notes = [one_line(str(row.get("type")))] if row.get("type") != "operation" else []
    since = row.get("age")
    if isinstance(since, int | float):
        notes.append(age(since))
    if row.get("source"):
        notes.append(one_line(str(row["source"])))
    return f"{text} ({', '.join(notes)})" if notes else text
