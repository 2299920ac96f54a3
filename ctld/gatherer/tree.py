"""The tree below a root where copies go, reached by descriptors only.

Each directory is opened from its parent's descriptor and never through a link, so whoever
swaps a component for a link between two steps changes nothing: the descriptor stays where
it was, and the swapped name cannot be entered.
"""

import errno
import os

TYPE_CHECKING = False  # type checkers know the name; importing typing would double the start-up time
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Owner: TypeAlias = tuple[int, int]
    """A user id and a group id."""

__all__ = ["Place", "Tree", "identity"]


def identity(status: os.stat_result) -> tuple[int, int]:
    """Return what tells one file from all others: its device and inode."""
    return status.st_dev, status.st_ino


class Tree:
    """The directories below one root.

    Attributes:
        root: The identity of the root.
        owner: Who gets what is made; None leaves it to the worker's own ids.
    """

    def __init__(self, root: bytes, owner: "Owner | None" = None) -> None:
        self.owner = owner
        self._descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self.root = identity(os.fstat(self._descriptor))
        self._entered = {self.root}

    def close(self) -> None:
        """Let go of the root."""
        os.close(self._descriptor)

    def contains(self, status: os.stat_result) -> bool:
        """Tell whether a directory is one that copies go to: it is nothing to copy from."""
        return identity(status) in self._entered

    def open_root(self) -> int:
        """Return a new descriptor of the root."""
        return os.dup(self._descriptor)

    def enter(self, parent: int, name: bytes) -> tuple[int, bool]:
        """Open a directory, and make it first if it is missing.

        Args:
            parent: The descriptor of the directory above.
            name: Its name there; empty for the root itself.

        Returns:
            Its descriptor, and whether it was made.

        Raises:
            NotADirectoryError: Something else has that name, be it a link to a directory.
        """
        if not name:
            return self.open_root(), False
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
            made = True
        except FileExistsError:
            made = False
        descriptor = _open_directory(parent, name)
        try:
            if made and self.owner is not None:
                os.chown(descriptor, *self.owner)
            self._entered.add(identity(os.fstat(descriptor)))
        except BaseException:
            os.close(descriptor)
            if made:
                os.rmdir(name, dir_fd=parent)
            raise
        return descriptor, made

    def link(self, parent: int, name: bytes, text: bytes) -> None:
        """Make a symbolic link with this text."""
        os.symlink(text, name, dir_fd=parent)
        if self.owner is not None:
            try:
                os.chown(name, *self.owner, dir_fd=parent, follow_symlinks=False)
            except BaseException:
                os.unlink(name, dir_fd=parent)
                raise


class Place:
    """A directory in the tree; it and its parents are made when they are first needed."""

    def __init__(self, tree: Tree, components: "Sequence[bytes]", descriptor: "int | None" = None) -> None:
        self._tree = tree
        self._components = components
        self._descriptor = descriptor

    @property
    def descriptor(self) -> int:
        """The directory's descriptor, which stays this object's."""
        if self._descriptor is None:
            self._descriptor = self._descend()
        return self._descriptor

    def close(self) -> None:
        """Let go of the directory."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _descend(self) -> int:
        descriptor = self._tree.open_root()
        for name in self._components:
            try:
                below, _ = self._tree.enter(descriptor, name)
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor


def _open_directory(parent: int, name: bytes) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    except OSError as error:
        if error.errno == errno.ELOOP:  # some file systems say so of a link, where others say ENOTDIR
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error
        raise
