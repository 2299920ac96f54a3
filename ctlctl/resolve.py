"""Words and options, as the command and the options that a daemon's schema makes of them.

The rule is fixed: the longest prefix of the words, joined by `_`, that the daemon knows is
the command; further words fill its required options in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctlctl.exits import UsageError
from ctlctl.values import Schema, as_value, element_of, is_boolean, is_list, parse_json
from ctld.errors import RemoteProtocolError, UnknownCommand

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ctld.client.conversation import Conversation

__all__ = ["Invocation", "describe", "resolve"]

_DESCRIBE_TIMEOUT = 10.0  # seconds for what every daemon answers at once
_BLANK = "***"
_WHOLE = "--opts"


class Invocation:
    """A command with its options, ready to be sent.

    Attributes:
        command: Its name.
        opts: Its options.
        streams: Whether to ask for its result item by item.
        shown: The words of the command line, with what is secret blanked.
    """

    __slots__ = ("command", "opts", "shown", "streams")

    def __init__(self, command: str, opts: dict[str, object], streams: bool, shown: list[str]) -> None:
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


def resolve(words: Sequence[str], commands: Callable[[], list[Schema]]) -> Invocation:
    """Find out what COMMAND and all that stands after it mean.

    Args:
        words: The command line from COMMAND on.
        commands: Asks the daemon what it can do; not called for one word with `--opts` alone,
            so that this works with a daemon that cannot tell.

    Raises:
        UsageError: There is no such command, or it has no such options.
    """
    whole = _only_whole(words)
    if whole is not None:
        return Invocation(words[0], whole, streams=True, shown=[words[0], _WHOLE, _BLANK])
    leading = _leading(words)
    known = _by_name(commands())
    for length in range(len(leading), 0, -1):
        entry = known.get("_".join(leading[:length]))
        if entry is not None:
            return _Options(entry, list(words[:length])).read(words[length:])
    raise UsageError(f"this daemon has no command {' '.join(leading)!r}")


def _only_whole(words: Sequence[str]) -> dict[str, object] | None:
    """Return the options of `COMMAND --opts JSON`; None if it is anything else."""
    if len(words) == 3 and words[1] == _WHOLE:
        return _object(words[2])
    if len(words) == 2 and words[1].startswith(f"{_WHOLE}="):
        return _object(words[1].partition("=")[2])
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


def _by_name(commands: list[Schema]) -> dict[str, Schema]:
    known: dict[str, Schema] = {}
    for entry in commands:
        aliases = entry.get("aliases")
        for alias in aliases if isinstance(aliases, list) else ():
            known.setdefault(str(alias), entry)
    return known | {str(entry.get("name")): entry for entry in commands}


class _Options:
    """Reads what stands after a command, against its schema."""

    def __init__(self, entry: Schema, command: list[str]) -> None:
        schema = _dict(entry.get("options"))
        self._name = str(entry.get("name"))
        self._streams = entry.get("streams") is True or entry.get("endless") is True
        self._properties = _dict(schema.get("properties"))
        self._definitions = _dict(schema.get("$defs"))
        required = schema.get("required")
        self._required = [str(name) for name in required] if isinstance(required, list) else []
        self._open = schema.get("additionalProperties", True) is not False
        self._shown = command
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
                self._whole |= _object(self._value_of(word, rest))
                self._shown += [_WHOLE, _BLANK]
            else:
                self._option(word, rest)
        self._fill(free)
        opts = self._whole | self._given
        missing = [name for name in self._required if name not in opts]
        if missing:
            raise UsageError(f"{self._name} needs {' and '.join(map(_flag, missing))}")
        return Invocation(self._name, opts, self._streams, self._shown)

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
        if name is None and self._open:
            name = flag[2:].replace("-", "_")
        if name is None:
            raise UsageError(f"{self._name} has no option {flag}")
        # A word after a flag is its value only if it can be nothing else.
        alone = not equals and not (rest and rest[-1] in ("true", "false"))
        if alone and is_boolean(self._properties.get(name), self._definitions):
            self._given[name] = True
            self._shown.append(flag)
            return
        self._shown += [flag, self._set(name, self._value_of(word, rest))]

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
        """Give an option a value, another one if it is a list; return what to show of it."""
        schema, definitions = self._properties.get(name, {}), self._definitions
        if is_list(schema, definitions):
            value = as_value(text, element_of(schema, definitions), definitions, _flag(name))
            self._given.setdefault(name, []).append(value)
        elif name in self._given:
            raise UsageError(f"{_flag(name)} is given twice")
        else:
            self._given[name] = as_value(text, schema, definitions, _flag(name))
        return _BLANK if self._is_secret(name) else text

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
        # The mark may stand anywhere in a union or, behind a reference, in any definition.
        text = repr(self._properties.get(name))
        if "'$ref'" in text:
            text += repr(self._definitions)
        return "'writeOnly': True" in text


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
