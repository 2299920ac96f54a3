"""How many clients there may be at once: in all, of one user, and of descriptors."""

import resource
from typing import Final

__all__ = ["DESCRIPTOR_RESERVE", "Admission", "raise_descriptor_limit"]

# Descriptors beside those of the clients: 256 for the loop, listeners, logs, the history, and what a few
# dozen children need at the moment they start; 384 for files and terminals of jobs that callers look at.
DESCRIPTOR_RESERVE: Final = 640


class Admission:
    """Counts the connections of a server against its bounds.

    One user may have half of all connections, so that nobody locks out the others.  Callers
    without a uid (TCP, TLS) count as one user, for the network must not lock out the machine.
    """

    __slots__ = ("_each", "_limit", "_per_user", "_total")

    def __init__(self, limit: int) -> None:
        """Start from nobody.

        Args:
            limit: How many connections there may be at once; at least 1.
        """
        self._limit = limit
        self._each = max(1, limit // 2)
        self._total = 0
        self._per_user: dict[int | None, int] = {}

    @property
    def total(self) -> int:
        """How many are admitted now."""
        return self._total

    @property
    def limit(self) -> int:
        """How many may be admitted at once."""
        return self._limit

    def admit(self, uid: int | None) -> bool:
        """Count one more connection of a user, unless that exceeds a bound.

        Returns:
            Whether it is admitted; if so, `release()` must follow once.
        """
        mine = self._per_user.get(uid, 0)
        if self._total >= self._limit or mine >= self._each:
            return False
        self._total += 1
        self._per_user[uid] = mine + 1
        return True

    def release(self, uid: int | None) -> None:
        """Count one connection of a user less.

        Raises:
            KeyError: He has none: a defect of the caller.
        """
        left = self._per_user[uid] - 1
        self._total -= 1
        if left:
            self._per_user[uid] = left
        else:
            del self._per_user[uid]  # uids come and go: nothing is kept of those who left


def raise_descriptor_limit(connections: int) -> int:
    """Let this process have the descriptors that so many connections need, as far as it may.

    Only the soft limit is raised, towards the hard one.

    Returns:
        The soft limit as it is now; `resource.RLIM_INFINITY` for none.
    """
    wanted = connections + DESCRIPTOR_RESERVE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return soft
