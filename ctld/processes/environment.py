"""What of the daemon's environment its children inherit: not what was said to the daemon alone."""

import os
from collections.abc import Mapping
from typing import Final

__all__ = ["inherited_environment"]

# What the service manager told the daemon: a child that took itself for the daemon would tell
# systemd that it is ready, listen on the daemon's sockets, or find its credentials.
_OF_THE_MANAGER: Final = frozenset(
    {
        "CREDENTIALS_DIRECTORY",
        "FDSTORE",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "LISTEN_FDNAMES",
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "MAINPID",
        "MAINPIDFDID",
        "MANAGERPID",
        "MANAGERPIDFDID",
        "NOTIFY_SOCKET",
        "SYSTEMD_EXEC_PID",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    }
)

# What another ctld told this one, whose job it is: that one looks for its jobs by the token.
_OF_ANOTHER: Final = frozenset({"CTLD_JOB", "CTLD_PROCESS", "CTLD_TOKEN"})


def inherited_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what a child gets to see of an environment.

    Args:
        environ: The environment; None: that of this process.
    """
    environ = os.environ if environ is None else environ
    return {name: value for name, value in environ.items() if name not in _OF_THE_MANAGER | _OF_ANOTHER}
