"""The directory of reports: what is in it, and who may put it there; every method may block.

A caller never says where something is written: only what it is called.  All work goes through
a descriptor of the directory, and the directory is refused where others could swap what is in it.
"""

import os
import shutil
import stat
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, Literal

import msgspec

from ctld.directories import make_directory
from ctld.errors import CommandFailed, NotFound
from ctld.gatherer.beneath import closing, open_directory, open_regular
from ctld.gatherer.draft import Draft
from ctld.gatherer.names import ARCHIVE_SUFFIX
from ctld.gatherer.packing import Archive, pack
from ctld.processes.accounts import Account

__all__ = ["ReportInfo", "ReportStore"]

_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class ReportInfo(msgspec.Struct, frozen=True):
    """One report.

    Attributes:
        name: Its name.
        kind: Whether it is a directory, or packed.
        bytes: The size of the archive.
        modified: When it was last changed, in seconds since the epoch.
    """

    name: str
    kind: Literal["directory", "archive"]
    bytes: int | None
    modified: float


class ReportStore:
    """Reports by name.

    Args:
        directory: Where they are; made when the first one is.
        max_bytes: With how many bytes no further item of a report is begun.
    """

    def __init__(self, directory: str | os.PathLike[str], *, max_bytes: int | None = None) -> None:
        self.directory = os.path.abspath(directory)
        self.max_bytes = max_bytes

    def create(self, name: str, owner: Account, head: Mapping[str, object]) -> Draft:
        """Make a new report.

        Args:
            name: Its name.
            owner: Whose the copies in it are.
            head: What its manifest begins with.

        Raises:
            CommandFailed: There is one of that name, or it cannot be made.
        """
        with self._open() as parent:
            if _exists(name + ARCHIVE_SUFFIX, parent):
                raise CommandFailed(f"there is a report {name!r} already", destination=name)
            return Draft(parent, self.directory, name, owner, head)

    def pack(self, name: str, stop: threading.Event, owner: int | None = None) -> Archive:
        """Pack a report, and remove its directory.

        Args:
            name: Its name.
            stop: Ends it early.
            owner: The user who gets the archive, if it can be given away.

        Raises:
            CommandFailed: It cannot be packed.
            PackingStopped: It was ended.
        """
        with self._open() as parent:
            if not _exists(name, parent):
                raise _not_found(name)
            archive = pack(parent, self.directory, name, stop, owner)
            with suppress(OSError):  # the archive is there all the same
                shutil.rmtree(name, dir_fd=parent)
            return archive

    def list(self) -> list[ReportInfo]:
        """Return what there is, by name."""
        with self._open() as parent:
            return [info for name in sorted(os.listdir(parent)) if (info := _info_of(name, parent)) is not None]

    def open_archive(self, name: str) -> int:
        """Return a descriptor of a packed report.

        Raises:
            NotFound: There is none of that name.
        """
        with self._open() as parent:
            try:
                return open_regular(name + ARCHIVE_SUFFIX, parent)
            except OSError:
                raise _not_found(name, "packed report") from None

    def remove(self, name: str) -> None:
        """Remove a report, packed or not.

        Raises:
            NotFound: There is none of that name.
            CommandFailed: It cannot be removed.
        """
        with self._open() as parent:
            found = False
            try:
                if _exists(name + ARCHIVE_SUFFIX, parent):
                    os.unlink(name + ARCHIVE_SUFFIX, dir_fd=parent)
                    found = True
                if _exists(name, parent):
                    shutil.rmtree(name, dir_fd=parent)
                    found = True
            except OSError as exc:
                raise CommandFailed(f"cannot remove the report {name!r}: {exc.strerror}") from None
            if not found:
                raise _not_found(name)

    @contextmanager
    def _open(self) -> Iterator[int]:
        """Open the directory; it is made if it is missing.

        Raises:
            CommandFailed: It cannot be used.
        """
        try:
            if not os.path.isdir(self.directory):
                make_directory(self.directory, 0o711)
                # Workers of other users pass through, whatever the umask says.
                os.chmod(self.directory, 0o711)  # nosec B103 # noqa: S103 - they can enter, and see no names
            descriptor = open_directory(self.directory, -1)
        except OSError as exc:
            raise CommandFailed(f"the directory of reports {self.directory} cannot be used: {exc.strerror}") from None
        with closing(descriptor):
            status = os.fstat(descriptor)
            if status.st_uid not in (0, os.geteuid()) or status.st_mode & _OTHERS_MAY_WRITE:
                raise CommandFailed(f"others may write to the directory of reports {self.directory}: it is not used")
            yield descriptor


def _info_of(name: str, parent: int) -> ReportInfo | None:
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if name.startswith("."):
        return None
    if stat.S_ISDIR(status.st_mode):
        return ReportInfo(name, "directory", None, round(status.st_mtime, 3))
    if stat.S_ISREG(status.st_mode) and name.endswith(ARCHIVE_SUFFIX):
        name = name.removesuffix(ARCHIVE_SUFFIX)
        return ReportInfo(name, "archive", status.st_size, round(status.st_mtime, 3))
    return None


def _exists(name: str, parent: int) -> bool:
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _not_found(name: str, kind: str = "report") -> NotFound:
    return NotFound(f"there is no {kind} {name!r}", kind="report", name=name)
