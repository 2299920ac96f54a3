"""A line of text as words, with the quotation of a POSIX shell; pure."""

from __future__ import annotations

from ctlctl.exits import UsageError

__all__ = ["split_line", "split_open_line"]


def split_line(line: str) -> list[str]:
    """Return the words of a line; one that begins with `#` has none.

    Raises:
        UsageError: A quotation does not end.
    """
    from shlex import split

    if line.lstrip().startswith("#"):
        return []
    try:
        return split(line)
    except ValueError:
        raise UsageError("a quotation does not end") from None


def split_open_line(line: str) -> tuple[list[str], str]:
    """Return the words of a line that is still typed, and the last one as far as it goes.

    The name of the program, with which it begins, is left out.
    """
    for closing in ("", "'", '"'):
        try:
            words = split_line(f"{line}\0{closing}")  # the mark shows whether the last word is still open
        except UsageError:
            continue
        return words[1:-1], words[-1].removesuffix("\0") if words[1:] else ""
    return [], ""
