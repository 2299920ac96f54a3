"""When a worker may be started again after crashes.  Pure: the clock is an argument."""

from collections import deque

import msgspec

__all__ = ["Patience", "Restarts"]


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long the pool waits for its workers, in seconds.

    Attributes:
        start: For the first prompt.
        grace: For the answer to SIGINT, to `exit`, to SIGTERM: each time before something harder.
        probe: For the answer to SIGUSR1.
        probe_interval: Between two looks at the health of all workers.
        first_delay: Before a worker is started after a crash; doubled with each further one.
        last_delay: What the delay grows to.
        window: For how long a crash counts.
        crashes: How many crashes within the window make a profile degraded: its requests fail at
            once, until enough of them are forgotten.
    """

    start: float = 10.0
    grace: float = 2.0
    probe: float = 5.0
    probe_interval: float = 30.0
    first_delay: float = 0.1
    last_delay: float = 30.0
    window: float = 60.0
    crashes: int = 5


class Restarts:
    """What happened to the workers of one profile lately."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._crashes: deque[float] = deque(maxlen=patience.crashes)
        self._delay = patience.first_delay
        self._earliest = 0.0

    def crashed(self, now: float) -> None:
        """Remember that a worker ended, or did not start, against our will."""
        if self._crashes and now - self._crashes[-1] >= self._patience.window:
            self._delay = self._patience.first_delay
        self._crashes.append(now)
        self._earliest = now + self._delay
        self._delay = min(2 * self._delay, self._patience.last_delay)

    def delay(self, now: float) -> float:
        """Return how long to wait before a worker is started."""
        return max(0.0, self._earliest - now)

    def degraded(self, now: float) -> float:
        """Return for how long requests fail at once; 0: they do not."""
        if len(self._crashes) < self._patience.crashes:
            return 0.0
        return max(0.0, self._crashes[0] + self._patience.window - now)
