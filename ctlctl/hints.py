"""Errors as one line that says what to do: did you mean, and which side is too old.

Loaded only when something went wrong, so that a run that works does not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctlctl.output import error_line, one_line
from ctlctl.resolve import by_name
from ctlctl.suggest import APART, no_such_command
from ctld.errors import CtldError, InvalidOptions, UnknownCommand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ctlctl.caller import Caller

    Own = Mapping[str, tuple[str, str, str]]

__all__ = ["explained", "usage_of_group"]

_BUILT_IN = ("describe", "op_", "event_", "policy_", "lock_", "session_", "history_")


def explained(caller: Caller, words: Sequence[str], error: CtldError, own: Own) -> str:
    """Return what to tell a person about an error, in one line.

    Args:
        caller: The run that it ends.
        words: What was to be run.
        error: What went wrong.
        own: The commands of ctlctl itself, as the table of them has it.
    """
    line = error_line(error)
    if isinstance(error, UnknownCommand):
        return _unknown(caller, words, line, own)
    if isinstance(error, InvalidOptions) and len(words) == 1:
        return f"{line} (see '{caller.prog} help {words[0].replace('_', ' ')}')"
    return line


def usage_of_group(prog: str, words: Sequence[str], own: Own) -> str:
    """Return how the command of ours is used that begins with a word alone and asks no daemon; "" if there is none."""
    for key in APART:
        if [key.partition(" ")[0]] == list(words):
            return f"usage: {prog} {key} {own[key][1]} (see '{prog} {key} --help')"
    return ""


def _unknown(caller: Caller, words: Sequence[str], line: str, own: Own) -> str:
    """Say what an unknown command may have been, or that the daemon is too old for it."""
    if caller.protocol == 1 or any(f"'{prefix}" in line for prefix in _BUILT_IN):
        return f"{line} ({_daemon(caller)}; this command came with a later one, or its author left it out)"
    try:
        known = by_name(caller.commands())
    except (CtldError, KeyboardInterrupt):
        return line  # it is about the first error
    inside = any(name.startswith(f"{words[0]}_") for name in known)
    ours: list[str] = []
    if not caller.arguments.literal:
        ours = [key.replace(" ", "_") for key in APART]
        if len(words) == 1 and not inside and any(key.startswith(f"{words[0]} ") for key in own):
            return usage_of_group(caller.prog, words, own) or f"this daemon has no {words[0]} commands"
    better = no_such_command(words, [*known, *ours])
    if "did you mean" in better:
        return f"{line}; {better.partition('; ')[2]}"
    return better if "further word" in better else line


def _daemon(caller: Caller) -> str:
    version = caller.banner.get("version")
    name = f"the daemon is version {one_line(version)}" if version else "the daemon does not tell its version"
    return f"{name} and speaks version {caller.protocol or 1} of the protocol"
