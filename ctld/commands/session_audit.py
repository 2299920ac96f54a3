"""The start and the end of every session, as events and in the history."""

import time
from typing import Literal

from ctld.events import EventBus
from ctld.history import History
from ctld.history_entry import Entry
from ctld.sessions.session import Session
from ctld.wire.jsontext import encode

__all__ = ["SessionAudit"]


class SessionAudit:
    """Tells of sessions; never of their environment or of what is typed, which may be secret.

    Args:
        events: Who listens.
        history: Who remembers; None: nobody.
    """

    def __init__(self, events: EventBus, history: History | None) -> None:
        self._events = events
        self._history = history

    def __call__(self, session: Session, what: Literal["start", "end"]) -> None:
        """Tell that a session has started, or ended."""
        details = session.describe()
        told = {key: details[key] for key in ("id", "cmd", "owner", "tty", "pid", "operation")}
        if what == "end":
            told |= {key: details[key] for key in ("exitstatus", "bytes_in", "bytes_out", "age")}
        self._events.publish("session", state=what, **told)
        if self._history is not None:
            self._history.record(
                Entry(
                    time=time.time(),
                    duration=details["age"] if what == "end" else 0.0,
                    command=f"session_{what}",
                    options=encode(told).decode(),
                    outcome="done",
                    peer=session.owner,
                    uid=session.uid,
                    operation=session.operation,
                )
            )
