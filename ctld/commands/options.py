"""From a command's signature to its options: typed decoding, and JSON Schema.

The signature is the schema.  It becomes one msgspec Struct, so that options go from JSON
text straight into typed values in a single pass.  The options that every command accepts
(native protocol, N2: `cli`, `progress`, `manipulation_lock`) are fields of that Struct as
well, never parameters of the command.
"""

import contextlib
import difflib
import inspect
from collections.abc import Callable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias, get_args, get_origin

import msgspec

from ctld.errors import BadSyntax, InvalidOptions, LocalProtocolError, RegistrationError
from ctld.secret import SECRET_SCHEMA, Secret, dec_hook, has_secrets
from ctld.wire.jsontext import encode

__all__ = ["RESERVED", "SESSION_OPTIONS", "Decoded", "Option", "OptionSet", "json_schema"]

# What a client wrote is repeated to it, and kept in the log; this is more than any name has, and enough to find it.
_MAX_SHOWN: Final = 300

RESERVED: Final = ("cli", "progress", "manipulation_lock")
"""Options that every command accepts, and that none may declare (native protocol, N2)."""

SESSION_OPTIONS: Final = ("io", "tty", "rows", "cols", "env", "cwd", "on_disconnect")
"""What a session command accepts among its options, where it does not use the name itself (N4)."""


_decode_mapping: Final = msgspec.json.Decoder(dict[str, Any]).decode


class Option:
    """What a signature cannot say about an option: `Annotated[str, Option("the VM")]`.

    Args:
        help: One line for people.
        name: The name on the wire, where the parameter's will not do (`from`).
        complete: Where completion finds values: `COMMAND.KEY`, a command without options
            that returns a list of objects, and the key of each.
        deprecated: Why not to use it any more, and what instead.
    """

    __slots__ = ("complete", "deprecated", "help", "name")

    def __init__(self, help: str = "", *, name: str = "", complete: str = "", deprecated: str = "") -> None:
        self.help = help
        self.name = name
        self.complete = complete
        self.deprecated = deprecated


class OptionSet:
    """The options of one command.

    Args:
        parameters: The function's parameters after the context.
        hints: The resolved annotation of each.
        session: Whether the command takes the connection, and so accepts session options.
        context: The name of the function's first parameter, where it can be passed by name too.

    Attributes:
        schema: The JSON Schema of the options.
        has_secrets: Whether there are secrets among them.

    Raises:
        RegistrationError: A parameter cannot be an option.
    """

    def __init__(
        self,
        parameters: list[inspect.Parameter],
        hints: Mapping[str, Any],
        *,
        session: bool = False,
        context: str = "",
    ) -> None:
        rest = next((p for p in parameters if p.kind is p.VAR_KEYWORD), None)
        self._open = rest is not None
        self._rest_type = Any if rest is None else hints.get(rest.name, Any)
        declared = [p for p in parameters if p.kind is not p.VAR_KEYWORD]
        fields = [_field(p, hints.get(p.name, Any)) for p in declared]
        names = [p.name for p in declared]
        wire_names = {msgspec_field.name or name for name, _, msgspec_field in fields}
        taken = wire_names.intersection(RESERVED)
        if taken:
            raise RegistrationError(f"option {min(taken)!r} is reserved: every command accepts it already")
        accepted = [*RESERVED, *(name for name in SESSION_OPTIONS if session and name not in wire_names)]
        # Session options have fields of other names, because a parameter may be called as they are.
        self._session: dict[str, str] = {name: f"session__{name}" for name in SESSION_OPTIONS if name in accepted}
        extra: list[tuple[str, Any, Any]] = [
            (self._session.get(name, name), Any, msgspec.field(default=None, name=name)) for name in accepted
        ]
        try:
            self._struct = msgspec.defstruct("Options", [*fields, *extra], kw_only=True, forbid_unknown_fields=True)
            self._decoder = msgspec.json.Decoder(self._struct, dec_hook=_decode_special)
            self.schema = _options_schema(fields, declared, self._rest_type if self._open else None)
            if session:
                _hide_environment(self.schema)
        except (TypeError, ValueError, NameError) as exc:
            reason = str(exc).splitlines()[-1]  # msgspec first tells what its own users could do
            raise RegistrationError(f"an option has a type that JSON cannot carry: {reason}") from exc
        self.call = _caller(declared, open_ended=self._open)
        self._wire_names = {name: msgspec_field.name or name for name, _, msgspec_field in fields}
        self._accepted = frozenset(accepted)
        self._known = frozenset(self._wire_names.values()) | self._accepted
        # Among any options that a client may think of, these would be given to the function twice.
        self._impossible = frozenset([*names, context]) - self._known
        self.has_secrets = has_secrets(self.schema)
        self._names = names
        # Shared by all calls without options, unless one is required or a call could change it.
        shared = not any(_is_empty_or_mutable(p.default) for p in declared)
        self._defaults = self._struct() if shared else None

    @property
    def nothing(self) -> "Decoded | None":
        """What no options at all decode to, where that is always the same."""
        # Made anew, because the collector does not look into it: it must be no part of a circle.
        return None if self._defaults is None else Decoded(self, self._defaults)

    def decode(self, options: msgspec.Raw | Mapping[str, Any]) -> "Decoded":
        """Return the options as typed values.

        Raises:
            InvalidOptions: One is unknown, missing or of the wrong type.
            BadSyntax: They are no JSON after all.
        """
        if self._open:
            return self._decode_open(options)
        try:
            if isinstance(options, msgspec.Raw):
                return Decoded(self, self._decoder.decode(options))
            return Decoded(self, self._convert(options))
        except msgspec.ValidationError as exc:
            raise self._invalid(exc) from exc
        except (msgspec.DecodeError, ValueError, RecursionError) as exc:
            raise BadSyntax("syntax error, expected a valid JSON") from exc

    def _invalid(self, problem: msgspec.ValidationError, root: str = "$") -> InvalidOptions:
        error = _invalid(problem, self._known, root)
        if self.has_secrets and (cut := error.message.find(": invalid enum value ")) >= 0:
            # Not which value: a secret may have been put in the wrong place.
            return InvalidOptions(f"{error.message[:cut]}: invalid enum value", **error.fields)
        return error

    def declared(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that are the command's own, without those that every command accepts."""
        return {name: value for name, value in options.items() if name not in self._accepted}

    def wire_options(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return keyword arguments under the names that they have on the wire."""
        return {self._wire_names.get(name, name): value for name, value in values.items()}

    def bind(self, args: tuple[Any, ...], values: Mapping[str, Any]) -> dict[str, Any]:
        """Return positional and keyword arguments of a nested call as wire options."""
        named = dict(zip(self._names, args, strict=False))
        return self.wire_options(named | dict(values))

    def _typed(self, rest: dict[str, Any]) -> dict[str, Any]:
        if self._rest_type is Any:
            return rest
        typed = {}
        for name, value in rest.items():
            try:
                typed[name] = msgspec.convert(value, self._rest_type, str_keys=True, dec_hook=_decode_special)
            except msgspec.ValidationError as exc:
                raise self._invalid(exc, f"$.{name}") from exc
        return typed

    def _convert(self, options: Mapping[str, Any]) -> Any:
        return msgspec.convert(dict(options), self._struct, str_keys=True, dec_hook=_decode_special)

    def _decode_open(self, options: msgspec.Raw | Mapping[str, Any]) -> "Decoded":
        try:
            given = _decode_mapping(options) if isinstance(options, msgspec.Raw) else options
            known = {key: value for key, value in given.items() if key in self._known}
            rest = {key: value for key, value in given.items() if key not in self._known}
            if not self._impossible.isdisjoint(rest):
                name = min(self._impossible.intersection(rest))
                raise InvalidOptions(f"unknown option {name!r}", path=f"$.{name}")
            return Decoded(self, self._convert(known), self._typed(rest))
        except msgspec.ValidationError as exc:
            raise self._invalid(exc) from exc
        except (msgspec.DecodeError, ValueError, RecursionError) as exc:
            raise BadSyntax("syntax error, expected a valid JSON") from exc


class Decoded(msgspec.Struct, frozen=True, gc=False):
    """The options of one request, typed.

    Attributes:
        values: The declared ones, and those that every command accepts.
        rest: The others, of a command that takes any.
    """

    _set: OptionSet
    values: Any
    rest: Mapping[str, Any] | None = None

    def call(self, function: Callable[..., Any], context: object) -> Any:
        """Call a command's function with its context and these options."""
        return self._set.call(function, context, self.values, self.rest)

    @property
    def cli(self) -> str:
        """The client's command line, as it told it; "" if it did not."""
        return self.values.cli if isinstance(self.values.cli, str) else ""

    @property
    def manipulation_lock(self) -> object:
        """What the client says about locks that others hold (N2), as it came; None if it said nothing."""
        return self.values.manipulation_lock

    @property
    def wants_progress(self) -> bool:
        """Whether the client wants progress messages (N2: all but `progress: false`)."""
        return self.values.progress is not False

    @property
    def session(self) -> dict[str, Any]:
        """The session options that came among the options of a session command."""
        given = {name: getattr(self.values, field) for name, field in self._set._session.items()}  # noqa: SLF001 - the two classes are one piece of machinery
        return {name: value for name, value in given.items() if value is not None}


def json_schema(annotation: Any) -> dict[str, Any]:
    """Return the JSON Schema of a type; `{}`, anything, for one that has none."""
    if annotation is None or annotation is type(None):
        return {"type": "null"}
    try:
        (schema,), components = msgspec.json.schema_components(
            [annotation], schema_hook=_schema_special, ref_template="#/$defs/{name}"
        )
    except (TypeError, NameError):
        return {}
    return schema | ({"$defs": components} if components else {})


_Caller: TypeAlias = Callable[[Callable[..., Any], object, Any, Mapping[str, Any] | None], Any]


def _caller(declared: list[inspect.Parameter], *, open_ended: bool) -> _Caller:
    """Return what calls a function with its context, and the options that a Struct and a mapping hold."""
    names = [p.name for p in declared if p.kind is p.POSITIONAL_OR_KEYWORD]
    keywords = [p.name for p in declared if p.kind is p.KEYWORD_ONLY]
    if keywords or open_ended:

        def call(function: Callable[..., Any], context: object, values: Any, rest: Mapping[str, Any] | None) -> Any:
            arguments = [getattr(values, name) for name in names]
            named = {name: getattr(values, name) for name in keywords}
            return function(context, *arguments, **named, **(rest or {}))

        return call
    if not names:
        return lambda function, context, _values, _rest: function(context)
    get = attrgetter(*names)
    if len(names) == 1:
        return lambda function, context, values, _rest: function(context, get(values))
    return lambda function, context, values, _rest: function(context, *get(values))


def _field(parameter: inspect.Parameter, hint: Any) -> tuple[str, Any, Any]:
    option = _option_of(hint)
    wire_name = (option.name if option else "") or None
    default = parameter.default
    if default is parameter.empty:
        return (parameter.name, hint, msgspec.field(name=wire_name))
    if isinstance(default, list | dict | set):
        if default:
            raise RegistrationError(f"option {parameter.name!r} has a default that a call could change: use a tuple")
        return (parameter.name, hint, msgspec.field(default_factory=type(default), name=wire_name))
    if isinstance(default, Secret):  # msgspec knows it only by a hook
        return (parameter.name, hint, msgspec.field(default_factory=lambda: default, name=wire_name))
    return (parameter.name, hint, msgspec.field(default=default, name=wire_name))


def _option_of(hint: Any) -> Option | None:
    if get_origin(hint) is Annotated:
        return next((extra for extra in get_args(hint)[1:] if isinstance(extra, Option)), None)
    return None


def _is_empty_or_mutable(default: Any) -> bool:
    return default is inspect.Parameter.empty or isinstance(default, list | dict | set | bytearray)


def _options_schema(
    fields: list[tuple[str, Any, Any]], parameters: list[inspect.Parameter], rest_type: Any
) -> dict[str, Any]:
    """Return the schema of the options, with what `Option` adds; required ones in order of the signature."""
    # Defaults are added here, because msgspec refuses those that it knows only by a hook.
    bare = [
        (
            name,
            hint,
            field if parameter.default is parameter.empty else msgspec.field(default_factory=_absent, name=field.name),
        )
        for (name, hint, field), parameter in zip(fields, parameters, strict=True)
    ]
    struct = msgspec.defstruct("Options", bare, kw_only=True, forbid_unknown_fields=True)
    wanted = [struct] if rest_type is None else [struct, dict[str, rest_type]]
    (_, *rest), components = msgspec.json.schema_components(
        wanted, schema_hook=_schema_special, ref_template="#/$defs/{name}"
    )
    schema: dict[str, Any] = components.pop("Options")
    schema.pop("title", None)
    schema.setdefault("properties", {})
    for parameter, (name, hint, field) in zip(parameters, fields, strict=True):
        entry = schema["properties"][field.name or name]
        option = _option_of(hint)
        if option is not None:
            for key, value in (("description", option.help), ("x-complete", option.complete)):
                if value:
                    entry[key] = value
            if option.deprecated:
                entry |= {"deprecated": True, "x-deprecated": option.deprecated}
        if parameter.default is not parameter.empty and not isinstance(parameter.default, Secret):
            with contextlib.suppress(LocalProtocolError):  # a default that JSON cannot say is not shown
                entry["default"] = msgspec.json.decode(encode(parameter.default))
    schema.setdefault("required", [])
    schema["additionalProperties"] = rest[0].get("additionalProperties", True) if rest else False
    return schema | ({"$defs": components} if components else {})


def _hide_environment(schema: dict[str, Any]) -> None:
    """Mark the values of `env` as secrets, as they often are; the names stay to be seen."""
    entry = schema["properties"].get("env")
    for branch in () if entry is None else (entry, *entry.get("anyOf", ())):
        values = branch.get("additionalProperties")
        if isinstance(values, dict) and values.get("type") == "string":
            branch["additionalProperties"] = {**values, **SECRET_SCHEMA}


def _absent() -> None:
    """Stand for a default that the schema of msgspec need not know; nobody calls it."""


def _decode_special(wanted: type[Any], value: Any) -> Any:
    """Make a path or a secret: the types that register although msgspec does not know them."""
    if wanted is Secret:
        return dec_hook(wanted, value)
    if isinstance(value, str | Path):
        return Path(value)
    raise TypeError("Expected `str`")  # and not ValidationError, to which msgspec adds no path


def _schema_special(wanted: type[Any]) -> dict[str, Any]:
    if wanted is Path:
        return {"type": "string", "format": "path"}
    if wanted is Secret:
        return dict(SECRET_SCHEMA)
    raise NotImplementedError(f"{wanted.__name__} has no JSON Schema")


def _invalid(problem: msgspec.ValidationError, known: frozenset[str], root: str = "$") -> InvalidOptions:
    """Say which option is wrong, and how, in terms of options (N2, N3)."""
    text, _, place = str(problem).partition(" - at `")
    before, in_key, after = place.partition("key` in `")  # what is wrong is not a value but the key of one
    path = _cut(root + (after if in_key else before).rstrip("`").removeprefix("$"))
    if text.startswith("Object missing required field"):
        name = text.split("`")[1]
        return InvalidOptions(f"option {name!r} is missing{_inside(path)}", path=f"{path}.{name}")
    if text.startswith("Object contains unknown field"):
        name = _cut(text.split("`")[1])
        # Of what is cut nothing is near: to find that out for millions of characters takes seconds.
        close = difflib.get_close_matches(name, known, n=1) if path == "$" and len(name) <= _MAX_SHOWN else []
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return InvalidOptions(f"unknown option {name!r}{_inside(path)}{hint}", path=f"{path}.{name}")
    wrong = text[:1].lower() + _cut(text[1:])
    what = "a key of option" if in_key else "option"
    return InvalidOptions(f"{what} {path.removeprefix('$.')!r}: {wrong}", path=path)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _inside(path: str) -> str:
    return "" if path == "$" else f" in {path.removeprefix('$.')!r}"
