"""Help from what the daemon says of its commands: the list of them, or one in full.

The texts are made by pure functions; `run` asks the daemon and prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctlctl import exits
from ctlctl.arguments import FLAGS, VALUED, usage_text
from ctlctl.cli import LOCAL
from ctlctl.exits import UsageError
from ctlctl.look import coloured, width
from ctlctl.output import complain, neutral, one_line, write_line
from ctlctl.resolve import by_name, find_command, is_secret
from ctlctl.suggest import APART, no_such_command
from ctlctl.values import is_boolean, is_list, properties_of, required_of, wish_of
from ctld.errors import CtldError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ctlctl.caller import Caller
    from ctlctl.values import Schema

__all__ = ["command_help", "local_help", "overview", "run"]

_BOLD, _DIM, _END = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_ROLES = ("anyone", "observe", "operate", "admin")
_COLUMN = 30  # where explanations begin; what is longer has them on the next line
_EXPLAINING = frozenset(("control",))  # commands of ours whose modules have more to say: titles, with words below
_ALONE = "Commands"  # the group of those that are alone with their first word


def run(caller: Caller, words: Sequence[str]) -> int:
    """Print the list of commands, or explain the one that the words name.

    Raises:
        UsageError: There is no such command.
    """
    local = " ".join(words)
    if local in LOCAL and LOCAL[local][2]:
        write_line(local_help(caller.prog, local))
        return exits.OK
    ours = [key for key, (_, _, text) in LOCAL.items() if text and key.split()[: len(words)] == list(words)]
    apart = [key for key in ours if words and key in APART]
    try:
        known = by_name(caller.commands())
    except CtldError:
        if apart:
            write_line(local_help(caller.prog, apart[0]))
            return exits.OK
        if not words:
            complain("", usage_text(caller.prog))
        raise
    entry, length = find_command(words, known)
    colour = coloured()
    if not words:
        write_line(overview(caller.prog, caller.commands(), width=width(), colour=colour))
    elif entry is not None and length == len(words):
        write_line(command_help(caller.prog, entry, colour=colour))
    elif group := [one for one in caller.commands() if str(one.get("name")).startswith("_".join(words) + "_")]:
        write_line(overview(caller.prog, group, width=width(), colour=colour, group=ours))
    elif apart:
        write_line(local_help(caller.prog, apart[0]))
    else:
        raise UsageError(no_such_command(words, known))
    return exits.OK


def local_help(prog: str, key: str) -> str:
    """Return the help of one of our own commands."""
    module, usage, summary = LOCAL[key]
    lines = [f"usage: {prog} {key} {usage}".rstrip(), "", f"{summary[:1].upper()}{summary[1:]}."]
    if key in _EXPLAINING:
        from importlib import import_module

        for title, entries in import_module(module).explain():
            lines += ["", title, *(_pair(word, about) for word, about in entries)]
    return "\n".join(lines)


def overview(
    prog: str, commands: Sequence[Schema], *, width: int = 0, colour: bool = False, group: Sequence[str] | None = None
) -> str:
    """Return the commands, grouped by their first word, with the role that each needs.

    Args:
        prog: The program's name.
        commands: Those of the daemon.
        width: How wide the lines may be; 0: as they are.
        colour: Whether headings are bold, and what is not allowed is dim.
        group: Which commands of ours are in the one group that is shown; None: it is all groups.
    """
    groups: dict[str, list[Schema]] = {}
    for entry in commands:
        groups.setdefault(str(entry.get("name")).partition("_")[0], []).append(entry)
    alone = [found.pop() for found in groups.values() if len(found) == 1]
    sections = [(_ALONE, alone)] if alone else []
    sections += [(first, found) for first, found in sorted(groups.items()) if found]
    lines: list[str] = []
    for title, entries in sections:
        lines.append(_heading(one_line(title), colour))
        lines += [_entry_line(entry, width, colour) for entry in sorted(entries, key=_name)]
        lines.append("")
    ours = [key for key in LOCAL if LOCAL[key][2]] if group is None else group
    if ours:
        lines.append(_heading(f"Of {prog} itself", colour))
        lines += [_pair(f"{key} {LOCAL[key][1]}".rstrip(), LOCAL[key][2], width) for key in ours]
    if group is None:
        lines += ["", _standing(commands), f"'{prog} help COMMAND' explains one; '{prog} --help' lists the options."]
    return "\n".join(lines).rstrip()


def _name(entry: Schema) -> str:
    return str(entry.get("name"))


def _heading(text: str, colour: bool) -> str:
    return f"{_BOLD}{text}{_END}" if colour else text


def _entry_line(entry: Schema, width: int, colour: bool) -> str:
    summary = one_line(str(entry.get("doc") or "").strip().partition("\n")[0])
    if entry.get("deprecated"):
        summary = f"(deprecated) {summary}"
    text = _pair(one_line(_spaced(entry)), summary, width)
    if entry.get("allowed", True):
        return text
    text = _pair(one_line(_spaced(entry)), f"(needs {one_line(str(entry.get('role')))}) {summary}", width)
    return f"{_DIM}{text}{_END}" if colour else text


def _spaced(entry: Schema) -> str:
    return _name(entry).replace("_", " ")


def _pair(left: str, right: str, width: int = 0) -> str:
    text = f"  {left.ljust(_COLUMN - 4)}  {right}".rstrip()
    return f"{text[: width - 1]}…" if width and len(text) > width else text


def _standing(commands: Sequence[Schema]) -> str:
    """Say which roles the caller has, as the commands that are allowed show it."""
    held = {str(entry.get("role")) for entry in commands if entry.get("allowed", True)}
    lacking = {str(entry.get("role")) for entry in commands if not entry.get("allowed", True)} - held
    roles = sorted(held, key=_role_rank)
    text = f"You have the role {one_line(roles[-1])}" if roles else "You have no role"
    further = [one_line(role) for role in sorted(lacking, key=_role_rank)]
    return f"{text}; other commands need {' or '.join(further)}." if further else f"{text}: you may run everything."


def _role_rank(role: str) -> int:
    return _ROLES.index(role) if role in _ROLES else len(_ROLES)


def command_help(prog: str, entry: Schema, *, colour: bool = False) -> str:
    """Return everything that is known about a command."""
    schema = _dict(entry.get("options"))
    properties, definitions, required = properties_of(schema), _dict(schema.get("$defs")), required_of(schema)
    words = [_placeholder(name, properties[name], definitions) for name in required]
    usage = " ".join((prog, _spaced(entry), *words))
    if len(properties) > len(required):
        usage += " [--option VALUE]..."
    lines = [f"usage: {neutral(usage)}", "", neutral(str(entry.get("doc") or "").strip())]
    if entry.get("deprecated"):
        lines += ["", f"Deprecated: {one_line(str(entry['deprecated']))}"]
    if properties:
        lines += ["", _heading("Options", colour)]
        ordered = [*required, *(name for name in properties if name not in required)]
        for name in ordered:
            lines += _option_lines(name, _dict(properties[name]), definitions, name in required)
    lines += ["", *_facts(entry)]
    further = ", ".join(sorted({*FLAGS, *VALUED, "--watch"} - {_flag(name) for name in properties}))
    lines += ["", f"Also {further}: see '{prog} --help'."]
    return "\n".join(lines)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _placeholder(name: str, schema: object, definitions: Mapping[str, Any]) -> str:
    text = name.upper().replace("_", "-")
    return f"{text}..." if is_list(schema, definitions) else text


def _option_lines(name: str, schema: Schema, definitions: Mapping[str, Any], required: bool) -> list[str]:
    flag = one_line(_flag(name))
    if is_boolean(schema, definitions):
        left = f"{flag}, --no-{flag[2:]}"
    elif is_secret(schema, {}):
        left = f"{flag} SECRET"
    else:
        left = f"{flag} {one_line(wish_of(schema, definitions)) or 'VALUE'}"
    notes = []
    if required:
        notes.append("required")
    elif schema.get("default") not in (None, "", [], {}):
        notes.append(f"default {one_line(_shown(schema['default']))}")
    if is_list(schema, definitions):
        notes.append("may be repeated")
    if is_secret(schema, {}):
        notes.append(
            f"or {flag}-file FILE, {flag}-env NAME, or asked for" if required else f"or {flag}-file, {flag}-env"
        )
    notes += [
        f"{word} {_number(schema[key])}" for key, word in _BOUNDS.items() if isinstance(schema.get(key), int | float)
    ]
    if schema.get("deprecated"):
        notes.append(f"deprecated: {one_line(str(schema.get('x-deprecated') or ''))}".rstrip(": "))
    text = one_line(str(schema.get("description") or ""))
    right = f"{text} ({'; '.join(notes)})" if notes else text
    if len(left) > _COLUMN - 4:
        return [f"  {left}", *([f"{' ' * _COLUMN}{right.strip()}"] if right.strip() else [])]
    return [_pair(left, right.strip())]


_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "minLength": "length at least",
    "maxLength": "length at most",
}


def _number(bound: float) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else one_line(value)


def _facts(entry: Schema) -> list[str]:
    """Say what kind of command it is: who may, how it answers, what a hang-up does (B28)."""
    allowed = "you have it" if entry.get("allowed", True) else "you do not have it"
    facts = [f"Needs the role {one_line(str(entry.get('role')))}: {allowed}."]
    if entry.get("session"):
        facts.append("Takes over the connection: its standard streams become yours.")
    elif entry.get("endless"):
        facts.append("Answers without end, until you press Ctrl-C.")
    elif entry.get("streams"):
        facts.append("Answers item by item.")
    if entry.get("on_disconnect") == "cancel":
        facts.append("Is cancelled when its client goes away.")
    aliases = entry.get("aliases")
    if isinstance(aliases, list) and aliases:
        facts.append(f"Also called {', '.join(one_line(str(alias)).replace('_', ' ') for alias in aliases)}.")
    if entry.get("since"):
        facts.append(f"Since {one_line(str(entry['since']))}.")
    return facts


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
