"""What may stand next on a command line: for the completion of shells, and of our own.

Nothing here runs a command that changes something: the daemon is asked what it can do, and,
for an option that says so (`Option(complete="job_list.name")`), for the list of values.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ctlctl.arguments import FLAGS, VALUED
from ctlctl.cli import LOCAL
from ctlctl.output import one_line
from ctlctl.resolve import by_name, find_command, is_secret
from ctlctl.table import pick
from ctlctl.values import enum_of, is_boolean, is_list, properties_of, required_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ctlctl.caller import Caller
    from ctlctl.values import Schema

__all__ = ["Candidate", "candidates"]

Candidate = tuple[str, str]
"""A word, and what to say of it."""

_MOST = 500  # candidates: nobody looks through more, and shells become slow
_GLOBAL_VALUED = ("-s", "--socket", "--tls-ca", "--tls-cert", "--tls-key", *VALUED)
_GLOBAL_FLAGS = (*FLAGS, "-q", "--help", "--version", "--watch")
_ABOUT_OPTIONS = {
    "--json": "the result as one JSON document",
    "--json-seq": "results as JSON, one line each",
    "--quiet": "no progress",
    "--detach": "let it run on as an operation",
    "--watch": "run it again and again",
    "--timeout": "cancel it after so many seconds",
    "--columns": "only these columns",
    "--sort": "order the rows by these columns",
    "--socket": "where the daemon listens",
    "--help": "explain",
}
_SHELLS = ("bash", "zsh", "fish")

# Commands of ours whose words are neither files nor the daemon's affair: `complete()` of their modules tells them.
_TELLING = {"control": "ctlctl.control", "guest send": "ctlctl.guest"}


def candidates(caller: Caller, words: Sequence[str], text: str) -> list[Candidate]:
    """Return what may complete a word.

    Args:
        caller: Asks the daemon.
        words: The words before it, without the program's name.
        text: The word, as far as it is typed.

    Raises:
        CtldError: The daemon does not tell.
    """
    at = _command_at(words)
    if at is None:
        return []  # the value of an option of ours: a file, a number, an address
    if at == len(words) and text.startswith("-"):
        found: Iterable[Candidate] = _about([*_GLOBAL_FLAGS, *_GLOBAL_VALUED])
    else:
        found = _after(caller, list(words[at:]), text)
    fitting = [(word, about) for word, about in found if word.startswith(text) and word.isprintable()]
    return list(dict(reversed(fitting)).items())[::-1][:_MOST]


def _command_at(words: Sequence[str]) -> int | None:
    """Return where COMMAND begins; None if the next word is the value of an option before it."""
    position = 0
    while position < len(words) and words[position].startswith("-"):
        word = words[position]
        position += 1
        if word == "--":
            return position
        if word in _GLOBAL_VALUED:
            if position == len(words):
                return None
            position += 1
    return position


def _about(names: Iterable[str]) -> list[Candidate]:
    return [(name, _ABOUT_OPTIONS.get(name, "")) for name in names if len(name) > 2]


def _after(caller: Caller, words: list[str], text: str) -> list[Candidate]:
    """Return what may follow the words from COMMAND on."""
    found = _local(words)
    if words[:1] == ["completion"]:
        return [(shell, "") for shell in _SHELLS] if len(words) == 1 else []
    for key, module in _TELLING.items():
        if words[: key.count(" ") + 1] == key.split():
            further: list[Candidate] = import_module(module).complete(words[key.count(" ") + 1 :])
            return further
    helping = words[:1] == ["help"]
    if helping:
        words = words[1:]
    commands = caller.commands()
    allowed = [entry for entry in commands if entry.get("allowed", True)]
    known = by_name(allowed)
    plain = all(not word.startswith("-") for word in words)
    if plain and not text.startswith("-"):
        found += _next_words(words, known)
    entry, length = find_command(words, known)
    if entry is not None and not helping:
        found += _Options(caller, entry).after(words[length:], text)
    return found


def _local(words: Sequence[str]) -> list[Candidate]:
    """Return the next words of our own commands."""
    found = []
    for key, (_, _, about) in LOCAL.items():
        parts = key.split()
        if about and len(parts) > len(words) and parts[: len(words)] == list(words):
            found.append((parts[len(words)], about if len(parts) == len(words) + 1 else ""))
    return found


def _next_words(words: Sequence[str], known: dict[str, Schema]) -> list[Candidate]:
    """Return the words that lead on to a command, each with what it says of itself."""
    begun = "".join(f"{word}_" for word in words)
    found = []
    for name in sorted(known):
        if name.startswith(begun):
            word, further, _ = name[len(begun) :].partition("_")
            about = "" if further else one_line(str(known[name].get("doc") or "").partition("\n")[0])
            found.append((word, about))
    return found


class _Options:
    """The options of one command, as far as they are not given yet."""

    def __init__(self, caller: Caller, entry: Schema) -> None:
        self._caller = caller
        schema = entry.get("options")
        definitions = schema.get("$defs") if isinstance(schema, dict) else None
        self._properties = properties_of(schema)
        self._definitions: dict[str, Any] = definitions if isinstance(definitions, dict) else {}
        self._required = required_of(schema)
        self._flags = {f"--{name.replace('_', '-')}": name for name in self._properties}

    def after(self, words: Sequence[str], text: str) -> list[Candidate]:
        """Return what may follow these words."""
        given, free, waiting = self._read(words)
        if waiting is not None:
            return self._values(waiting)
        if text.startswith("--"):
            flag, equals, _ = text.partition("=")
            if equals:
                name = self._flags.get(flag)
                return [(f"{flag}={word}", about) for word, about in self._values(name)] if name else []
            return self._names(given)
        return self._values(self._next_free(given, free))

    def _read(self, words: Sequence[str]) -> tuple[set[str], int, str | None]:
        """Return what is given by name, how many words are without, and whose value is next."""
        given: set[str] = set()
        free, position = 0, 0
        while position < len(words):
            word = words[position]
            position += 1
            if not word.startswith("--"):
                free += 1
                continue
            flag, equals, _ = word.partition("=")
            name = self._flags.get(flag) or self._flags.get(f"--{flag[5:]}" if flag.startswith("--no-") else "")
            if name is not None:
                given.add(name)
            takes = name is not None and not is_boolean(self._properties[name], self._definitions)
            if (takes or flag in VALUED or flag == "--opts") and not equals:
                if position == len(words):
                    return given, free, name or ""
                position += 1
        return given, free, None

    def _next_free(self, given: set[str], free: int) -> str | None:
        """Return the option that the next word without a name is for."""
        left: list[str] = [name for name in self._required if name not in given]
        for name in left:
            if free == 0 or is_list(self._properties[name], self._definitions):
                return name
            free -= 1
        return None

    def _names(self, given: set[str]) -> list[Candidate]:
        found = []
        for flag, name in self._flags.items():
            schema = self._properties[name]
            if name in given and not is_list(schema, self._definitions):
                continue
            about = one_line(str(schema.get("description") or "")) if isinstance(schema, dict) else ""
            found.append((flag, about))
            if is_boolean(schema, self._definitions):
                found.append((f"--no-{flag[2:]}", about))
            elif is_secret(schema, {}):
                found += [(f"{flag}-file", about), (f"{flag}-env", about)]
        return found + _about(["--help", "--watch", *FLAGS, *VALUED])

    def _values(self, name: str | None) -> list[Candidate]:
        schema = self._properties.get(name or "")
        if not isinstance(schema, dict):
            return []
        source = schema.get("x-complete")
        if isinstance(source, str) and source:
            return _asked(self._caller, source)
        if words := enum_of(schema, self._definitions):
            return [(word, "") for word in words]
        return [("true", ""), ("false", "")] if is_boolean(schema, self._definitions) else []


def _asked(caller: Caller, source: str) -> list[Candidate]:
    """Return the values that a command lists: `job_list.name`."""
    command, _, key = source.rpartition(".")
    rows = caller.commands() if command == "describe" else caller.ask(command)
    found = []
    for row in rows if isinstance(rows, list) else []:
        value = pick(row, key) if isinstance(row, dict) else row
        if isinstance(value, str | int) and not isinstance(value, bool):
            about = row.get("state") or row.get("command") or row.get("doc") if isinstance(row, dict) else ""
            found.append((str(value), one_line(about.partition("\n")[0]) if isinstance(about, str) else ""))
    return found
