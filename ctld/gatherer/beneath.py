"""Reading a tree that somebody else may write to: nothing in it leads out of it.

Workers own what they have copied, and a program that one of them started may still live: a
name can become a link between two looks at it.  So each step goes through a descriptor of the
directory before, follows no link, and what is opened is looked at again.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["TreeReader", "closing", "open_directory", "open_regular"]

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_directory(name: str | bytes, parent: int) -> int:
    """Return a descriptor of a directory that is no link.

    Raises:
        OSError: There is none.
    """
    return os.open(name, _DIRECTORY, dir_fd=parent)


def open_regular(name: str | bytes, parent: int) -> int:
    """Return a descriptor of a regular file that has this one name.

    A second name could be that of a file elsewhere, which who made it may not read.

    Raises:
        OSError: There is none; `EPERM` if it is something else.
    """
    descriptor = os.open(name, _FILE, dir_fd=parent)
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:
        os.close(descriptor)
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))
    return descriptor


class TreeReader:
    """Opens many files of a tree, and remembers the last directory: neighbours come together.

    Args:
        root: A descriptor of the tree's root; it stays open.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._names: list[bytes] = []
        self._descriptors: list[int] = []

    def open(self, names: list[bytes]) -> int:
        """Return a descriptor of the regular file to which these names lead.

        Raises:
            OSError: There is none.
        """
        *directories, name = names
        common = 0
        while common < min(len(directories), len(self._names)) and directories[common] == self._names[common]:
            common += 1
        self._leave(common)
        for directory in directories[common:]:
            self._descriptors.append(open_directory(directory, self._last))
            self._names.append(directory)
        return open_regular(name, self._last)

    def close(self) -> None:
        """Forget the last directory."""
        self._leave(0)

    @property
    def _last(self) -> int:
        return self._descriptors[-1] if self._descriptors else self._root

    def _leave(self, depth: int) -> None:
        while len(self._descriptors) > depth:
            os.close(self._descriptors.pop())
            self._names.pop()


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Close a descriptor at the end of a `with` block."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)
