"""Patience: how long a connection waits for a peer that takes or gives nothing."""

from ctld.limits import Limits

__all__ = ["Patience"]


class Patience:
    """One connection's watch over its peer.

    Args:
        limits: The bounds.

    Attributes:
        active: Whether the peer has sent something since the last look.
        written: Bytes written for the peer so far.
        suspended: Whether a peer that reads nothing is somebody else's affair: a session's (N5).
    """

    __slots__ = ("_idle_since", "_limits", "_stalled_since", "_taken_before", "active", "suspended", "written")

    def __init__(self, limits: Limits) -> None:
        self.active = True
        self.written = 0
        self.suspended = False
        self._limits = limits
        self._taken_before = 0
        self._idle_since = 0.0
        self._stalled_since = 0.0

    def tick(self, now: float, *, waiting: int, holding: bool, idle: bool) -> str:
        """Look at the peer.

        Args:
            now: The loop's time.
            waiting: Bytes written that the peer has not taken.
            holding: Whether much of its input is held that cannot be served.
            idle: Whether no request of the connection is outstanding.

        Returns:
            Why to drop the connection: `stalled`, `starved`, `idle`; or "".
        """
        if self._is_stalled(now, waiting):
            return "stalled"
        if self.active or not idle:
            self.active = False
            self._idle_since = now
            return ""
        waited = now - self._idle_since
        if holding and waited >= self._limits.write_timeout:
            return "starved"
        return "idle" if self._limits.idle_timeout and waited >= self._limits.idle_timeout else ""

    def _is_stalled(self, now: float, waiting: int) -> bool:
        """Tell whether the peer has read nothing for too long while something waits for it."""
        taken = self.written - waiting
        if self.suspended or not waiting or taken != self._taken_before or not self._stalled_since:
            self._taken_before = taken
            self._stalled_since = now if waiting and not self.suspended else 0.0
            return False
        return now - self._stalled_since >= self._limits.write_timeout
