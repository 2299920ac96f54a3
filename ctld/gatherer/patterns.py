"""Shell patterns on bytes: what fnmatch means by them, without regular expressions.  Pure.

`*` matches any bytes, `/` among them; `?` one byte; `[abc]`, `[a-z]` and `[!a-z]` one of a
set.  A `[` without its `]` is an ordinary byte.  On a mismatch only the last `*` is tried
again, one byte further, so that no pattern takes more than pattern times name steps, where
a regular expression of many stars takes for ever.
"""

TYPE_CHECKING = False  # type checkers know the name; importing typing would double the start-up time
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    Step: TypeAlias = frozenset[int] | None
    """The bytes that match at this place; None stands for a star."""

__all__ = ["Pattern", "has_magic"]

_ANY = frozenset(range(256))
_ONLY = [frozenset((byte,)) for byte in range(256)]  # made once: a pattern can have a million of them


def has_magic(text: bytes) -> bool:
    """Tell whether a text is a pattern, and not the name of one file."""
    return any(sign in text for sign in b"*?[")


class Pattern:
    """A compiled pattern."""

    __slots__ = ("_steps", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._steps = _compile(text)

    def matches(self, name: bytes) -> bool:
        """Tell whether the whole of a name matches."""
        steps = self._steps
        at = step = 0
        star = resume = -1  # the last star, and the first byte that it has not swallowed yet
        while at < len(name):
            if step < len(steps) and (wanted := steps[step]) is None:
                star, resume = step, at
                step += 1
            elif step < len(steps) and wanted is not None and name[at] in wanted:
                step += 1
                at += 1
            elif star >= 0:
                resume += 1
                at, step = resume, star + 1
            else:
                return False
        return all(wanted is None for wanted in steps[step:])

    def covers(self, path: bytes) -> bool:
        """Tell whether an absolute path, or a directory above it, matches."""
        end = 0
        while (end := path.find(b"/", end + 1)) > 0:
            if self.matches(path[:end]):
                return True
        return self.matches(path)


def _compile(text: bytes) -> "Sequence[Step]":
    steps: list[Step] = []
    at = 0
    while at < len(text):
        sign = text[at : at + 1]
        at += 1
        if sign == b"*":
            if not steps or steps[-1] is not None:  # two stars mean what one means
                steps.append(None)
        elif sign == b"?":
            steps.append(_ANY)
        elif sign == b"[" and (end := _end_of_set(text, at)) > 0:
            steps.append(_members(text[at:end]))
            at = end + 1
        else:
            steps.append(_ONLY[sign[0]])
    return steps


def _end_of_set(text: bytes, start: int) -> int:
    """Return where the `]` of a set is, or -1: one that comes first is a member of the set."""
    if text[start : start + 1] == b"!":
        start += 1
    return text.find(b"]", start + 1)


def _members(inside: bytes) -> frozenset[int]:
    negated = inside.startswith(b"!")
    if negated:
        inside = inside[1:]
    members: set[int] = set()
    at = 0
    while at < len(inside):
        if inside[at + 1 : at + 2] == b"-" and at + 2 < len(inside):
            members.update(range(inside[at], inside[at + 2] + 1))  # a range that runs backwards is empty
            at += 3
        else:
            members.add(inside[at])
            at += 1
    return _ANY - members if negated else frozenset(members)
