"""`ctlctl job attach`: join the terminal of a job."""

from __future__ import annotations

from ctlctl.sessions import run_session

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctlctl.caller import Caller

__all__ = ["run"]


def run(caller: Caller, words: Sequence[str]) -> int:
    """Run it, and return the exit status.

    Raises:
        CtldError: It did not work.
    """
    return run_session(caller, "job_attach", words)
