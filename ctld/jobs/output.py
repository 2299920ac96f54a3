"""The files that jobs write to: opened for the child, rotated behind its back.

A job's output never passes through the daemon: the child has the file itself, opened
O_APPEND, so that the daemon may die at any moment and no line is lost.  The price is paid by
rotation, which cannot make the child open another file: it copies the file and truncates
it.  What is written between the last byte copied and the truncation is lost; that is
microseconds, and only of a job that writes at that very moment.

The folder may belong to the job's user, who must not have root write elsewhere: see `safe_folder.py`.
"""

import os
import shutil
from typing import Final

from ctld.jobs.safe_folder import SafeFolder, open_safely, safe_folder

__all__ = ["log_path", "open_log", "rotate"]

# Not blocking, as a FIFO without reader blocks an open.
_APPENDING: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY


def log_path(directory: str, name: str, index: int) -> str:
    """Return the path of an output file: the number of the process goes before the file's name."""
    folder, base = os.path.split(name)
    return os.path.join(directory, folder, f"{index}_{base}")


def open_log(path: str, umask: int) -> int:
    """Open an output file to be handed to a child, and make it if need be.

    Raises:
        OSError: It cannot be opened.
    """
    fd = open_safely(path, _APPENDING, 0o666 & ~umask)
    os.set_blocking(fd, True)
    return fd


def rotate(path: str, backups: int) -> None:
    """Move the content of an output file to `PATH.1`, that to `PATH.2`, and so on; the oldest goes.

    It blocks for as long as the copy takes: call it in a thread.

    Raises:
        OSError: It cannot be done; nothing has been truncated then.
    """
    folder, name = os.path.split(path)
    with safe_folder(folder) as opened, open(opened.open(name, os.O_RDWR), "r+b") as current:
        if backups:
            for number in range(backups - 1, 0, -1):
                if opened.has(f"{name}.{number}"):
                    _rename(opened, f"{name}.{number}", f"{name}.{number + 1}")
            _copy(current.fileno(), opened, f"{name}.1")
        current.truncate(0)


def _copy(source: int, folder: SafeFolder, name: str) -> None:
    draft = f"{name}.new"
    if folder.has(draft):
        os.unlink(draft, dir_fd=folder.descriptor)  # of a rotation that was cut short
    mode = os.fstat(source).st_mode & 0o777
    target = folder.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(target, "wb") as copy, open(source, "rb", closefd=False) as original:
        shutil.copyfileobj(original, copy)
    _rename(folder, draft, name)


def _rename(folder: SafeFolder, old: str, new: str) -> None:
    os.replace(old, new, src_dir_fd=folder.descriptor, dst_dir_fd=folder.descriptor)
