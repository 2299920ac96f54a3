"""The daemon's disk, which this soak can fill: a small file system of its own, or a limit on the size of files.

To mount one takes root; it is seen by this process and its children alone, and goes with them.
"""

import contextlib
import ctypes
import errno
import os
import resource
import subprocess
from pathlib import Path
from typing import Final, Protocol

__all__ = ["Disk", "LimitedDisk", "SmallDisk", "make_disk"]

# The audit log of a run with its write-ahead log, several times over.
_SIZE: Final = 256 * 1024 * 1024

_CLONE_NEWNS: Final = 0x00020000


class Disk(Protocol):
    """A disk that can be full."""

    def fill(self, daemon: int) -> None:
        """Leave no room."""
        ...

    def empty(self, daemon: int) -> None:
        """Make room again."""
        ...


class SmallDisk:
    """A small file system.

    Args:
        folder: Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self, daemon: int) -> None:
        """Write a file until there is no room."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1024 * 1024, 4096):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        continue

    def empty(self, daemon: int) -> None:
        """Remove that file."""
        self._ballast.unlink(missing_ok=True)


class LimitedDisk:
    """A limit on how large the daemon's files may grow: to it, a disk without room."""

    def fill(self, daemon: int) -> None:
        """Let nothing grow that has a page already."""
        resource.prlimit(daemon, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    def empty(self, daemon: int) -> None:
        """Let everything grow."""
        resource.prlimit(daemon, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def make_disk(folder: Path) -> tuple[Disk, str]:
    """Make a folder into a disk that can be filled; return it, and what it is in plain words."""
    folder.mkdir()
    try:
        _leave_mount_namespace()
        options = f"size={_SIZE},mode=0700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "soak", str(folder)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return LimitedDisk(), "files that may not grow (no file system can be mounted here)"
    return SmallDisk(folder), f"a file system of {_SIZE // 1024 // 1024} MiB"


def _leave_mount_namespace() -> None:
    """Have mounts of our own, which nobody else sees (os.unshare is new in Python 3.12).

    Raises:
        OSError: We may not.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    try:
        subprocess.run(["mount", "--make-rprivate", "/"], check=True, capture_output=True)
    except subprocess.CalledProcessError as exc:
        raise OSError(errno.EPERM, "mounts cannot be made private") from exc
