"""Errors as one line that says what to do: did you mean, and which side is too old.

Loaded only when something went wrong, so that a run that works does not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ctlctl.output import error_line, one_line
from ctlctl.resolve import by_name
from ctlctl.suggest import no_such_command
from ctld.errors import CtldError, InvalidOptions, UnknownCommand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctlctl.caller import Caller

__all__ = ["explained"]

_BUILT_IN = ("describe", "op_", "event_", "policy_", "lock_", "session_", "history_")


def explained(caller: Caller, words: Sequence[str], error: CtldError) -> str:
    """Return what to tell a person about an error, in one line."""
    line = error_line(error)
    if isinstance(error, UnknownCommand):
        return _unknown(caller, words, line)
    if isinstance(error, InvalidOptions) and len(words) == 1:
        return f"{line} (see '{caller.prog} help {words[0].replace('_', ' ')}')"
    return line


def _unknown(caller: Caller, words: Sequence[str], line: str) -> str:
    """Say what an unknown command may have been, or that the daemon is too old for it."""
    if caller.protocol == 1 or any(f"'{prefix}" in line for prefix in _BUILT_IN):
        return f"{line} ({_daemon(caller)}; this command came with a later one, or its author left it out)"
    try:
        known = by_name(caller.commands())
    except (CtldError, KeyboardInterrupt):
        return line  # it is about the first error
    better = no_such_command(words, known)
    if "did you mean" in better:
        return f"{line}; {better.partition('; ')[2]}"
    return better if "further word" in better else line


def _daemon(caller: Caller) -> str:
    version = caller.banner.get("version")
    name = f"the daemon is version {one_line(version)}" if version else "the daemon does not tell its version"
    return f"{name} and speaks version {caller.protocol or 1} of the protocol"
