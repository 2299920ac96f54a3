"""The content of one regular file into a new one, whole or not at all."""

import os

from ctld.errors import CtldError
from ctld.gatherer.interrupts import write_all

TYPE_CHECKING = False  # type checkers know the name; importing typing would double the start-up time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from ctld.gatherer.tree import Owner

__all__ = ["TooLong", "measure", "write_new"]

# One step of a copy: SIGINT is looked at after each.
_CHUNK: "Final" = 256 * 1024


class TooLong(CtldError):
    """The content goes beyond what may be written; nothing is left behind."""


def write_new(
    source: int,
    parent: int,
    name: bytes,
    like: os.stat_result,
    *,
    check: "Callable[[], None]",
    owner: "Owner | None" = None,
    at_most: "int | None" = None,
    cut: bool = False,
) -> int:
    """Copy from where a descriptor stands to its end, into a file that did not exist.

    Reads to the end and not to the size: files under /proc say that they are empty.

    Args:
        source: What to read.
        parent: The directory of the new file.
        name: Its name there.
        like: Where its mode and times come from; set-id and sticky bits do not.
        check: Is called between steps, and may raise.
        owner: Who gets it.
        at_most: How many bytes it may have.
        cut: Stop there, and keep what is written: a log may grow while its tail is read.

    Returns:
        The number of bytes written.

    Raises:
        FileExistsError: Something has that name.
        TooLong: There is more than `at_most`, and not `cut`.
        OSError: Whatever else went wrong; like after every exception, nothing is left behind.
    """
    target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
    try:
        written = _pump(source, target, check, at_most, cut=cut)
        if owner is not None:
            os.chown(target, *owner)
        os.chmod(target, like.st_mode & 0o777 | 0o600)
        os.utime(target, ns=(like.st_atime_ns, like.st_mtime_ns))
    except BaseException:
        os.unlink(name, dir_fd=parent)
        raise
    finally:
        os.close(target)
    return written


def measure(source: int, check: "Callable[[], None]") -> int:
    """Read on to the end, and return its offset: the size of what says that it is empty."""
    while os.read(source, _CHUNK):
        check()
    return os.lseek(source, 0, os.SEEK_CUR)


def _pump(source: int, target: int, check: "Callable[[], None]", at_most: "int | None", *, cut: bool) -> int:
    written = 0
    while piece := os.read(source, _CHUNK):
        check()
        if at_most is not None and written + len(piece) > at_most:
            if not cut:
                raise TooLong
            piece = piece[: at_most - written]
        write_all(target, piece)
        written += len(piece)
        if cut and written == at_most:
            break
    return written
