"""What every kind of load is given: chance, the daemon's sockets, a place for notes, connections."""

import random
import time
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from benchmarks.soak.link import Gone, Link, Transport, Where
from benchmarks.soak.notes import Notes

__all__ = ["JOBS", "KILLED", "LATE", "PROFILE", "Persona"]

T = TypeVar("T")

JOBS: Final = ("load/quiet", "load/chatty", "load/pair", "load/term")
"""The jobs that the load is about: one that sleeps, one that writes, one of two processes, one with a terminal."""

PROFILE: Final = "load"
"""The gatherer's profile."""

KILLED: Final = 128
"""From this exit status on a signal has ended a program: one of the faults."""

LATE: Final = 15.0
"""The deadline of requests that may have to wait: for workers that are killed again and again."""

# Half of the conversations are over UNIX sockets, as they are in life.
_TRANSPORTS: Final[Sequence[Transport]] = ("unix", "unix", "tcp", "tls")

# Over TCP callers are no admins here.
_ADMIN: Final[Sequence[Transport]] = ("unix", "unix", "tls")


class Persona:
    """One client process, as its kinds of load see it.

    Args:
        where: The daemon.
        endless: An operation that never ends: whoever waits for it waits until he is cancelled.
        notes: The client's notes.
        rng: Its chance.
    """

    def __init__(self, where: Where, endless: str, notes: Notes, rng: random.Random) -> None:
        self.where = where
        self.endless = {"id": endless}
        self.notes = notes
        self.rng = rng
        self._links: dict[Transport, Link] = {}

    def link(self, *, admin: bool = False, transport: Transport | None = None) -> Link:
        """Return a connection on which nothing is under way, often one that was used before."""
        chosen = self.rng.choice(_ADMIN if admin else _TRANSPORTS) if transport is None else transport
        old = self._links.pop(chosen, None)
        if old is not None and (old.waiting or self.rng.random() < 0.1):
            old.close()
            old = None
        return old or Link(self.where, chosen, self.notes)

    def keep(self, link: Link) -> None:
        """Give a connection back, to be used again."""
        previous = self._links.get(link.transport)
        if previous is not None:
            previous.close()
        self._links[link.transport] = link

    def ask(self, command: str, opts: dict[str, Any] | None = None, *, admin: bool = False, **members: Any) -> Any:
        """Ask for one thing and return its final message."""
        link = self.link(admin=admin)
        answer = link.ask(command, opts, **members)
        self.keep(link)
        return answer

    def pause(self, most: float) -> None:
        """Do nothing for a while."""
        time.sleep(self.rng.uniform(0, most))

    def close(self) -> None:
        """Hang up everywhere."""
        for link in self._links.values():
            link.close()
        self._links.clear()

    def expect(self, condition: object, what: str) -> None:
        """Note it if an answer is not what it has to be.

        Raises:
            Gone: It is not.
        """
        if not condition:
            self.notes.trouble(("wrong", "answer"), what)
            raise Gone(what)
