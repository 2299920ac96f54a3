"""Bounds on what callers hold open beside their connections: files, attached terminals.

A connection may have many requests under way, so the bound on connections does not bound what they
hold.  The rule is the same as for connections: one user has at most half of the places.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ctld.errors import Busy
from ctld.peer import Peer

__all__ = ["Places"]


class Places:
    """Counts what is held, in all and by each user.

    Args:
        what: What it is, in the plural, for people.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._held: Counter[object] = Counter()

    @contextmanager
    def hold(self, peer: Peer, most: int, count: int = 1) -> Iterator[None]:
        """Hold places for the time of a `with` block.

        Args:
            peer: Who holds them; callers without a uid count as one user.
            most: How many there are.
            count: How many are wanted.

        Raises:
            Busy: There are not so many left, in all or for this user.
        """
        if self._held.total() + count > most:
            raise Busy(f"the daemon has {most} {self._what} at most, and they are in use")
        each = max(1, most // 2)
        if self._held[peer.uid] + count > each:
            raise Busy(f"one user has {each} {self._what} at most")
        self._held[peer.uid] += count
        try:
            yield
        finally:
            self._held[peer.uid] -= count
            if not self._held[peer.uid]:
                del self._held[peer.uid]  # users come and go
