"""Why a child could not be started, in one sentence that names program, thing and reason."""

import errno
import os
from typing import Final

from ctld.errors import Busy, CommandFailed, NotFound

__all__ = ["explain", "explain_report"]

# What runs out and comes back.
_EXHAUSTED: Final = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})

_MISSING: Final = frozenset({errno.ENOENT, errno.ENOTDIR})

# The steps of `launcher.py`; its last one, the exec, fails as any start does.
_STEPS: Final = {
    "limit": "cannot set its limits",
    "set_priority": "cannot set its priority",
    "take_terminal": "cannot give it the terminal",
    "change_user": "cannot change its user",
    "bind_to_parent": "cannot bind it to the daemon",
}


def explain(
    error: Exception, program: str, *, cwd: str | None = None, account: str | int | None = None
) -> CommandFailed:
    """Turn what Popen raised into what is wrong.

    Args:
        error: An OSError, or a ValueError for arguments that no program can have.
        program: The program as it was given.
        cwd: The directory in which it was to run.
        account: The user or group as which it was to run.
    """
    start = f"cannot start {program!r}"
    if not isinstance(error, OSError):
        return CommandFailed(f"{start}: {error}")
    reason = error.strerror or str(error)
    if error.errno in _EXHAUSTED:
        return Busy(f"{start}: {reason}")
    # Before 3.13 Popen blames the directory for whatever fails before the exec; only the
    # calls that change the user fail with EPERM.
    if error.errno == errno.EPERM and error.filename != program:
        return CommandFailed(f"{start}: not permitted to run it as {account!r}")
    if cwd is not None and error.filename == cwd != program:
        message = f"{start}: directory {cwd!r}: {reason}"
        return NotFound(message, kind="directory", name=cwd) if error.errno in _MISSING else CommandFailed(message)
    if error.errno not in _MISSING:
        return CommandFailed(f"{start}: {reason}")
    if os.path.isfile(os.path.join(cwd or "", program)):
        return CommandFailed(f"{start}: the interpreter in its first line is missing")
    return NotFound(f"{start}: no such program", kind="program", name=program)


def explain_report(report: str, program: str, *, cwd: str | None = None) -> CommandFailed:
    """Turn the launcher's report, `STEP ERRNO TEXT`, into what is wrong."""
    step, number, text = report.split(" ", 2)
    code = int(number)
    if step in _STEPS:
        return CommandFailed(f"cannot start {program!r}: {_STEPS[step]}: {os.strerror(code) if code else text}")
    if not code:
        return CommandFailed(f"cannot start {program!r}: {text}")
    return explain(OSError(code, os.strerror(code), program), program, cwd=cwd)
