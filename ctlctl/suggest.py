"""Did you mean: what a mistyped command or option was likely to be; pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["APART", "closest_commands", "no_such_command", "no_such_option"]

APART = ("guest send",)
"""Commands of ctlctl itself, of two words, that ask no daemon of ctld: they are there whatever one knows."""

_MOST = 3  # suggestions: more are a list, and that is what help is for
_MOST_WORDS = 8  # of a group that are named in an error of one line


def no_such_command(words: Sequence[str], names: Iterable[str]) -> str:
    """Return the error that says that words name no command, and what they may have meant."""
    names = sorted(names)
    group = words[0] + "_" if words else ""
    if len(words) == 1 and (inside := [name.removeprefix(group) for name in names if name.startswith(group)]):
        more = ", ..." if len(inside) > _MOST_WORDS else ""
        further = ", ".join(word.replace("_", " ") for word in inside[:_MOST_WORDS])
        return f"{words[0]} needs a further word: {further}{more}"
    text = f"this daemon has no command {' '.join(words)!r}"
    return f"{text}{_hint([name.replace('_', ' ') for name in closest_commands(words, names)])}"


def closest_commands(words: Sequence[str], names: Iterable[str]) -> list[str]:
    """Return the commands that words were likely to be, the likeliest first."""
    from difflib import get_close_matches

    names = list(names)
    found: list[str] = []
    # What follows the command may be values, so each beginning is tried, the longest first.
    for length in range(len(words), 0, -1):
        matches = get_close_matches("_".join(words[:length]), names, n=_MOST, cutoff=0.75)
        found += [match for match in matches if match not in found]
    return found[:_MOST]


def no_such_option(command: str, flag: str, flags: Iterable[str]) -> str:
    """Return the error that says that a command has no such option, and which it may have been."""
    from difflib import get_close_matches

    return f"{command} has no option {flag}{_hint(get_close_matches(flag, list(flags), n=_MOST))}"


def _hint(matches: Sequence[str]) -> str:
    if not matches:
        return ""
    return f"; did you mean {' or '.join(repr(match) for match in matches)}?"
