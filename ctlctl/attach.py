"""`ctlctl session attach`: join a session that runs already."""

from __future__ import annotations

from ctlctl.sessions import run_session

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctlctl.caller import Caller

__all__ = ["run"]


def run(caller: Caller, words: Sequence[str]) -> int:
    """Run it, and return the exit status: that of the program.

    Raises:
        CtldError: It did not work.
    """
    return run_session(caller, "session_attach", words)
