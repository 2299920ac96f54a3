"""Job files on disk, which are the truth: names, reading, atomic writing.

A name is a path below the directory, and it may come from anywhere, so it is checked by
shape, and the way to the file is walked one folder at a time without following symbolic
links: no name leads outside, whatever lies in the directory.

A job file is code that the daemon runs, so one that anybody may write, or in a folder where anybody
may put another one, is not used.  Whose it is does not matter: who keeps the files need not be the daemon.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from ctld.errors import CommandFailed, NotFound
from ctld.jobs.jobfile import MAX_JOB_FILE

__all__ = ["SUFFIX", "InvalidJobName", "JobStore", "Scan", "check_name"]

SUFFIX: Final = ".tm.json"

_COMPONENT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_MAX_DEPTH: Final = 8

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: a FIFO that calls itself a job file must not hang the daemon.
_READING: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITING: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

# A job file is code and may hold secrets: for the daemon's user alone.
_FILE_MODE: Final = 0o600
_FOLDER_MODE: Final = 0o700


class InvalidJobName(CommandFailed):
    """A name that no job can have."""

    code = "job.name"


@dataclass(frozen=True, slots=True)
class Scan:
    """What lies in the directory.

    Attributes:
        files: The bytes of each job file, by the job's name, sorted.
        problems: What is wrong with others, by path.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def check_name(name: str) -> str:
    """Return a job's name if it is one: 1 to 8 components of plain ASCII, separated by slashes.

    Raises:
        InvalidJobName: It is none.
    """
    components = name.split("/")
    if len(components) > _MAX_DEPTH or not all(_COMPONENT.fullmatch(component) for component in components):
        raise InvalidJobName(f"{name!r} is no name for a job", name=name)
    return name


class JobStore:
    """The directory of the job files."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def scan(self) -> Scan:
        """Read every job file.

        Raises:
            NotFound: There is no such directory.
            CommandFailed: It cannot be read.
        """
        os.close(self._open_directory())
        files: dict[str, bytes] = {}
        problems: dict[str, str] = {}
        for path in sorted(self._paths(problems)):
            try:
                files[check_name(path.removesuffix(SUFFIX))] = self.read(path.removesuffix(SUFFIX))
            except CommandFailed as error:
                problems[path] = error.message
        return Scan(dict(sorted(files.items())), problems)

    def read(self, name: str) -> bytes:
        """Return the bytes of one job file as they are on disk.

        Raises:
            NotFound: There is none.
            InvalidJobName: The name is none.
            CommandFailed: It cannot be read, is no plain file or is too large.
        """
        with self._folder_of(name) as (folder, base):
            try:
                fd = os.open(base + SUFFIX, _READING, dir_fd=folder)
            except OSError as error:
                raise self._explain(error, name) from None
            try:
                mode = os.fstat(fd).st_mode
                if not stat.S_ISREG(mode):
                    raise CommandFailed(f"the file of job {name!r} is no plain file")
                if mode & stat.S_IWOTH:
                    raise CommandFailed(f"anybody may write the file of job {name!r}: it is not used (chmod o-w)")
                with os.fdopen(fd, "rb", closefd=False) as file:
                    data = file.read(MAX_JOB_FILE + 1)
            finally:
                os.close(fd)
        if len(data) > MAX_JOB_FILE:
            raise CommandFailed(f"the file of job {name!r} is larger than {MAX_JOB_FILE} bytes")
        return data

    def write(self, name: str, data: bytes) -> None:
        """Make these bytes the job's file: all of them, or, whatever happens, none.

        Raises:
            InvalidJobName: The name is none.
            CommandFailed: It cannot be written.
        """
        with self._folder_of(name, create=True) as (folder, base):
            draft = f".{base}{SUFFIX}.new"  # no name of a job begins with a dot
            try:
                fd = os.open(draft, _WRITING, _FILE_MODE, dir_fd=folder)
                with os.fdopen(fd, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(fd)
                os.rename(draft, base + SUFFIX, src_dir_fd=folder, dst_dir_fd=folder)
                os.fsync(folder)
            except OSError as error:
                raise self._explain(error, name) from None

    def remove(self, name: str) -> None:
        """Remove a job's file; it may be gone already.

        Raises:
            InvalidJobName: The name is none.
            CommandFailed: It cannot be removed.
        """
        try:
            with self._folder_of(name) as (folder, base):
                try:
                    os.unlink(base + SUFFIX, dir_fd=folder)
                    os.fsync(folder)
                except OSError as error:
                    raise self._explain(error, name) from None
        except NotFound:
            return

    def _paths(self, problems: dict[str, str]) -> Iterator[str]:
        """Yield the paths of what may be job files, relative to the directory."""

        def note(error: OSError) -> None:
            problems[os.path.relpath(error.filename, self.directory)] = error.strerror or str(error)

        for parent, folders, names in os.walk(self.directory, onerror=note):
            relative = os.path.relpath(parent, self.directory)
            for folder in folders:
                if os.path.islink(os.path.join(parent, folder)):
                    problems[os.path.normpath(os.path.join(relative, folder))] = "symbolic links are not followed"
            folders[:] = [folder for folder in folders if not folder.startswith(".")]
            for name in names:
                if name.endswith(SUFFIX) and not name.startswith("."):
                    yield os.path.normpath(os.path.join(relative, name))

    @contextmanager
    def _folder_of(self, name: str, create: bool = False) -> Iterator[tuple[int, str]]:
        """Open the folder of a job's file; yield it and the last component of the name."""
        *parents, base = check_name(name).split("/")
        folder = self._open_directory()
        try:
            for parent in parents:
                try:
                    below = self._enter(folder, parent, create)
                except OSError as error:
                    raise self._explain(error, name) from None
                os.close(folder)
                folder = below
                _require_closed(folder, parent)
            yield folder, base
        finally:
            os.close(folder)

    def _open_directory(self) -> int:
        try:
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            message = f"cannot read the job directory {self.directory!r}: {error.strerror}"
            if error.errno == errno.ENOENT:
                raise NotFound(message, kind="directory", name=self.directory) from None
            raise CommandFailed(message) from None
        try:
            _require_closed(descriptor, self.directory)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _enter(self, folder: int, name: str, create: bool) -> int:
        if create:
            try:
                os.mkdir(name, _FOLDER_MODE, dir_fd=folder)
                os.fsync(folder)
            except FileExistsError:
                pass  # whether it is a folder shows when it is opened
        return os.open(name, _FOLDER, dir_fd=folder)

    def _explain(self, error: OSError, name: str) -> CommandFailed:
        if error.errno == errno.ENOENT:
            return NotFound(f"there is no file of a job {name!r}", kind="job", name=name)
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return CommandFailed(
                f"the way to the file of job {name!r} leads over something that is no folder or no file"
            )
        return CommandFailed(f"the file of job {name!r}: {error.strerror}")


def _require_closed(folder: int, name: str) -> None:
    """Refuse a folder in which anybody may put a job file.

    Raises:
        CommandFailed: It is one.
    """
    if os.fstat(folder).st_mode & stat.S_IWOTH:
        raise CommandFailed(f"anybody may write to the job directory {name!r}: it is not used (chmod o-w)")
