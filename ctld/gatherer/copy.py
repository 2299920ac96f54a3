"""`cp` and `globcp`: copies of files and trees below a root, by the rules of the wire's page.

Theory of operation.  Each path is first pinned: opened with O_PATH and O_NOFOLLOW, which
opens neither FIFO nor device and follows no link.  Its kind is asked of that descriptor, and
what is read is opened again through it (`/proc/self/fd`), so it is the very file whose kind
was checked, whatever its name points to by now.  Where it goes is reached by descriptors too
(see `ctld.gatherer.tree`).  Directories are walked with a stack of our own: their depth is
bounded by the descriptors we may have, not by Python's recursion limit.

Forbidden patterns are held against the path as it was asked for, and against the path where
the kernel found it: a link above a forbidden file is no way around them.
"""

import errno
import os
import stat

from ctld.gatherer.listing import matching
from ctld.gatherer.paths import join, normalise, relative, split_components
from ctld.gatherer.transfer import TooLong, measure, write_new
from ctld.gatherer.tree import Place, Tree, identity

TYPE_CHECKING = False  # type checkers know the name; importing typing would double the start-up time
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

    from ctld.gatherer.patterns import Pattern
    from ctld.gatherer.protocol import Result
    from ctld.gatherer.tree import Owner

__all__ = ["Rules", "copy", "copy_matching"]

# The end of a compressed file is of no use to anybody.
_COMPRESSED: "Final" = (b".gz", b".bz2", b".xz", b".zip", b".zst")

# No file system holds more; longer digits are a mistake and cost time to convert.
_MAX_LIMIT_DIGITS: "Final" = 19


class Rules:
    """What the privileged side decided when it started the worker.

    Attributes:
        forbidden: Patterns of what is never copied.
        owner: Who gets the copies.
    """

    __slots__ = ("forbidden", "owner")

    def __init__(self, forbidden: "Sequence[Pattern]" = (), owner: "Owner | None" = None) -> None:
        self.forbidden = forbidden
        self.owner = owner

    def forbid(self, *paths: bytes) -> bool:
        """Tell whether one of the paths, or a directory above it, is forbidden."""
        return any(pattern.covers(path) for pattern in self.forbidden for path in paths)


def copy(source: bytes, root: bytes, rules: Rules, check: "Callable[[], None]") -> "list[Result]":
    """Copy one path.

    Args:
        source: Its absolute path.
        root: An existing directory; the copy's path is this and the source's.
        rules: What may be copied, and for whom.
        check: Is called between steps, and may raise; what is complete then stays.

    Returns:
        What became of it, and of what it led to.
    """
    return _below(root, rules, lambda tree: _Copier(tree, rules, None, check).run([source]))


def copy_matching(
    pattern: bytes, root: bytes, limit: bytes, rules: Rules, check: "Callable[[], None]"
) -> "list[Result]":
    """Copy all paths that match, newest first up to a limit on their bytes; `0` is no limit."""

    def run(tree: Tree) -> "list[Result]":
        if not limit.isdigit() or len(limit) > _MAX_LIMIT_DIGITS:
            return [_failure(limit, errno.EINVAL)]
        paths = matching(pattern, check)
        if not int(limit):
            return _Copier(tree, rules, None, check).run(paths)
        paths.sort(key=_mtime, reverse=True)  # stable: those of the same time stay in order of their names
        return _Copier(tree, rules, _Budget(int(limit)), check).run(paths)

    return _below(root, rules, run)


def _below(root: bytes, rules: Rules, run: "Callable[[Tree], list[Result]]") -> "list[Result]":
    if b"\0" in root:
        return [_failure(root, errno.EINVAL)]
    try:
        tree = Tree(root, rules.owner)
    except OSError as error:
        return [_failure(root, error.errno)]
    umask = os.umask(0)  # the modes that are given here are meant as they are
    try:
        return run(tree)
    finally:
        os.umask(umask)
        tree.close()


def _failure(path: bytes, number: "int | None") -> "Result":
    return "FAIL", errno.errorcode.get(number or 0, "EIO"), path


def _mtime(path: bytes) -> int:
    try:
        return os.lstat(path).st_mtime_ns
    except OSError:
        return 0  # gone already: the copy will say so


class _Budget:
    """How many bytes all regular files together may have."""

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.used_up = False  # a file has come that did not fit: no other is looked at


class _Item:
    """One path on its way: where it is read, and where it goes."""

    __slots__ = ("name", "parent", "path", "physical", "place")

    def __init__(self, parent: int, name: bytes, path: bytes, physical: bytes, place: Place) -> None:
        self.parent = parent  # the directory that is read, as a descriptor
        self.name = name  # in both directories; empty for `/` itself
        self.path = path  # as it was asked for
        self.physical = physical  # where the kernel found it
        self.place = place  # the directory of the copy


class _Frame:
    """A directory whose entries are being copied."""

    def __init__(self, item: _Item, source: int, place: Place, names: list[bytes]) -> None:
        self.item = item
        self.source = source
        self.place = place
        self.names = names  # backwards: the next one is the last
        self.finish_like: os.stat_result | None = None  # if the copy was made here, and is ours to finish

    def next_item(self) -> "_Item | None":
        if not self.names:
            return None
        name = self.names.pop()
        return _Item(self.source, name, join(self.item.path, name), join(self.item.physical, name), self.place)

    def finish(self) -> None:
        """Give the copy its mode and times, which the entries would have changed."""
        if (like := self.finish_like) is None:
            return
        try:
            os.chmod(self.place.descriptor, like.st_mode & 0o777 | 0o700)
            os.utime(self.place.descriptor, ns=(like.st_atime_ns, like.st_mtime_ns))
        except OSError:
            return  # a file system without modes: the entries are there, which is what was asked for

    def close(self) -> None:
        os.close(self.source)
        self.place.close()


class _Copier:
    """One request at work."""

    def __init__(self, tree: Tree, rules: Rules, budget: "_Budget | None", check: "Callable[[], None]") -> None:
        self._tree = tree
        self._rules = rules
        self._budget = budget
        self._check = check
        self._handled: set[bytes] = set()
        self._frames: list[_Frame] = []
        self._results: list[Result] = []

    def run(self, paths: "Sequence[bytes]") -> "list[Result]":
        try:
            for path in paths:
                self._follow(self._path(path))
                while self._frames:
                    self._step(self._frames[-1])
        finally:
            for frame in self._frames:
                frame.close()
        return self._results

    def _step(self, frame: _Frame) -> None:
        """Copy the next entry of a directory, or leave the directory."""
        item = frame.next_item()
        if item is None:
            frame.finish()
            self._frames.pop().close()
        elif self._begin(item.path) and self._allowed(item):
            self._follow(self._entry(item))

    def _follow(self, target: "bytes | None") -> None:
        """Copy what a link points to, which may be a link again."""
        while target is not None:
            target = self._path(target, linked=True)

    def _path(self, path: bytes, *, linked: bool = False) -> "bytes | None":
        """Copy what a path names; return the target if it is a link."""
        if not path.startswith(b"/") or b"\0" in path:
            self._add(_failure(path, errno.EINVAL))
            return None
        path = normalise(path)
        if not self._begin(path):
            return None
        if self._rules.forbid(path):
            self._add(("SKIP", "forbidden", path))
            return None
        above, name = os.path.split(path)
        try:
            parent = os.open(above, os.O_PATH | os.O_DIRECTORY)
        except OSError as error:
            self._add(_unreachable(path, error, linked=linked))
            return None
        place = Place(self._tree, split_components(above))
        try:
            item = _Item(parent, name, path, join(os.readlink(_reopened(parent)), name), place)
            return self._entry(item, linked=linked) if self._allowed(item) else None
        finally:
            place.close()
            os.close(parent)

    def _add(self, result: "Result") -> None:
        self._results.append(result)

    def _begin(self, path: bytes) -> bool:
        """Tell whether a path has not been handled yet."""
        self._check()
        if path in self._handled:
            return False
        self._handled.add(path)
        return True

    def _allowed(self, item: _Item) -> bool:
        if self._rules.forbid(item.path, item.physical):
            self._add(("SKIP", "forbidden", item.path))
            return False
        return True

    def _entry(self, item: _Item, *, linked: bool = False) -> "bytes | None":
        """Copy one entry of an open directory; return the target if it is a link."""
        try:
            pinned = os.open(item.name or b".", os.O_PATH | os.O_NOFOLLOW, dir_fd=item.parent)
        except OSError as error:
            self._add(_unreachable(item.path, error, linked=linked))
            return None
        try:
            status = os.fstat(pinned)
            if stat.S_ISLNK(status.st_mode):
                return self._link(item, pinned)
            if stat.S_ISREG(status.st_mode):
                self._add(self._file(item, pinned, status))
            elif not stat.S_ISDIR(status.st_mode):
                self._add(("SKIP", "special", item.path))
            elif linked:
                self._add(("SKIP", "linkdir", item.path))
            else:
                self._directory(item, pinned, status)
        except FileExistsError:
            self._add(("SKIP", "exists", item.path))
        except OSError as error:
            self._add(_failure(item.path, error.errno))
        finally:
            os.close(pinned)
        return None

    def _link(self, item: _Item, pinned: int) -> bytes:
        text = os.readlink(b"", dir_fd=pinned)
        above = os.path.dirname(item.path)
        target = join(above, text)
        try:
            # An absolute target would lead out of the tree: it becomes the same place inside.
            inside = relative(target, above) if text.startswith(b"/") else text
            self._tree.link(item.place.descriptor, item.name, inside)
        except FileExistsError:
            self._add(("SKIP", "exists", item.path))
        else:
            self._add(("LINK", "0", item.path))
        return target

    def _directory(self, item: _Item, pinned: int, status: os.stat_result) -> None:
        if identity(status) == self._tree.root:
            self._add(("SKIP", "self", item.path))
            return
        source = os.open(b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=pinned)
        try:
            names = self._names(source)
            parent = item.place.descriptor
            if self._tree.contains(status):  # it lies below the root, and copies go into this very directory
                self._add(("SKIP", "self", item.path))
                os.close(source)
                return
            target, made = self._tree.enter(parent, item.name)
        except BaseException:
            os.close(source)
            raise
        frame = _Frame(item, source, Place(self._tree, (), target), names)
        self._frames.append(frame)
        if made:
            self._add(("DIR", "0", item.path))
            frame.finish_like = status

    def _names(self, directory: int) -> list[bytes]:
        names = []
        with os.scandir(directory) as entries:
            for entry in entries:
                self._check()
                names.append(os.fsencode(entry.name))
        names.sort(reverse=True)
        return names

    def _file(self, item: _Item, pinned: int, status: os.stat_result) -> "Result":
        if self._budget is not None and self._budget.used_up:
            return "SKIP", "limit", item.path
        source = os.open(_reopened(pinned), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            if self._budget is None:
                return "FILE", str(self._write(item, source, status)), item.path
            return self._file_within(self._budget, item, source, status)
        finally:
            os.close(source)

    def _file_within(self, budget: _Budget, item: _Item, source: int, status: os.stat_result) -> "Result":
        size = status.st_size
        if size <= budget.left:
            try:
                written = self._write(item, source, status, at_most=budget.left)
            except TooLong:  # it has grown, or says that it is empty as files under /proc do
                size = measure(source, self._check)
            else:
                budget.left -= written
                return "FILE", str(written), item.path
        budget.used_up = True
        if not budget.left or item.name.endswith(_COMPRESSED):
            return "SKIP", "limit", item.path
        os.lseek(source, size - budget.left, os.SEEK_SET)
        written = self._write(item, source, status, at_most=budget.left, tail=True)
        return "TAIL", str(written), item.path

    def _write(
        self, item: _Item, source: int, status: os.stat_result, *, at_most: "int | None" = None, tail: bool = False
    ) -> int:
        name = item.name + b".tailed" if tail else item.name
        return write_new(
            source,
            item.place.descriptor,
            name,
            status,
            check=self._check,
            owner=self._rules.owner,
            at_most=at_most,
            cut=tail,
        )


def _reopened(descriptor: int) -> bytes:
    """Return the path that leads to what a descriptor has open, whatever its name is by now."""
    return b"/proc/self/fd/%d" % descriptor


def _unreachable(path: bytes, error: OSError, *, linked: bool) -> "Result":
    if linked and error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "SKIP", "missing", path
    return _failure(path, error.errno)
