"""The sessions of the server that the running code belongs to."""

from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from ctld.errors import LocalProtocolError

if TYPE_CHECKING:
    from ctld.sessions.table import SessionTable

__all__ = ["CurrentSessions", "current_sessions"]


class CurrentSessions:
    """The table of the server that the running code belongs to."""

    def __init__(self) -> None:
        self._variable: ContextVar[SessionTable | None] = ContextVar("current_sessions", default=None)

    def get(self) -> "SessionTable":
        """Return it.

        Raises:
            LocalProtocolError: There is no server here.
        """
        table = self._variable.get()
        if table is None:
            raise LocalProtocolError("sessions live in a server: there is none here")
        return table

    def set(self, table: "SessionTable") -> None:
        """Belong to a server from now on."""
        self._variable.set(table)


current_sessions: Final = CurrentSessions()
"""Where `Session.spawn()` puts its session."""
