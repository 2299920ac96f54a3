"""What is wrong in a configuration, and where: from msgspec's types and messages to a key.

msgspec says `Expected `int` >= 1 - at `$.listen[1].n``.  A person wants the key as the file
spells it, the choices there are, and what a misspelled key may have meant.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import inspect

from ctld.toml_lines import Path

__all__ = ["Mistake", "find_unknown_key", "mistake_of", "spell"]

_Struct: TypeAlias = inspect.StructType | inspect.DataclassType | inspect.TypedDictType

_LOCATION: Final = re.compile(r"(?P<reason>.*) - at `(?P<key>key` in `)?\$(?P<path>.*)`", re.DOTALL)
_STEP: Final = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+)\]|\[\.\.\.\]")
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>.*)`")
_TOML_WORDS: Final = {"object": "table", "str": "string", "int": "integer", "bool": "boolean", "null": "nothing"}


class Mistake(NamedTuple):
    """One thing that is wrong: what it is about, and a sentence about it."""

    path: Path
    reason: str


def spell(path: Path) -> str:
    """Write a path as people do: `listen[0].mode`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if re.fullmatch(r"[A-Za-z0-9_-]+", step) else f'"{_printable(step)}"'
            text += f".{name}" if text else name
    return text


def find_unknown_key(data: object, info: inspect.Type, path: Path = ()) -> Mistake | None:
    """Return the first key that the type does not know, whatever the type says of such keys."""
    return next(_unknown_keys(data, info, path), None)


def _unknown_keys(data: object, info: inspect.Type, path: Path) -> Iterator[Mistake]:
    info = _bare(info)
    if isinstance(info, inspect.UnionType):
        objects = [member for member in map(_bare, info.types) if _describes(member, data)]
        if len(objects) == 1:
            yield from _unknown_keys(data, objects[0], path)
    elif isinstance(info, _Struct) and isinstance(data, dict):
        fields = {field.encode_name: field.type for field in info.fields}
        tag = {info.tag_field} if isinstance(info, inspect.StructType) and info.tag_field else set()
        for name, value in data.items():
            if name in fields:
                yield from _unknown_keys(value, fields[name], (*path, name))
            elif name not in tag:
                yield Mistake((*path, name), f"there is no such key{_suggestion(name, fields)}")
    elif isinstance(info, inspect.DictType) and isinstance(data, dict):
        for name, value in data.items():
            yield from _unknown_keys(value, info.value_type, (*path, name))
    elif isinstance(info, inspect.CollectionType) and isinstance(data, list):
        for index, value in enumerate(data):
            yield from _unknown_keys(value, info.item_type, (*path, index))


def _bare(info: inspect.Type) -> inspect.Type:
    """Take off the wrapping that `Annotated` with a description leaves."""
    return info.type if isinstance(info, inspect.Metadata) else info


def _describes(info: inspect.Type, data: object) -> bool:
    """Whether this member of a union is the one for such data, as far as its shape tells."""
    if isinstance(data, list):
        return isinstance(info, inspect.CollectionType)
    if not isinstance(data, dict):
        return False
    if isinstance(info, inspect.StructType) and info.tag_field:
        return bool(data.get(info.tag_field) == info.tag)
    return isinstance(info, _Struct | inspect.DictType)


def mistake_of(
    error: msgspec.ValidationError, data: object, info: inspect.Type, convert: Callable[[object], object]
) -> Mistake:
    """Say in people's words what a failed conversion found.

    Args:
        error: What the conversion raised.
        data: What was to be converted.
        info: To which type.
        convert: The conversion; it is tried on parts of `data`, because msgspec does not
            say which key of a table with free keys is wrong.
    """
    message, steps, about_key = str(error), "", False
    if found := _LOCATION.fullmatch(message):
        message, steps, about_key = found["reason"], found["path"], bool(found["key"])
    path: Path = ()
    for step in _STEP.finditer(steps):
        if step["name"] is not None:
            path = (*path, step["name"])
        elif step["index"] is not None:
            path = (*path, int(step["index"]))
        else:
            path = (*path, *_culprit(data, path, str(error), convert))
    if message.startswith("Invalid enum value") and (choices := _choices(info, path, about_key)):
        message = f"{message.removeprefix('Invalid enum value ')} is none of {', '.join(map(str, choices))}"
    elif missing := _MISSING.fullmatch(message):
        message = f"the key {missing['name']} is missing"
    if about_key:
        path = (*path, *_culprit(data, path, str(error), convert))
    return Mistake(path, _in_toml_words(message))


def _choices(info: inspect.Type, path: Path, about_key: bool) -> list[object]:
    """Return what may stand at `path`, or as a key of the table there."""
    for wanted in _types_at(info, path):
        kind = wanted.key_type if about_key and isinstance(wanted, inspect.DictType) else wanted
        if isinstance(kind, inspect.LiteralType):
            return list(kind.values)
        if isinstance(kind, inspect.EnumType):
            return [member.value for member in kind.cls]
    return []


def _types_at(info: inspect.Type, path: Path) -> Iterator[inspect.Type]:
    info = _bare(info)
    if isinstance(info, inspect.UnionType):
        for member in info.types:
            yield from _types_at(member, path)
    elif not path:
        yield info
    elif isinstance(info, _Struct):
        for field in info.fields:
            if field.encode_name == path[0]:
                yield from _types_at(field.type, path[1:])
    elif isinstance(info, inspect.DictType):
        yield from _types_at(info.value_type, path[1:])
    elif isinstance(info, inspect.CollectionType):
        yield from _types_at(info.item_type, path[1:])


def _in_toml_words(message: str) -> str:
    text = re.sub(r"`([^`]*)`", lambda quoted: re.sub(r"\w+", _toml_word, quoted[1]), message)
    return text[:1].lower() + text[1:]


def _toml_word(word: re.Match[str]) -> str:
    return _TOML_WORDS.get(word[0], word[0])


def _culprit(data: object, path: Path, message: str, convert: Callable[[object], object]) -> Path:
    """Find the key of the table at `path` that is wrong, by leaving all others away."""
    table = _at(data, path)
    for key in table if isinstance(table, dict) else ():
        try:
            convert(_with(data, path, {key: table[key]}))
        except msgspec.ValidationError as exc:
            if str(exc) == message:
                return (key,)
    return ()


def _at(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data


def _with(data: Any, path: Path, replacement: object) -> Any:
    """Copy the data with something else at `path`; what lies beside is shared."""
    if not path:
        return replacement
    copy = data.copy()
    copy[path[0]] = _with(data[path[0]], path[1:], replacement)
    return copy


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; there are {', '.join(sorted(known))}"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
