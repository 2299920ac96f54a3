"""Names that match a shell pattern: what `glob.glob` finds, in steps that can be interrupted.

Not recursive: `**` means `*`.  A hidden name needs a pattern that begins with a dot.
"""

import os

from ctld.gatherer.patterns import Pattern, has_magic

TYPE_CHECKING = False  # type checkers know the name; importing typing would double the start-up time
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["matching"]


def matching(pattern: bytes, check: "Callable[[], None]") -> list[bytes]:
    """List the paths that match, in bytewise order.

    Args:
        pattern: The pattern; a relative one starts at the current directory.
        check: Is called before each step, and may raise.
    """
    check()
    if b"\0" in pattern:
        return []
    literal, names = pattern, list[bytes]()
    while has_magic(literal):
        check()
        literal, name = os.path.split(literal)
        names.append(name)
    if not names:
        above, name = os.path.split(pattern)
        return [pattern] if _exists(above, name, pattern) else []
    paths = [literal]
    while names and paths:
        name = names.pop()
        paths = [path for above in paths for path in _below(above, name, check, directories_only=bool(names))]
    return sorted(paths)


def _exists(above: bytes, name: bytes, path: bytes) -> bool:
    """Tell whether a path without magic exists; with a slash at its end it must be a directory."""
    return os.path.lexists(path) if name else os.path.isdir(above)


def _below(above: bytes, name: bytes, check: "Callable[[], None]", *, directories_only: bool) -> "Iterator[bytes]":
    if has_magic(name):
        yield from _members(above, name, check, directories_only=directories_only)
        return
    check()
    path = os.path.join(above, name)
    if _exists(above, name, path):
        yield path


def _members(
    directory: bytes, name: bytes, check: "Callable[[], None]", *, directories_only: bool
) -> "Iterator[bytes]":
    pattern = Pattern(name)
    hidden = name.startswith(b".")
    try:
        with os.scandir(directory or b".") as entries:
            for entry in entries:
                check()
                if entry.name.startswith(b".") and not hidden:
                    continue
                if pattern.matches(entry.name) and (not directories_only or _is_directory(entry)):
                    yield os.path.join(directory, entry.name)
    except OSError:
        return  # what cannot be listed has no members, as for the shell


def _is_directory(entry: "os.DirEntry[bytes]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links, or a target that may not be looked at
        return False
