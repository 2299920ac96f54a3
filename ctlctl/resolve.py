"""Words and options, as the command and the options that a daemon's schema makes of them.

The rule is fixed: the longest prefix of the words, joined by `_`, that the daemon knows is
the command; further words fill its required options in order.

What a value says in full may stand elsewhere: `@FILE` is the content of a file, `-` that of
the standard input, `--secret-file FILE` and `--secret-env NAME` keep a secret off the
command line, and a required secret that is still missing is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctlctl.exits import HelpWanted, UsageError
from ctlctl.inputs import Inputs
from ctlctl.suggest import APART, no_such_command, no_such_option
from ctlctl.values import Schema, as_value, element_of, is_boolean, is_list, parse_json
from ctld.errors import RemoteProtocolError, UnknownCommand

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ctld.client.conversation import Conversation

__all__ = ["Invocation", "by_name", "describe", "find_command", "is_secret", "resolve"]

_DESCRIBE_TIMEOUT = 10.0  # seconds for what every daemon answers at once
_BLANK = "***"
_WHOLE = "--opts"
_HELP = "--help"


class Invocation:
    """A command with its options, ready to be sent.

    Attributes:
        command: Its name.
        opts: Its options.
        streams: Whether to ask for its result item by item.
        shown: The words of the command line, with what is secret blanked.
        warnings: What is deprecated about it.
    """

    __slots__ = ("command", "opts", "shown", "streams", "warnings")

    def __init__(
        self, command: str, opts: dict[str, object], streams: bool, shown: list[str], warnings: Sequence[str] = ()
    ) -> None:
        self.warnings = list(warnings)
        self.command = command
        self.opts = opts
        self.streams = streams
        self.shown = shown


def describe(conversation: Conversation, timeout: float | None) -> list[Schema]:
    """Ask a daemon what it can do.

    Raises:
        UsageError: It cannot say.
    """
    deadline = min(timeout or _DESCRIBE_TIMEOUT, _DESCRIBE_TIMEOUT)
    answer: object = None
    try:
        for kind, value in conversation.run("describe", deadline=deadline):
            answer = value if kind == "response" else answer
    except UnknownCommand:
        raise UsageError("this daemon does not describe its commands: write COMMAND --opts JSON") from None
    if not isinstance(answer, list) or not all(isinstance(entry, dict) for entry in answer):
        raise RemoteProtocolError("what the daemon says of its commands cannot be understood")
    return answer


def resolve(
    words: Sequence[str],
    commands: Callable[[], list[Schema]],
    *,
    take: Callable[[str, list[str]], bool] = lambda word, rest: False,
    inputs: Inputs | None = None,
) -> Invocation:
    """Find out what COMMAND and all that stands after it mean.

    Args:
        words: The command line from COMMAND on.
        commands: Asks the daemon what it can do; not called for one word with `--opts` alone,
            so that this works with a daemon that cannot tell.
        take: Takes an option that is not the command's but ctlctl's, and what follows it in
            reverse order; tells whether it did.
        inputs: Where values stand that are not on the command line.

    Raises:
        UsageError: There is no such command, or it has no such options.
        HelpWanted: It is to be explained.
    """
    inputs = inputs or Inputs()
    whole = _only_whole(words, inputs)
    if whole is not None:
        return Invocation(words[0], whole, streams=True, shown=[words[0], _WHOLE, _BLANK])
    known = by_name(commands())
    entry, length = find_command(words, known)
    if entry is not None:
        return _Options(entry, list(words[:length]), take, inputs).read(words[length:])
    if _HELP in words:
        raise HelpWanted(_leading(words))
    ours = (key.replace(" ", "_") for key in APART)
    raise UsageError(no_such_command(_leading(words), [*known, *ours]))


def find_command(words: Sequence[str], known: Mapping[str, Schema]) -> tuple[Schema | None, int]:
    """Return the command that the longest prefix of the words names, and how many these are."""
    leading = _leading(words)
    for length in range(len(leading), 0, -1):
        entry = known.get("_".join(leading[:length]))
        if entry is not None:
            return entry, length
    return None, 0


def _only_whole(words: Sequence[str], inputs: Inputs) -> dict[str, object] | None:
    """Return the options of `COMMAND --opts JSON`; None if it is anything else."""
    if len(words) == 3 and words[1] == _WHOLE:
        return _object(inputs.value(words[2]))
    if len(words) == 2 and words[1].startswith(f"{_WHOLE}="):
        return _object(inputs.value(words[1].partition("=")[2]))
    return None


def _object(text: str) -> dict[str, object]:
    value = parse_json(text, _WHOLE)
    if not isinstance(value, dict):
        raise UsageError(f"{_WHOLE} takes a JSON object")
    return value


def _leading(words: Sequence[str]) -> list[str]:
    """Return the words before the first option."""
    for position, word in enumerate(words):
        if word.startswith("--"):
            return list(words[:position])
    return list(words)


def by_name(commands: list[Schema]) -> dict[str, Schema]:
    """Return commands by name, and by alias where no command has that name."""
    known: dict[str, Schema] = {}
    for entry in commands:
        aliases = entry.get("aliases")
        for alias in aliases if isinstance(aliases, list) else ():
            known.setdefault(str(alias), entry)
    return known | {str(entry.get("name")): entry for entry in commands}


class _Options:
    """Reads what stands after a command, against its schema."""

    def __init__(
        self, entry: Schema, command: list[str], take: Callable[[str, list[str]], bool], inputs: Inputs
    ) -> None:
        schema = _dict(entry.get("options"))
        self._name = str(entry.get("name"))
        self._streams = entry.get("streams") is True or entry.get("endless") is True
        self._properties = _dict(schema.get("properties"))
        self._definitions = _dict(schema.get("$defs"))
        required = schema.get("required")
        self._required = [str(name) for name in required] if isinstance(required, list) else []
        self._open = schema.get("additionalProperties", True) is not False
        self._command = command
        self._take = take
        self._inputs = inputs
        self._shown = list(command)
        self._warnings = _deprecation(" ".join(command), entry.get("deprecated"))
        self._whole: dict[str, object] = {}
        self._given: dict[str, Any] = {}

    def read(self, words: Sequence[str]) -> Invocation:
        """Return the command with the options that these words give it."""
        free: list[int] = []  # where the words without an option stand in what is shown
        rest = list(reversed(words))
        only_words = False
        while rest:
            word = rest.pop()
            if only_words or not word.startswith("--"):
                free.append(len(self._shown))
                self._shown.append(word)
            elif word == "--":
                only_words = True
            elif word == _WHOLE or word.startswith(f"{_WHOLE}="):
                self._whole |= _object(self._inputs.value(self._value_of(word, rest)))
                self._shown += [_WHOLE, _BLANK]
            else:
                self._option(word, rest)
        self._fill(free)
        for name in self._required:
            if name not in self._given and name not in self._whole and self._is_secret(name):
                self._prompt(name)
        opts = self._whole | self._given
        missing = [name for name in self._required if name not in opts]
        if missing:
            raise UsageError(f"{self._name} needs {' and '.join(map(_flag, missing))}")
        for name in self._given:
            schema = _dict(self._properties.get(name))
            self._warnings += _deprecation(_flag(name), schema.get("x-deprecated") or schema.get("deprecated"))
        return Invocation(self._name, opts, self._streams, self._shown, self._warnings)

    def _option(self, word: str, rest: list[str]) -> None:
        flag, equals, _ = word.partition("=")
        name = self._property(flag[2:])
        if name is None and flag.startswith("--no-") and not equals:
            name = self._property(flag[5:])
            if name is not None and is_boolean(self._properties[name], self._definitions):
                self._given[name] = False
                self._shown.append(flag)
                return
            name = None
        if name is None and self._elsewhere(flag, word, rest):
            return
        if name is None and flag == _HELP:
            raise HelpWanted(self._command)
        if name is None and self._open:
            name = flag[2:].replace("-", "_")
        if name is None:
            if self._take(word, rest):
                return
            raise UsageError(no_such_option(self._name, flag, map(_flag, self._properties)))
        # A word after a flag is its value only if it can be nothing else.
        alone = not equals and not (rest and rest[-1] in ("true", "false"))
        if alone and is_boolean(self._properties.get(name), self._definitions):
            self._given[name] = True
            self._shown.append(flag)
            return
        self._shown += [flag, self._set(name, self._value_of(word, rest))]

    def _elsewhere(self, flag: str, word: str, rest: list[str]) -> bool:
        """Take `--secret-file FILE` or `--secret-env NAME`, if that is what it is."""
        base, dash, source = flag[2:].rpartition("-")
        name = self._property(base) if dash and source in ("file", "env") else None
        if name is None or not self._is_secret(name):
            return False
        where = self._value_of(word, rest)
        self._give(name, self._inputs.file(where) if source == "file" else self._inputs.variable(where))
        self._shown += [flag, where]
        return True

    def _prompt(self, name: str) -> None:
        """Ask for a secret that has to be there, where there is somebody to ask."""
        text = self._inputs.secret(f"{name.replace('_', ' ')}: ")
        if text is not None:
            self._give(name, text)

    def _property(self, name: str) -> str | None:
        for candidate in (name, name.replace("-", "_")):
            if candidate in self._properties:
                return candidate
        return None

    def _value_of(self, word: str, rest: list[str]) -> str:
        flag, equals, value = word.partition("=")
        if equals:
            return value
        if not rest:
            raise UsageError(f"{flag} needs a value")
        return rest.pop()

    def _set(self, name: str, text: str) -> str:
        """Give an option the value of a word; return what to show of it."""
        if text == "-" and self._is_secret(name):
            typed = self._inputs.secret(f"{name.replace('_', ' ')}: ")
            self._give(name, self._inputs.value(text) if typed is None else typed)
        else:
            self._give(name, self._inputs.value(text))
        return _BLANK if self._is_secret(name) and not text.startswith("@") and text != "-" else text

    def _give(self, name: str, text: str) -> None:
        """Give an option a value, another one if it is a list."""
        schema, definitions = self._properties.get(name, {}), self._definitions
        if is_list(schema, definitions):
            value = as_value(text, element_of(schema, definitions), definitions, _flag(name))
            self._given.setdefault(name, []).append(value)
        elif name in self._given:
            raise UsageError(f"{_flag(name)} is given twice")
        else:
            secret = self._is_secret(name)
            self._given[name] = as_value(text, schema, definitions, _flag(name), secret=secret)

    def _fill(self, free: Sequence[int]) -> None:
        """Give further words to the required options, in order; a list takes all that are left."""
        waiting = [name for name in self._required if name not in self._given and name not in self._whole]
        for position in free:
            word = self._shown[position]
            if not waiting:
                raise UsageError(f"{self._name} takes no further word {word!r}")
            self._shown[position] = self._set(waiting[0], word)
            if not is_list(self._properties.get(waiting[0]), self._definitions):
                waiting.pop(0)

    def _is_secret(self, name: str) -> bool:
        return is_secret(self._properties.get(name), self._definitions)


def is_secret(schema: object, definitions: object) -> bool:
    """Tell whether an option takes a secret, or may hold one.

    The mark may stand anywhere in a union or, behind a reference, in any definition.
    """
    text = repr(schema)
    if "'$ref'" in text:
        text += repr(definitions)
    return "'writeOnly': True" in text


def _deprecation(what: str, reason: object) -> list[str]:
    if not reason:
        return []
    return [f"{what} is deprecated: {reason}" if isinstance(reason, str) else f"{what} is deprecated"]


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
