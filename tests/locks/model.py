"""A reference model of the locks: lists, and a transitive closure; slow and obvious."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Literal


@dataclass(eq=False)
class Wish:
    owner: str
    exclusive: bool


@dataclass
class ModelLock:
    held: list[Wish] = field(default_factory=list)
    queue: list[list[Wish]] = field(default_factory=list)  # groups of one owner each


def conflict(some: Iterable[Wish], others: Iterable[Wish]) -> bool:
    return any(wish.exclusive for wish in [*some, *others])


def covers(group: list[Wish], wish: Wish) -> bool:
    """Whether a group of the same owner asks for at least as much."""
    return bool(group) and group[0].owner == wish.owner and (not wish.exclusive or any(w.exclusive for w in group))


class Model:
    def __init__(self) -> None:
        self.locks: dict[Hashable, ModelLock] = {}
        self.awaits: list[tuple[str, str]] = []

    def edges(self) -> set[tuple[str, str]]:
        """Who waits for whom."""
        found = set(self.awaits)
        for lock in self.locks.values():
            for place, group in enumerate(lock.queue):
                others = [[wish] for wish in lock.held] + lock.queue[:place]
                found |= {(group[0].owner, other[0].owner) for other in others if conflict(group, other)}
        return found

    def reachable(self) -> set[tuple[str, str]]:
        closure = self.edges()
        while more := {(a, d) for a, b in closure for c, d in closure if b == c} - closure:
            closure |= more
        return closure

    def has_cycle(self) -> bool:
        return any(a == b for a, b in self.reachable())

    def request(self, key: Hashable, wish: Wish) -> Literal["held", "waiting", "deadlock"]:
        lock = self.locks.setdefault(key, ModelLock())
        mine = [held for held in lock.held if held.owner == wish.owner]
        if covers(mine, wish):
            lock.held.append(wish)
            return "held"
        group = next((group for group in lock.queue if covers(group, wish)), None)
        if group is not None:
            group.append(wish)
        else:
            lock.queue.append([wish])
        self._hand_over(lock)
        if wish in lock.held:
            return "held"
        if self.has_cycle():
            self.withdraw(wish)
            return "deadlock"
        return "waiting"

    def withdraw(self, wish: Wish) -> None:
        for key, lock in list(self.locks.items()):
            lock.held = [held for held in lock.held if held is not wish]
            lock.queue = [rest for group in lock.queue if (rest := [w for w in group if w is not wish])]
            self._hand_over(lock)
            if not lock.held:
                assert not lock.queue
                del self.locks[key]

    def _hand_over(self, lock: ModelLock) -> None:
        while lock.queue and not (lock.held and conflict(lock.queue[0], lock.held)):
            lock.held += lock.queue.pop(0)

    def await_operation(self, waiter: str, target: str) -> bool:
        """Whether the wait is allowed."""
        self.awaits.append((waiter, target))
        if self.has_cycle():
            self.awaits.remove((waiter, target))
            return False
        return True
