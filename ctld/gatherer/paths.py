"""Absolute paths as text: never looks at the file system.  Pure."""

__all__ = ["join", "normalise", "relative", "split_components"]


def split_components(path: bytes) -> list[bytes]:
    """Return the names that lead from `/` to an absolute path, with `.` and `..` resolved as text."""
    names: list[bytes] = []
    for name in path.split(b"/"):
        if name == b"..":
            del names[-1:]
        elif name not in (b"", b"."):
            names.append(name)
    return names


def normalise(path: bytes) -> bytes:
    """Return the shortest spelling of an absolute path; `..` cannot lead above `/`."""
    return b"/" + b"/".join(split_components(path))


def join(directory: bytes, name: bytes) -> bytes:
    """Return the path of a name in an absolute directory; an absolute name stands for itself."""
    return normalise(name if name.startswith(b"/") else directory + b"/" + name)


def relative(target: bytes, directory: bytes) -> bytes:
    """Return how an absolute target is reached from an absolute directory."""
    there, here = split_components(target), split_components(directory)
    common = 0
    while common < min(len(there), len(here)) and there[common] == here[common]:
        common += 1
    return b"/".join([b".."] * (len(here) - common) + there[common:]) or b"."
