"""When which fault happens: drawn from a seed, so that a run can be repeated."""

import random
from collections.abc import Mapping
from typing import Final, NamedTuple

__all__ = ["KINDS", "Fault", "draw"]

KINDS: Final[Mapping[str, tuple[float, float]]] = {
    "kill a client": (0.0, 0.0),
    "kill all clients": (0.0, 0.0),
    "stop a client": (0.3, 4.0),
    "stop the daemon": (0.1, 0.8),
    "run out of descriptors": (0.5, 2.0),
    "fill the disk": (1.0, 5.0),
    "set the clock": (0.0, 0.0),
    "kill a worker": (0.0, 0.0),
    "kill a job": (0.0, 0.0),
    "kill a session": (0.0, 0.0),
    "reload": (0.0, 0.0),
}
"""Every kind of fault, and how many seconds one lasts at least and at most."""

# Between the end of a fault and the next of its kind, in seconds: what a client sees of one must
# be told from what it sees of the other.
_REST: Final = 0.5


class Fault(NamedTuple):
    """One fault.

    Attributes:
        at: When it begins, in seconds from the start of its round.
        kind: One of `KINDS`.
        lasts: For how many seconds.
        choice: From 0 to 1, for whatever there is to choose: the victim, the size of a step.
    """

    at: float
    kind: str
    lasts: float
    choice: float

    def __str__(self) -> str:
        """Say it in a line of a schedule."""
        lasting = f" for {self.lasts:.2f} s" if self.lasts else ""
        return f"{self.at:7.2f} s  {self.kind}{lasting} (choice {self.choice:.4f})"


def draw(seed: str, seconds: float, every: float, kinds: Mapping[str, tuple[float, float]] = KINDS) -> list[Fault]:
    """Draw the faults of a round.

    Each kind comes about equally often: they are drawn without replacement until all have come.

    Args:
        seed: The same one gives the same faults.
        seconds: How long the round is; every fault is over before its end.
        every: The mean time from one fault to the next.
        kinds: What there is to choose from.
    """
    rng = random.Random(seed)
    faults: list[Fault] = []
    free_from = dict.fromkeys(kinds, 0.0)
    bag: list[str] = []
    now = 0.0
    while True:
        now += rng.uniform(0.2, 1.8) * every
        if not bag:
            bag = rng.sample(sorted(kinds), len(kinds))
        kind = bag.pop()
        lasts = rng.uniform(*kinds[kind])
        at = max(now, free_from[kind])
        choice = rng.random()
        if now >= seconds:
            return sorted(faults)
        if at + lasts < seconds:
            faults.append(Fault(at, kind, lasts, choice))
            free_from[kind] = at + lasts + _REST
