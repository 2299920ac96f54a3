"""SessionTable: every session of a daemon, by id."""

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal

from ctld.errors import Busy, NotFound, ShuttingDown
from ctld.sessions.session import Session
from ctld.sessions.state import OnDisconnect

__all__ = ["GRACE", "MAX_SESSIONS", "Listener", "SessionTable"]

logger = logging.getLogger("ctld.sessions")

MAX_SESSIONS: Final = 1024
"""Sessions at once: as many as there are connections by default; each holds a few descriptors."""

GRACE: Final = 10.0
"""Seconds that a program gets to end by itself after SIGHUP."""

# Ended sessions that nobody has seen the end of: how many, and for how long, so that whoever
# was cut off can learn how it ended.
_KEPT: Final = 64
_RETENTION: Final = 15 * 60.0

# Seconds that killed programs get to be reaped at shutdown.
_REAPING: Final = 5.0

Listener = Callable[[Session, Literal["start", "end"]], None]


class SessionTable:
    """The sessions of one daemon.

    Args:
        on_change: Called when one starts, and when it has ended.
        grace: Seconds between SIGHUP and SIGKILL.
        most: How many there may be at once.
    """

    def __init__(self, on_change: Listener, *, grace: float = GRACE, most: int = MAX_SESSIONS) -> None:
        self.grace = grace
        self._on_change = on_change
        self._most = most
        self._closed = False
        self._live: dict[str, Session] = {}
        self._ended: OrderedDict[str, tuple[float, Session]] = OrderedDict()

    def create(self, argv: Sequence[str], *, tty: bool, on_disconnect: OnDisconnect) -> Session:
        """Make an entry for a program that is about to start.

        Raises:
            Busy: There are too many.
            ShuttingDown: The daemon is going down.
        """
        if self._closed:
            raise ShuttingDown("the daemon is shutting down")
        if len(self._live) >= self._most:
            raise Busy(f"there are {self._most} sessions already")
        session = Session(self, secrets.token_hex(4), argv, tty=tty, on_disconnect=on_disconnect)
        self._live[session.id] = session
        return session

    def find(self, session_id: str) -> Session:
        """Return the session of that id.

        Raises:
            NotFound: There is none, or its end is too long ago.
        """
        self._forget()
        if session_id in self._live:
            return self._live[session_id]
        if session_id in self._ended:
            return self._ended[session_id][1]
        raise NotFound(f"there is no session {session_id!r}", kind="session", name=session_id)

    def __iter__(self) -> Iterator[Session]:
        """Iterate over those that live, and those whose end nobody has seen."""
        self._forget()
        yield from [*self._live.values(), *(session for _, session in self._ended.values())]

    def __len__(self) -> int:
        """The number of those that live."""
        return len(self._live)

    def __bool__(self) -> bool:
        return True

    def started(self, session: Session) -> None:
        """Learn that the program of a session runs."""
        self._on_change(session, "start")

    def ended(self, session: Session) -> None:
        """Learn that a session has ended."""
        del self._live[session.id]
        if session.exit_status is None:
            return  # it never started: whoever asked for it knows
        if not session.watched:
            self._ended[session.id] = (time.monotonic(), session)
            self._forget()  # nobody may ever ask
        self._on_change(session, "end")

    async def close(self, hurry: asyncio.Event | None = None) -> None:
        """End all sessions: told, and after the grace period killed; nothing new starts.

        Args:
            hurry: Set when nobody wants to wait for the grace period any more.
        """
        self._closed = True
        for session in list(self._live.values()):
            session.hang_up(ShuttingDown("the daemon is shutting down"))
        # The grace period is each session's own; a hurry shortens it for all.
        await self._gone(self.grace, hurry)
        for session in list(self._live.values()):
            session.kill()
        await self._gone(_REAPING, None)
        for session in [session for session in self._live.values() if not session.starting]:
            logger.error("! session %s does not end: process %s", session.id, session.pid)
        self._ended.clear()

    async def _gone(self, timeout: float, hurry: asyncio.Event | None) -> None:
        deadline = asyncio.get_running_loop().time() + timeout
        hurried = None if hurry is None else asyncio.ensure_future(hurry.wait())
        extra: set[asyncio.Future[Any]] = set() if hurried is None else {hurried}
        try:
            # Those that only start are their commands' affair, which the server sees out after this.
            while ends := {session.over for session in self._live.values() if not session.starting}:
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0 or (hurry is not None and hurry.is_set()):
                    return
                await asyncio.wait({*ends, *extra}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if hurried is not None:
                hurried.cancel()

    def _forget(self) -> None:
        oldest = time.monotonic() - _RETENTION
        while self._ended:
            session_id, (ended, _) = next(iter(self._ended.items()))
            if ended >= oldest and len(self._ended) <= _KEPT:
                return
            del self._ended[session_id]
