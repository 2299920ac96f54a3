"""Finding a process that a daemon was just starting when it was killed.

Its token is in its environment, but only once it runs its own program.  Between fork and exec
it still looks like the daemon that made it: the same command line, another pid.  So the
search is not over while there is such a process; it becomes the program within microseconds,
or, on a busy machine, when it is its turn.
"""

import asyncio
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ctld.jobs.ledger import TOKEN_VARIABLE, Entry
from ctld.processes import ProcessIdentity, is_launcher

__all__ = ["command_digest", "find_process"]

# Between two looks, and at most: a process that has not got to its exec by then has other troubles.
_INTERVAL: Final = 0.005
_PATIENCE: Final = 5.0


def command_digest(pid: int | str) -> str:
    """Return a digest of a process's command line; empty when there is no such process."""
    return hashlib.sha256(command).hexdigest() if (command := _read(Path(f"/proc/{pid}"), "cmdline")) else ""


async def find_process(entry: Entry) -> ProcessIdentity | None:
    """Return the process that an entry is about, if it still lives."""
    if entry.identity is not None:
        return entry.identity if entry.identity.is_current() else None
    for _ in range(int(_PATIENCE / _INTERVAL)):
        # In this order: what is born between the two looks is found by the next one.
        unborn = _is_anybody_unborn(entry)
        if (found := _find_token(entry.token)) is not None or not unborn:
            return found
        await asyncio.sleep(_INTERVAL)
    return None


def _find_token(token: str) -> ProcessIdentity | None:
    """Find the oldest session leader that was started with a token in its environment."""
    wanted = f"{TOKEN_VARIABLE}={token}".encode()
    # Its descendants inherit the token, but were started later.
    found = [
        identity
        for path in _processes()
        if wanted in _read(path, "environ").split(b"\0")
        and _leads_session(int(path.name))
        and (identity := ProcessIdentity.of(int(path.name))) is not None
    ]
    return min(found, key=lambda identity: identity.started, default=None)


def _is_anybody_unborn(entry: Entry) -> bool:
    """Tell whether there is a process that may yet become one of the dead daemon's children."""
    if entry.daemon is None:
        return False
    for path in _processes():
        pid = int(path.name)
        identity = ProcessIdentity.of(pid)
        if identity is None or pid == os.getpid() or identity.started < entry.daemon.started:
            continue
        if command_digest(pid) == entry.daemon_command or is_launcher(_read(path, "cmdline")):
            return True
    return False


def _processes() -> Iterator[Path]:
    return (path for path in Path("/proc").iterdir() if path.name.isdecimal())


def _read(path: Path, name: str) -> bytes:
    try:
        return (path / name).read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def _leads_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False
