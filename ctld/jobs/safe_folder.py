"""The way to a file that lies where somebody else may change the way.

A job's folder often belongs to the user it runs as, and the daemon, which may be root, opens
the job's output files there.  That user can put a symbolic link in the place of a folder, and
have root make, append to, rotate or show a file of the same name elsewhere.  So the way is walked one
step at a time, by descriptors, and no step may lead from what belongs to somebody whom we have no
reason to trust to what belongs to somebody else: who owns a link, or a folder, cannot lead us
out of what is his.  (systemd-tmpfiles has the same rule.)

A second name of a file (a hard link) leads elsewhere just as well: in such a folder a file
has one name.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

__all__ = ["SafeFolder", "open_safely", "safe_folder"]

_STEP: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

# As many as the kernel follows.
_MAX_LINKS: Final = 40


@dataclass(frozen=True, slots=True)
class SafeFolder:
    """A folder at the end of a safe way.

    Attributes:
        descriptor: A descriptor for `dir_fd`.
        path: What it was called.
        trusted: Whether it belongs to us, or to root.
    """

    descriptor: int
    path: str
    trusted: bool

    def open(self, name: str, flags: int, mode: int = 0o600) -> int:
        """Open a file in it; its name is never followed as a link.

        Raises:
            OSError: It cannot be opened, or could be somebody else's.
        """
        path = os.path.join(self.path, name)
        try:
            descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=self.descriptor)
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from None
        found = os.fstat(descriptor)
        if not self.trusted and (found.st_nlink != 1 or not stat.S_ISREG(found.st_mode)):
            os.close(descriptor)
            raise PermissionError(errno.EPERM, "it is no plain file of one name, in another user's folder", path)
        return descriptor

    def has(self, name: str) -> bool:
        """Tell whether there is anything of that name in it."""
        try:
            os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True


@contextmanager
def safe_folder(path: str, *, trusted: frozenset[int] | None = None) -> Iterator[SafeFolder]:
    """Walk to a folder, for the time of a `with` block.

    Args:
        path: The folder.
        trusted: Whose links and folders may lead anywhere; None: root's and our own.

    Raises:
        OSError: There is no such folder, or the way leads from one user to another.
    """
    trusted = frozenset({0, os.geteuid()}) if trusted is None else trusted
    descriptor = os.open("/", _STEP)
    try:
        owner = os.fstat(descriptor).st_uid
        ahead = _parts(os.path.abspath(path))
        links = 0
        while ahead:
            name = ahead.pop()
            step = _step(name, descriptor, path)
            try:
                found = os.fstat(step)
                if found.st_uid != owner and owner not in trusted:
                    raise PermissionError(errno.EPERM, "a folder or link of another user leads there", path)
                owner = found.st_uid
                if stat.S_ISLNK(found.st_mode):
                    links += 1
                    if links > _MAX_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                    ahead += _parts(os.readlink("", dir_fd=step))
                    continue
                if not stat.S_ISDIR(found.st_mode):
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
                descriptor, step = step, descriptor
            finally:
                os.close(step)
        yield SafeFolder(descriptor, path, owner in trusted)
    finally:
        os.close(descriptor)


def open_safely(path: str, flags: int, mode: int = 0o600) -> int:
    """Open a file at the end of a safe way; see `SafeFolder.open()`.

    Raises:
        OSError: It cannot be opened, or could be somebody else's.
    """
    folder, name = os.path.split(path)
    try:
        with safe_folder(folder) as opened:
            return opened.open(name, flags, mode)
    except OSError as error:
        error.filename = path
        raise


def _parts(path: str) -> list[str]:
    """Return the steps of a path, the last one first; "/" is one, too."""
    names = [name for name in reversed(path.split("/")) if name not in ("", ".")]
    return [*names, "/"] if path.startswith("/") else names


def _step(name: str, folder: int, path: str) -> int:
    try:
        return os.open(name, _STEP, dir_fd=folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
