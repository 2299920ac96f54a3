"""`ctlctl policy`: who may do what, role by role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctlctl import exits
from ctlctl.look import coloured, width
from ctlctl.output import one_line, write_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctlctl.caller import Caller

__all__ = ["picture", "run"]

_BOLD, _END = "\x1b[1m", "\x1b[0m"
_WIDTH = 100  # of lines where there is no terminal to fit


def run(caller: Caller, words: Sequence[str]) -> int:
    """Show the policy of the daemon.

    Raises:
        CtldError: The daemon does not tell.
    """
    wanted = caller.arguments
    if words or wanted.json or wanted.json_seq or wanted.columns or wanted.sort or wanted.watch:
        return caller.run(["policy_list", *words])
    write_line(picture(caller.ask("policy_list"), width=width() or _WIDTH, colour=coloured()))
    return exits.OK


def picture(roles: object, *, width: int = _WIDTH, colour: bool = False) -> str:
    """Return the roles, each with who has it and what it adds."""
    from textwrap import fill

    lines = ["Each role may do what those above it may, and more."]
    for role in roles if isinstance(roles, list) else []:
        if not isinstance(role, dict):
            continue
        name = one_line(str(role.get("role")))
        lines += ["", f"{_BOLD}{name}{_END}" if colour else name]
        held = [*_texts(role.get("callers")), *(f"everyone on {one}" for one in _texts(role.get("listeners")))]
        commands = [command.replace("_", " ") for command in _texts(role.get("commands"))]
        for title, entries in (("who", held), ("commands", commands)):
            text = ", ".join(entries) or "-"
            lines.append(
                fill(text, width, initial_indent=f"  {title:9} ", subsequent_indent=" " * 12, break_on_hyphens=False)
            )
    return "\n".join(lines)


def _texts(value: Any) -> list[str]:
    return [one_line(str(each)) for each in value] if isinstance(value, list) else []
