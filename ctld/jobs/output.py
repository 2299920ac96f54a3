"""The files that jobs write to: opened for the child, rotated behind its back.

A job's output never passes through the daemon: the child has the file itself, opened
O_APPEND, so that the daemon may die at any moment and no line is lost.  The price is paid by
rotation, which cannot make the child open another file: it copies the file and truncates
it.  What is written between the last byte copied and the truncation is lost; that is
microseconds, and only of a job that writes at that very moment.
"""

import os
import shutil
from typing import Final

__all__ = ["log_path", "open_log", "rotate"]

# The last component must be no symbolic link: its folder may belong to the job's user, who
# would have root append to any file.  Not blocking, as a FIFO without reader blocks an open.
_APPENDING: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def log_path(directory: str, name: str, index: int) -> str:
    """Return the path of an output file: the number of the process goes before the file's name."""
    folder, base = os.path.split(name)
    return os.path.join(directory, folder, f"{index}_{base}")


def open_log(path: str, umask: int) -> int:
    """Open an output file to be handed to a child, and make it if need be.

    Raises:
        OSError: It cannot be opened.
    """
    fd = os.open(path, _APPENDING, 0o666 & ~umask)
    os.set_blocking(fd, True)
    return fd


def rotate(path: str, backups: int) -> None:
    """Move the content of an output file to `PATH.1`, that to `PATH.2`, and so on; the oldest goes.

    It blocks for as long as the copy takes: call it in a thread.

    Raises:
        OSError: It cannot be done; nothing has been truncated then.
    """
    with open(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "r+b") as current:
        if backups:
            for number in range(backups - 1, 0, -1):
                if os.path.lexists(f"{path}.{number}"):
                    os.replace(f"{path}.{number}", f"{path}.{number + 1}")
            _copy(current.fileno(), f"{path}.1")
        current.truncate(0)


def _copy(source: int, path: str) -> None:
    draft = f"{path}.new"
    if os.path.lexists(draft):
        os.unlink(draft)  # of a rotation that was cut short
    mode = os.fstat(source).st_mode & 0o777
    target = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(target, "wb") as copy, open(source, "rb", closefd=False) as original:
        shutil.copyfileobj(original, copy)
    os.replace(draft, path)
