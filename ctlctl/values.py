"""A text from the command line, as the JSON value that a schema asks for; pure.

The daemon checks everything again, bounds included: this only decides what `5`, `true` or
`[1]` on a command line means, which no daemon can know.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ctlctl.exits import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "Schema",
    "as_value",
    "element_of",
    "enum_of",
    "is_boolean",
    "is_list",
    "parse_json",
    "properties_of",
    "required_of",
    "types_of",
    "wish_of",
]

Schema = dict[str, Any]

_MAX_SHOWN = 80  # characters of a value that is refused: the error is one line, the value may be a file
_MAX_HOPS = 32  # references in a row: a daemon's schema must not send us in circles
_WORDS = {
    "string": "TEXT", "integer": "N", "number": "NUMBER", "boolean": "true|false", "object": "JSON", "null": "null",
}  # fmt: skip  # a table
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_JSON_NAMES = ("string", "integer", "number", "boolean", "null", "array", "object")
# What a text may be is tried in this order.  A string fits always; what stands after it is
# meant only where no string is allowed, since a thing may well be called "null".
_ORDER = ("boolean", "integer", "number", "array", "object", "string", "null")


def properties_of(schema: object) -> dict[str, Any]:
    """Return what each option of a command takes, by name; nothing where a daemon says something else there."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return properties if isinstance(properties, dict) else {}


def required_of(schema: object) -> list[str]:
    """Return the options that have to be there, of those that there are."""
    names = schema.get("required") if isinstance(schema, dict) else None
    known = properties_of(schema)
    return [name for name in names if isinstance(name, str) and name in known] if isinstance(names, list) else []


def _resolved(schema: object, definitions: Mapping[str, Any]) -> Schema:
    """Return a schema with its reference followed."""
    for _ in range(_MAX_HOPS):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        schema = definitions.get(reference.rpartition("/")[2])
    return {}


def _alternatives(schema: object, definitions: Mapping[str, Any], depth: int = 0) -> Iterable[Schema]:
    """Yield the schemas of which a value has to fit one, each without reference or `anyOf`."""
    schema = _resolved(schema, definitions)
    branches = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(branches, list) and depth < _MAX_HOPS:
        for branch in branches:
            yield from _alternatives(branch, definitions, depth + 1)
        return
    names = schema.get("type")
    if isinstance(names, list):
        for name in names:
            yield {**schema, "type": name}
        return
    yield schema


def types_of(schema: object, definitions: Mapping[str, Any]) -> set[str]:
    """Return the names of the JSON types that a schema allows; empty: it allows any."""
    found: set[str] = set()
    for branch in _alternatives(schema, definitions):
        members = _members(branch)
        if members is not None:
            found |= {_type_name(member) for member in members}
        elif branch.get("type") in _JSON_NAMES:
            found.add(branch["type"])
        else:
            return set()
    return found


def is_boolean(schema: object, definitions: Mapping[str, Any]) -> bool:
    """Tell whether an option is a flag: true or false, and perhaps null."""
    return types_of(schema, definitions) - {"null"} == {"boolean"}


def is_list(schema: object, definitions: Mapping[str, Any]) -> bool:
    """Tell whether an option is given by repeating it."""
    return types_of(schema, definitions) - {"null"} == {"array"}


def element_of(schema: object, definitions: Mapping[str, Any]) -> object:
    """Return the schema of a list's elements."""
    for branch in _alternatives(schema, definitions):
        if branch.get("type") == "array":
            return branch.get("items", {})
    return {}


def enum_of(schema: object, definitions: Mapping[str, Any]) -> list[str]:
    """Return the words that an option can be, or an element of it; empty if it is no such list."""
    words: list[str] = []
    for branch in _alternatives(schema, definitions):
        if branch.get("type") == "array":
            words += enum_of(branch.get("items"), definitions)
        for member in _members(branch) or ():
            words.append(_spelled(member))
    return list(dict.fromkeys(words))


def wish_of(schema: object, definitions: Mapping[str, Any]) -> str:
    """Name what an option takes, in a word for a usage line: `N`, `TEXT`, `start|stop`; "" for anything."""
    wishes: list[str] = []
    for branch in _alternatives(schema, definitions):
        members = _members(branch)
        if members is not None:
            wishes += [_spelled(member) for member in members]
        elif branch.get("type") == "array":
            wishes.append(wish_of(branch.get("items"), definitions) or "VALUE")
        else:
            wishes.append("PATH" if branch.get("format") == "path" else _WORDS.get(str(branch.get("type")), ""))
    named = [wish for wish in dict.fromkeys(wishes) if wish != "null"]
    return "|".join(named) if all(named) else ""


def as_value(text: str, schema: object, definitions: Mapping[str, Any], name: str, *, secret: bool = False) -> Any:
    """Return the value that a text stands for.

    Args:
        text: What the command line says.
        schema: What the option takes.
        definitions: The `$defs` that references name.
        name: The option, for the error.
        secret: Whether the error must not repeat the text.

    Raises:
        UsageError: The option cannot take that.
    """
    _check_text(text, name)
    branches = list(_alternatives(schema, definitions))
    for wanted in _ORDER:
        for branch in branches:
            found, value = _try(text, branch, wanted)
            if found:
                return value
    if any(_members(branch) is None and branch.get("type") not in _JSON_NAMES for branch in branches):
        return _anything(text)
    raise UsageError(f"{name} takes {_wish(branches)}" + ("" if secret else f", not {_shortened(text)}"))


def _shortened(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")


def parse_json(text: str, name: str) -> Any:
    """Return the value of a text that has to be JSON.

    Raises:
        UsageError: It is none.
    """
    _check_text(text, name)
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} takes JSON: {error}") from None


def _check_text(text: str, name: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} takes UTF-8, not {text!r}") from None


def _try(text: str, schema: Schema, wanted: str) -> tuple[bool, Any]:
    """Return whether a text can be a value of this JSON type in this schema, and the value."""
    members = _members(schema)
    if members is not None:
        fitting = [member for member in members if _type_name(member) == wanted and text == _spelled(member)]
        return bool(fitting), fitting[0] if fitting else None
    if schema.get("type") != wanted:
        return False, None
    if wanted == "string":
        return True, text
    if wanted == "boolean":
        return text.lower() in _BOOLEANS, _BOOLEANS.get(text.lower())
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False, None
    if wanted == "number":
        return _type_name(value) in ("number", "integer"), value
    return _type_name(value) == wanted, value


def _members(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    members = schema.get("enum")
    return members if isinstance(members, list) else None


def _spelled(member: Any) -> str:
    return member if isinstance(member, str) else json.dumps(member)


def _anything(text: str) -> Any:
    """Return what a text most likely means where everything is allowed: JSON if it is some."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _wish(branches: Iterable[Schema]) -> str:
    """Name what an option takes, for people."""
    articles = {"integer": "an integer", "array": "a JSON array", "object": "a JSON object", "null": "null"}
    wishes: list[str] = []
    for branch in branches:
        members = _members(branch)
        if members is not None:
            wishes += [_spelled(member) for member in members]
        else:
            kind = branch["type"]
            wishes.append("true or false" if kind == "boolean" else articles.get(kind, f"a {kind}"))
    return " or ".join(wishes)
