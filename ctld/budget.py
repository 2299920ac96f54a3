"""What all peers of a server together make it hold: a pool of input bytes.

Connections charge in whole units, so that small requests cost nothing here, and a client
that sends little is never held up by one that sends much.
"""

from collections.abc import Callable
from typing import Final

__all__ = ["UNIT", "InputBudget"]

# A connection's first unit is free: with 1024 connections that is 64 MiB at the very most.
UNIT: Final = 64 * 1024


class InputBudget:
    """Counts the input that a server has read and not served yet, in units.

    Args:
        limit: The bytes at which connections that hold more than a unit stop reading.
    """

    __slots__ = ("_limit", "_used", "_waiting")

    def __init__(self, limit: int) -> None:
        self._limit = max(1, limit // UNIT)
        self._used = 0
        self._waiting: dict[object, Callable[[], None]] = {}

    @property
    def used(self) -> int:
        """The bytes charged now."""
        return self._used * UNIT

    @property
    def exhausted(self) -> bool:
        """Whether large connections have to wait."""
        return self._used >= self._limit

    def change(self, units: int) -> None:
        """Charge units, or give some back; those who wait are called once there is room."""
        self._used += units
        if units < 0 and self._waiting and not self.exhausted:
            waiting, self._waiting = self._waiting, {}
            for resume in waiting.values():
                resume()

    def wait(self, who: object, resume: Callable[[], None]) -> None:
        """Call `resume` when there is room again; a second wish of the same one replaces the first."""
        self._waiting[who] = resume

    def forget(self, who: object) -> None:
        """Call somebody no more."""
        self._waiting.pop(who, None)
