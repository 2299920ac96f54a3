"""The file of what is to be run later: read as a whole, replaced as a whole."""

import contextlib
import logging
import os
import stat
from collections.abc import Collection
from typing import Any, Final

import msgspec

from ctld.directories import make_directory
from ctld.errors import CommandFailed
from ctld.peer import Role

__all__ = ["MAX_ENTRY", "ScheduledCommand", "read_entries", "write_entries"]

logger = logging.getLogger("ctld.schedule")

# Bytes of an entry: a command with its options.  The file is written as a whole, and so it must not grow large.
MAX_ENTRY: Final = 16 * 1024

_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class ScheduledCommand(msgspec.Struct, frozen=True, kw_only=True):
    """One entry.

    Attributes:
        id: Its name.
        at: When it is due, in seconds since 1970.
        command: The command.
        options: Its options.
        peer: Who asked for it, for people.
        role: The role that the peer had.
        uid: The user id of the peer.
        transport: How the peer came.
        fallback: The role that it has later where no rule names it.
    """

    id: str
    at: float
    command: str
    options: dict[str, Any] = {}
    peer: str = ""
    role: Role = "anyone"
    uid: int | None = None
    transport: str = ""
    fallback: Role = "anyone"


def read_entries(path: str) -> list[ScheduledCommand]:
    """Return what a file holds; none if there is no file.

    A file that is not understood is told in the log and kept beside the new one, as `PATH.broken`.

    Raises:
        CommandFailed: It cannot be read; whoever wrote it now would lose what it holds.  Or somebody
            else could have written it: what it holds is run with the roles that it names.
    """
    try:
        with open(path, "rb", opener=_open_no_link) as file:
            found = os.fstat(file.fileno())
            if found.st_uid not in (0, os.geteuid()) or found.st_mode & _OTHERS_MAY_WRITE:
                raise CommandFailed(f"the schedule {path} could be somebody else's: it is not read")
            return msgspec.json.decode(file.read(), type=list[ScheduledCommand])
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise CommandFailed(f"cannot read the schedule {path}: {exc.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        reason = str(exc)
    aside = _free_name(f"{path}.broken")
    try:
        os.rename(path, aside)
    except OSError as exc:
        raise CommandFailed(f"cannot read the schedule {path}: {reason}; nor move it: {exc.strerror}") from None
    logger.error("! the schedule is not understood, and nothing of it will run: %s (kept as %s)", reason, aside)
    return []


def write_entries(path: str, entries: Collection[ScheduledCommand]) -> None:
    """Replace a file as a whole, so that it is never half of one.

    Raises:
        CommandFailed: It cannot be written, and is as it was.
    """
    draft = f"{path}.new"
    folder = os.path.dirname(path)
    try:
        make_directory(folder)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)  # whatever it is: what is opened below is ours
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(file, "wb") as out:
            out.write(msgspec.json.encode(entries))
            out.flush()
            os.fsync(file)
        os.replace(draft, path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            os.unlink(draft)  # where the disk is full, it would take what is left
        raise CommandFailed(f"cannot write the schedule {path}: {exc.strerror}") from None
    with contextlib.suppress(OSError):  # it is written; only a power failure could undo that now
        _sync_folder(folder)


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _sync_folder(path: str) -> None:
    """Have the kernel note a new name on the disk."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _free_name(path: str) -> str:
    """Return a name that nothing has, so that an older broken file is not lost either."""
    number, name = 1, path
    while os.path.lexists(name):
        number += 1
        name = f"{path}.{number}"
    return name
