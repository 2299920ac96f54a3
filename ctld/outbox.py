"""Outbox: what connections have to say in one turn of the loop, written one right after the other.

To write to a process that sleeps wakes it up, which costs the writer more than the write
itself.  A process that has just been woken takes the next message for next to nothing, and
clients share processes and processors.  So the answers of one turn are kept until all of
them are made, and then written together.

A client that is alone gains nothing by that, and would wait for a turn of the loop.  So after
some turns with one answer each, the next ones are written at once, until it is tried again.
"""

import asyncio
from typing import Final, Protocol

__all__ = ["Outbox"]

# After so many turns in a row with no more than one answer...
_TURNS_ALONE: Final = 8

# ...so many answers are written at once.
_ANSWERS_ALONE: Final = 64


class _Sender(Protocol):
    def flush(self) -> None: ...


class Outbox:
    """The connections of one server that have something to write at the end of this turn.

    Args:
        loop: The loop.

    Attributes:
        loop: The loop.
        at_once: How many more answers are to be written at once; whoever does counts down.
    """

    __slots__ = ("_turns_alone", "_waiting", "at_once", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: list[_Sender] = []
        self._turns_alone = _TURNS_ALONE  # who comes first is alone
        self.at_once = _ANSWERS_ALONE

    def add(self, sender: _Sender) -> None:
        """Have something flushed at the end of this turn."""
        if not self._waiting:
            self.loop.call_soon(self._flush)
        self._waiting.append(sender)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._turns_alone = self._turns_alone + 1 if len(waiting) == 1 else 0
        if self._turns_alone >= _TURNS_ALONE:
            self.at_once = _ANSWERS_ALONE
        waiting.reverse()  # to be taken from the end, the first one first
        try:
            while waiting:
                waiting.pop().flush()
        finally:
            for sender in waiting:  # one of them has failed, which is no affair of the others
                self.add(sender)
