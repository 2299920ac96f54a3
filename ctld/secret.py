"""Values that must not be shown: the type, its place in JSON, and how to blank them.

A command declares an option as `Secret`; from then on the value travels wrapped.  It comes
out by `reveal()` and in no other way: not by `str()`, `repr()`, formatting, pickling or JSON.

What is only text or JSON (the options of a request as they came, its `cli`) is blanked by the
command's JSON Schema, in which a secret is marked (`SECRET_SCHEMA`).  When in doubt, that
errs on the side of blanking: in a command that has secrets, an option that the schema does
not know may be a misspelled one, and a value of the wrong shape may be one in the wrong place.

The functions named `*_hook` are for msgspec (the first for orjson's `default` as well); a
program with types of its own calls them last, since they raise `NotImplementedError`.

This module imports neither msgspec nor anything heavy: `ctlctl` reads schemas with it.
"""

import hmac
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final, Never, Self, SupportsIndex, TypeAlias, final

__all__ = [
    "BLANK",
    "SECRET_SCHEMA",
    "Secret",
    "dec_hook",
    "enc_hook",
    "has_secrets",
    "is_secret",
    "redact",
    "redact_text",
    "schema_hook",
    "secret_values",
]

BLANK: Final = "***"
"""What is written in the place of a secret."""

SECRET_SCHEMA: Final[Mapping[str, object]] = {"type": "string", "format": "password", "writeOnly": True}
"""How a secret looks in a JSON Schema."""

# Options are walked no deeper than this; what lies below is blanked.  Ten levels are many
# for options written by people, and recursion must end before the interpreter's patience does.
_MAX_DEPTH: Final = 64

_Schema: TypeAlias = Mapping[str, Any]


@final
class Secret:
    """A text that is not shown.

    Two secrets compare in constant time, and a secret equals nothing else.  It has no hash:
    a dictionary of secrets would be a table of them, and its look-up tells their prefixes.

    Args:
        value: The text.
    """

    __slots__ = ("_value",)

    _value: str

    __hash__ = None  # type: ignore[assignment]  # how Python spells "unhashable"

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError(f"a secret is text, not {type(value).__name__}")
        object.__setattr__(self, "_value", value)

    def reveal(self) -> str:
        """Return the text."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({BLANK})"

    def __str__(self) -> str:
        return BLANK

    def __format__(self, spec: str) -> str:
        return format(BLANK, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, theirs = (secret.reveal().encode("utf-8", "surrogatepass") for secret in (self, other))
        return hmac.compare_digest(mine, theirs)

    def __setattr__(self, name: str, value: object) -> Never:
        raise AttributeError("a secret does not change")

    def __delattr__(self, name: str) -> Never:
        raise AttributeError("a secret does not change")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __getstate__(self) -> Never:
        raise TypeError("a secret is not pickled")

    def __reduce_ex__(self, protocol: SupportsIndex) -> Never:
        raise TypeError("a secret is not pickled")


def dec_hook(type: type, value: object) -> Secret:
    """Decode a secret: for `msgspec.json.decode(..., dec_hook=)` and `msgspec.convert`.

    Raises:
        NotImplementedError: The type is another.
        ValueError: The value is no text; the message does not say what it is.
    """
    if type is not Secret:
        raise NotImplementedError(f"objects of type {type!r} are not supported")
    if not isinstance(value, str):
        raise ValueError("Expected `str`")  # noqa: TRY004  # msgspec takes either; its own words for a wrong type
    return Secret(value)


def enc_hook(value: object) -> str:
    """Encode a secret, blanked: for `msgspec.json.encode(..., enc_hook=)` and `orjson.dumps(..., default=)`.

    Raises:
        NotImplementedError: The value is no secret.
    """
    if isinstance(value, Secret):
        return BLANK
    raise NotImplementedError(f"objects of type {type(value)!r} are not supported")


def schema_hook(type: type) -> dict[str, object]:
    """Describe a secret: for `msgspec.json.schema(..., schema_hook=)`.

    Raises:
        NotImplementedError: The type is another.
    """
    if type is not Secret:
        raise NotImplementedError(f"objects of type {type!r} are not supported")
    return dict(SECRET_SCHEMA)


def is_secret(schema: _Schema) -> bool:
    """Tell whether a value described by this (part of a) schema is a secret itself."""
    return schema.get("format") == SECRET_SCHEMA["format"] and bool(schema.get("writeOnly"))


def has_secrets(schema: _Schema) -> bool:
    """Tell whether a command with this schema of options has secrets: ask once per command."""
    return _secret_beneath(schema, schema, set())


def redact(schema: _Schema, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the options with `***` for every secret.

    Args:
        schema: The JSON Schema of the command's options.
        options: The options as they came, valid or not, without the reserved ones.
    """
    blanked = _walk(schema, schema, options, []) if has_secrets(schema) else options
    return dict(blanked) if isinstance(blanked, Mapping) else {}


def secret_values(schema: _Schema, options: Mapping[str, Any]) -> list[str]:
    """Return the texts that `redact()` blanks, for `redact_text()`."""
    found: list[str] = []
    if has_secrets(schema):
        _walk(schema, schema, options, found)
    return found


def redact_text(text: str, secrets: Iterable[Secret | str]) -> str:
    """Return the text with `***` for every secret in it: plain, quoted for a shell, or escaped for JSON."""
    needles: set[str] = set()
    for secret in secrets:
        value = secret.reveal() if isinstance(secret, Secret) else secret
        if value:  # the empty one, which is quoted as '', stands everywhere
            needles |= {value, shlex.quote(value)}
            needles |= {json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    if not needles:
        return text
    # Longest first, in one pass: a secret that contains another one leaves no remainder.
    return re.sub("|".join(map(re.escape, sorted(needles, key=len, reverse=True))), BLANK, text)


def _branches(schema: _Schema, root: _Schema, seen: set[str]) -> Iterable[_Schema]:
    """Yield the schema and all that it refers to at the same place: references and alternatives."""
    yield schema
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        seen.add(reference)
        yield from _branches(_resolve(reference, root), root, seen)
    for key in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(key, ()):
            yield from _branches(one, root, seen)


def _resolve(reference: str, root: _Schema) -> _Schema:
    node: Any = root
    for part in reference.removeprefix("#/").split("/"):
        node = node.get(part.replace("~1", "/").replace("~0", "~"), {})
    return node if isinstance(node, Mapping) else {}


def _secret_beneath(schema: _Schema, root: _Schema, seen: set[str]) -> bool:
    for branch in _branches(schema, root, seen):
        if is_secret(branch):
            return True
        below = [*branch.get("properties", {}).values(), *branch.get("prefixItems", ())]
        below += [branch[key] for key in ("additionalProperties", "items") if isinstance(branch.get(key), Mapping)]
        if any(_secret_beneath(one, root, seen) for one in below):
            return True
    return False


def _walk(schema: _Schema, root: _Schema, value: Any, found: list[str], depth: int = 0) -> Any:
    """Copy a value at a place that has secrets in or beneath it."""
    if value is None:
        return None
    branches = list(_branches(schema, root, set()))
    if depth < _MAX_DEPTH and not any(map(is_secret, branches)):
        if isinstance(value, Mapping):
            return {key: _walk_into(_members(branches, key), root, one, found, depth + 1) for key, one in value.items()}
        if isinstance(value, list | tuple) and any("items" in branch for branch in branches):
            return [
                _walk_into(_elements(branches, index), root, one, found, depth + 1) for index, one in enumerate(value)
            ]
    _collect(value, found)
    return BLANK


def _walk_into(schemas: list[_Schema], root: _Schema, value: Any, found: list[str], depth: int) -> Any:
    if not schemas:
        _collect(value, found)
        return None if value is None else BLANK
    if not any(_secret_beneath(schema, root, set()) for schema in schemas):
        return value
    return _walk({"anyOf": schemas}, root, value, found, depth)


def _members(branches: list[_Schema], key: str) -> list[_Schema]:
    named = [branch["properties"][key] for branch in branches if key in branch.get("properties", {})]
    others = [branch["additionalProperties"] for branch in branches if "additionalProperties" in branch]
    return named or [other for other in others if isinstance(other, Mapping)]


def _elements(branches: list[_Schema], index: int) -> list[_Schema]:
    named = [branch["prefixItems"][index] for branch in branches if index < len(branch.get("prefixItems", ()))]
    others = [branch["items"] for branch in branches if "items" in branch]
    return named or [other for other in others if isinstance(other, Mapping)]


def _collect(value: Any, found: list[str]) -> None:
    """Gather the texts of a value that is blanked as a whole, without recursion."""
    left = [value]
    while left:
        match left.pop():
            case str() as text:
                found.append(text)
            case Mapping() as members:
                left.extend(members.values())
            case list() | tuple() as items:
                left.extend(items)
            case None | bool():
                pass
            case other:
                found.append(str(other))
