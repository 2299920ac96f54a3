"""Options: the signature is the schema (native protocol, N2 about `opts`)."""

import datetime
import enum
import gc
import inspect
import json
import weakref
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
import pytest

from ctld.commands.options import RESERVED, SESSION_OPTIONS, Option, OptionSet, json_schema
from ctld.errors import BadSyntax, InvalidOptions, RegistrationError
from ctld.secret import redact


class Mode(enum.StrEnum):
    FAST = "fast"
    SLOW = "slow"


class Disk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    size: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    mirror: "Disk | None" = None


class Foreign:
    """A type that no one here knows."""


FOREIGN = Foreign()
A_DISK = Disk("d")


def options_of(function, *, session=False) -> OptionSet:
    parameters = list(inspect.signature(function).parameters.values())
    return OptionSet(parameters, get_type_hints(function, include_extras=True), session=session)


def received(function, options, *, session=False):
    """What a command gets, from JSON text and from a mapping alike."""
    option_set = options_of(function, session=session)
    from_text = option_set.decode(msgspec.Raw(json.dumps(options).encode()))
    from_mapping = option_set.decode(options)

    def recorder(context, *args, **kwargs):
        return args, kwargs

    got = from_text.call(recorder, None)
    assert got == from_mapping.call(recorder, None)
    return got


def refused(function, options, *, session=False) -> InvalidOptions:
    option_set = options_of(function, session=session)
    errors = []
    for given in (msgspec.Raw(json.dumps(options).encode()), options):
        with pytest.raises(InvalidOptions) as caught:
            option_set.decode(given)
        errors.append(caught.value)
    assert (errors[0].message, errors[0].fields) == (errors[1].message, errors[1].fields)
    return errors[0]


# What arrives at the command.


def test_options_in_order_and_by_name():
    def command(a: int, b: str = "b", *, c: float = 1.0, d: bool): ...

    assert received(command, {"a": 1, "d": True}) == ((1, "b"), {"c": 1.0, "d": True})
    assert received(command, {"d": False, "c": 2, "b": "x", "a": 3}) == ((3, "x"), {"c": 2.0, "d": False})


def test_no_options():
    def command(): ...

    assert received(command, {}) == ((), {})


def test_one_option():
    def command(a: int = 5): ...

    assert received(command, {}) == ((5,), {})
    assert received(command, {"a": 6}) == ((6,), {})


def test_no_annotation_means_anything():
    def command(a, b=None, *, c=3): ...

    assert received(command, {"a": [1, {"x": None}]}) == (([1, {"x": None}], None), {"c": 3})


@pytest.mark.parametrize(
    ("hint", "given", "expected"),
    [
        (int, 2**70, 2**70),
        (float, 1, 1.0),
        (str, "\u4e16\0", "\u4e16\0"),
        (bool, True, True),
        (bytes, "AP8=", b"\x00\xff"),
        (Path, "/a/../b", Path("/a/../b")),
        (datetime.datetime, "2024-01-02T03:04:05Z", datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)),
        (datetime.timedelta, "PT1H", datetime.timedelta(hours=1)),
        (datetime.date, "2024-02-29", datetime.date(2024, 2, 29)),
        (Mode, "slow", Mode.SLOW),
        (Literal["a", 1], 1, 1),
        (int | None, None, None),
        (int | str, "x", "x"),
        (list[int], [1, 2], [1, 2]),
        (tuple[int, str], [1, "a"], (1, "a")),
        (frozenset[str], ["a", "a"], frozenset({"a"})),
        (dict[str, list[Disk]], {"x": [{"name": "d"}]}, {"x": [Disk("d")]}),
        (dict[int, str], {"7": "a"}, {7: "a"}),
        (Disk, {"name": "d", "size": 5, "mirror": {"name": "m"}}, Disk("d", 5, Disk("m"))),
        (list[Path], ["a", "/b"], [Path("a"), Path("/b")]),
        (Annotated[str, msgspec.Meta(pattern="^ct[0-9]+$")], "ct7", "ct7"),
        (Annotated[int, msgspec.Meta(ge=1), Option("how many")], 1, 1),
        (Any, {"a": [None]}, {"a": [None]}),
    ],
)
def test_every_type(hint, given, expected):
    def command(value): ...

    command.__annotations__["value"] = hint
    (value,), _ = received(command, {"value": given})
    assert value == expected
    assert type(value) is type(expected)


def test_a_default_is_what_the_signature_says():
    when, where = datetime.timedelta(seconds=5), Path("/var")
    sentinel = object()

    def command(
        a: Path = where,
        b: datetime.timedelta = when,
        c: tuple[int, ...] = (1, 2),
        d: Disk = A_DISK,
        e: Mode = Mode.FAST,
        f: frozenset[int] = frozenset({1}),
        g: Any = sentinel,
        h: int = 2**70,
    ): ...

    args, _ = received(command, {})
    assert args == (where, when, (1, 2), Disk("d"), Mode.FAST, frozenset({1}), sentinel, 2**70)
    assert args[6] is sentinel


@pytest.mark.parametrize("options", [{}, msgspec.Raw(b"{}")])
def test_an_empty_default_is_not_shared_between_calls(options):
    def command(tags: list[str] = [], labels: dict[str, int] = {}, seen: set[int] = set()): ...  # noqa: B006 - the point

    option_set = options_of(command)

    def use(context, tags, labels, seen):
        before = (list(tags), dict(labels), set(seen))
        tags.append("x")
        labels["x"] = 1
        seen.add(1)
        return before

    assert [option_set.decode(options).call(use, None) for _ in range(3)] == [([], {}, set())] * 3


def test_a_default_that_a_call_could_change_is_refused():
    def one(tags: list[str] = ["a"]): ...  # noqa: B006 - the point

    def two(labels: dict[str, int] = {"a": 1}): ...  # noqa: B006 - the point

    for command in (one, two):
        with pytest.raises(RegistrationError, match="use a tuple"):
            options_of(command)


def test_names_on_the_wire():
    def command(from_: Annotated[str, Option(name="from")], *, class_: Annotated[int, Option(name="class")] = 1): ...

    assert received(command, {"from": "a", "class": 2}) == (("a",), {"class_": 2})
    assert refused(command, {"from_": "a"}).fields["path"] in ("$.from_", "$.from")
    option_set = options_of(command)
    assert option_set.wire_options({"from_": "a", "other": 1}) == {"from": "a", "other": 1}
    assert option_set.bind(("a",), {"class_": 3}) == {"from": "a", "class": 3}


def test_further_options():
    def command(name: str, **opts): ...

    assert received(command, {"name": "a", "x": [1], "y": None, "progress": False}) == (("a",), {"x": [1], "y": None})
    assert received(command, {"name": "a"}) == (("a",), {})
    assert refused(command, {"x": 1}).fields == {"path": "$.name"}
    assert refused(command, {"name": 1, "x": 1}).fields == {"path": "$.name"}
    assert options_of(command).schema["additionalProperties"] is True


def test_further_options_of_one_type():
    def command(**sizes: Annotated[int, msgspec.Meta(ge=0)]): ...

    assert received(command, {"a": 1, "b": 2}) == ((), {"a": 1, "b": 2})
    error = refused(command, {"a": 1, "b": "x"})
    assert (error.message, error.fields) == ("option 'b': expected `int`, got `str`", {"path": "$.b"})
    assert refused(command, {"a": -1}).message == "option 'a': expected `int` >= 0"
    assert options_of(command).schema["additionalProperties"] == {"type": "integer", "minimum": 0}

    def nested(**disks: Disk): ...

    assert received(nested, {"a": {"name": "x"}}) == ((), {"a": Disk("x")})
    assert refused(nested, {"a": {"name": "x", "mirror": {}}}).fields == {"path": "$.a.mirror.name"}
    assert "Disk" in options_of(nested).schema["$defs"]


# What is refused (N2: the message names it; N3: `path`).


def example(
    name: str,
    size: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1,
    mode: Literal["fast", "slow"] = "fast",
    tags: list[str] | None = None,
    disks: list[Disk] = [],  # noqa: B006 - the empty list is allowed
    labels: dict[str, int] | None = None,
    path: Path = Path("/"),
    data: bytes = b"",
    when: datetime.datetime | None = None,
    ports: dict[int, str] | None = None,
): ...


@pytest.mark.parametrize(
    ("options", "message", "path"),
    [
        ({}, "option 'name' is missing", "$.name"),
        ({"size": 2}, "option 'name' is missing", "$.name"),
        ({"name": None}, "option 'name': expected `str`, got `null`", "$.name"),
        ({"name": 5}, "option 'name': expected `str`, got `int`", "$.name"),
        ({"name": "a", "size": "5"}, "option 'size': expected `int`, got `str`", "$.size"),
        ({"name": "a", "size": 5.5}, "option 'size': expected `int`, got `float`", "$.size"),
        ({"name": "a", "size": True}, "option 'size': expected `int`, got `bool`", "$.size"),
        ({"name": "a", "size": 0}, "option 'size': expected `int` >= 1", "$.size"),
        ({"name": "a", "size": 11}, "option 'size': expected `int` <= 10", "$.size"),
        ({"name": "a", "mode": "warp"}, "option 'mode': invalid enum value 'warp'", "$.mode"),
        ({"name": "a", "tags": "x"}, "option 'tags': expected `array | null`, got `str`", "$.tags"),
        ({"name": "a", "tags": ["x", 1]}, "option 'tags[1]': expected `str`, got `int`", "$.tags[1]"),
        ({"name": "a", "disks": [{}]}, "option 'name' is missing in 'disks[0]'", "$.disks[0].name"),
        (
            {"name": "a", "disks": [{"name": "d"}, {"name": "d", "size": 101}]},
            "option 'disks[1].size': expected `int` <= 100",
            "$.disks[1].size",
        ),
        (
            {"name": "a", "disks": [{"name": "d", "sise": 1}]},
            "unknown option 'sise' in 'disks[0]'",
            "$.disks[0].sise",
        ),
        (
            {"name": "a", "disks": [{"name": "d", "mirror": {"name": 1}}]},
            "option 'disks[0].mirror.name': expected `str`, got `int`",
            "$.disks[0].mirror.name",
        ),
        ({"name": "a", "labels": {"x": "y"}}, "option 'labels[...]': expected `int`, got `str`", "$.labels[...]"),
        ({"name": "a", "path": 5}, "option 'path': expected `str`", "$.path"),
        ({"name": "a", "path": None}, "option 'path': expected `str`", "$.path"),
        ({"name": "a", "data": "?"}, "option 'data': invalid base64 encoded string", "$.data"),
        ({"name": "a", "when": "today"}, "option 'when': invalid RFC3339 encoded datetime", "$.when"),
        ({"name": "a", "ports": {"x": "y"}}, "a key of option 'ports': expected `int`, got `str`", "$.ports"),
        ({"name": "a", "zzz": 1}, "unknown option 'zzz'", "$.zzz"),
        ({"name": "a", "nmae": 1}, "unknown option 'nmae'; did you mean 'name'?", "$.nmae"),
        ({"name": "a", "Size": 1}, "unknown option 'Size'; did you mean 'size'?", "$.Size"),
        ({"name": "a", "": 1}, "unknown option ''", "$."),
        ({"name": "a", "\x1b[31m\n": 1}, "unknown option '\\x1b[31m\\n'", "$.\x1b[31m\n"),
        (
            {"name": "a", "missing required field": 1},
            "unknown option 'missing required field'",
            "$.missing required field",
        ),
        ({"name": "a", "io": "frames"}, "unknown option 'io'", "$.io"),
    ],
)
def test_n2_what_is_refused(options, message, path):
    error = refused(example, options)
    assert (error.message, error.fields) == (message, {"path": path})
    assert error.message.isprintable()


@pytest.mark.parametrize("text", [b"{", b"{]", b'{"name": "a" "b"}', b'{"name": "\xff"}', b""])
def test_text_that_is_no_json_is_refused_as_such(text):
    for function in (example, lambda **opts: None):
        with pytest.raises(BadSyntax):
            options_of(function).decode(msgspec.Raw(text))


def test_a_number_that_no_float_can_hold():
    for text in (b'{"name": "a", "size": 1e400}', b'{"name": "a", "zzz": 1e400}'):
        with pytest.raises((InvalidOptions, BadSyntax)):
            options_of(example).decode(msgspec.Raw(text))


class Tree(msgspec.Struct):
    below: "Tree | None" = None


def test_typed_options_nested_as_deeply_as_the_stack_are_refused():
    def command(tree: Tree): ...

    deep: Any = {}
    for _ in range(100_000):
        deep = {"below": deep}
    with pytest.raises(BadSyntax):
        options_of(command).decode({"tree": deep})
    text = b'{"tree":' + b'{"below":' * 100_000 + b"null" + b"}" * 100_001
    with pytest.raises(BadSyntax):
        options_of(command).decode(msgspec.Raw(text))


# Reserved options (N2).


@pytest.mark.parametrize("name", RESERVED)
def test_n2_reserved_options_are_accepted_and_not_passed_on(name):
    for value in ("x", 1, None, {"a": []}, False):
        assert received(lambda a=1: None, {name: value}) == ((1,), {})
        assert received(lambda **opts: None, {name: value}) == ((), {})


@pytest.mark.parametrize("name", RESERVED)
def test_n2_a_command_that_declares_a_reserved_option_does_not_register(name):
    def command(a): ...

    command.__annotations__["a"] = Annotated[str, Option(name=name)]
    with pytest.raises(RegistrationError, match=f"{name!r} is reserved"):
        options_of(command)


@pytest.mark.parametrize(
    ("options", "cli", "wants_progress"),
    [
        ({}, "", True),
        ({"cli": "osctl ct stop ct1", "progress": True}, "osctl ct stop ct1", True),
        ({"cli": 7, "progress": False}, "", False),
        ({"cli": None, "progress": None}, "", True),
        ({"progress": 0}, "", True),
    ],
)
def test_n2_what_reserved_options_say(options, cli, wants_progress):
    decoded = options_of(lambda: None).decode(options)
    assert (decoded.cli, decoded.wants_progress) == (cli, wants_progress)


@pytest.mark.parametrize("name", SESSION_OPTIONS)
def test_n4_session_options_are_accepted_by_session_commands_only(name):
    def command(a: int = 1): ...

    assert received(command, {name: "x"}, session=True) == ((1,), {})
    assert refused(command, {name: "x"}).fields == {"path": f"$.{name}"}
    decoded = options_of(command, session=True).decode({name: "x", "a": 2})
    assert decoded.session == {name: "x"}
    assert options_of(command, session=True).decode({}).session == {}


def test_n4_a_session_command_may_use_such_a_name_itself():
    def command(env: dict[str, str] | None = None, rows: int = 5): ...

    decoded = options_of(command, session=True).decode({"env": {"a": "b"}, "cwd": "/"})
    assert decoded.session == {"cwd": "/"}
    assert received(command, {"env": {"a": "b"}}, session=True) == (({"a": "b"}, 5), {})


def test_n4_a_parameter_may_have_such_a_name_where_its_option_has_another():
    def command(env: Annotated[str, Option(name="environment")] = ""): ...

    assert received(command, {"environment": "x", "env": {"a": "b"}}, session=True) == (("x",), {})
    assert options_of(command, session=True).decode({"env": {"a": "b"}}).session == {"env": {"a": "b"}}


# What cannot be registered.


def test_two_options_of_one_name_are_refused():
    def command(a: Annotated[int, Option(name="b")], b: int): ...

    with pytest.raises(RegistrationError):
        options_of(command)


@pytest.mark.parametrize("hint", [Foreign, list[Foreign], Foreign | None, dict[str, Foreign]])
def test_types_that_json_cannot_carry_are_refused(hint):
    def command(a): ...

    command.__annotations__["a"] = hint
    with pytest.raises(RegistrationError, match="Foreign"):
        options_of(command)


def test_mixed_enums_are_refused():
    class Mixed(enum.Enum):
        A = 1
        B = "b"

    def command(a: Mixed): ...

    command.__annotations__["a"] = Mixed
    with pytest.raises(RegistrationError, match="Mixed"):
        options_of(command)


# The schema.


def test_the_schema():
    def command(
        name: Annotated[str, Option("the VM", complete="vm_list.name")],
        count: Annotated[int, msgspec.Meta(ge=1, le=9), Option("how many")],
        mode: Literal["fast", "slow"] = "fast",
        where: Path = Path("/var"),
        old: Annotated[bool, Option("no more", deprecated="use mode", name="legacy")] = False,
        disk: Disk | None = None,
        tags: tuple[str, ...] = ("a",),
        labels: dict[str, int] = {},  # noqa: B006 - the empty dict is allowed
        sentinel: Any = FOREIGN,
        *,
        first: int,
    ): ...

    assert options_of(command, session=True).schema == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "the VM", "x-complete": "vm_list.name"},
            "count": {"type": "integer", "minimum": 1, "maximum": 9, "description": "how many"},
            "mode": {"enum": ["fast", "slow"], "default": "fast"},
            "where": {"type": "string", "format": "path", "default": "/var"},
            "legacy": {
                "type": "boolean",
                "default": False,
                "description": "no more",
                "deprecated": True,
                "x-deprecated": "use mode",
            },
            "disk": {"anyOf": [{"$ref": "#/$defs/Disk"}, {"type": "null"}], "default": None},
            "tags": {"type": "array", "items": {"type": "string"}, "default": ["a"]},
            "labels": {"type": "object", "additionalProperties": {"type": "integer"}, "default": {}},
            "sentinel": {},
            "first": {"type": "integer"},
        },
        "required": ["name", "count", "first"],
        "additionalProperties": False,
        "$defs": {
            "Disk": {
                "title": "Disk",
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "size": {"type": "integer", "minimum": 1, "maximum": 100, "default": 1},
                    "mirror": {"anyOf": [{"$ref": "#/$defs/Disk"}, {"type": "null"}], "default": None},
                },
                "required": ["name"],
                "additionalProperties": False,
            }
        },
    }


def test_values_of_python_are_options_too():
    def command(disk: Disk, where: Path, when: datetime.date): ...

    decoded = options_of(command).decode({"disk": A_DISK, "where": Path("/x"), "when": datetime.date(2024, 1, 2)})
    assert decoded.call(lambda context, *args: args, None) == (A_DISK, Path("/x"), datetime.date(2024, 1, 2))


def test_the_schema_of_nothing():
    assert options_of(lambda: None).schema == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }


def test_required_options_keep_the_order_of_the_signature():
    def command(zebra: int, b: int = 1, *, apple: int, mango: int = 2, cherry: int): ...

    schema = options_of(command).schema
    assert schema["required"] == ["zebra", "apple", "cherry"]
    assert list(schema["properties"]) == ["zebra", "b", "apple", "mango", "cherry"]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (None, {"type": "null"}),
        (type(None), {"type": "null"}),
        (int, {"type": "integer"}),
        (Any, {}),
        (Path, {"type": "string", "format": "path"}),
        (list[Path], {"type": "array", "items": {"type": "string", "format": "path"}}),
        (Foreign, {}),
        ("not resolved", {}),
        (Mode, {"$ref": "#/$defs/Mode", "$defs": {"Mode": {"title": "Mode", "enum": ["fast", "slow"]}}}),
    ],
)
def test_the_schema_of_a_type(annotation, expected):
    schema = json_schema(annotation)
    schema.get("$defs", {}).get("Mode", {}).pop("description", None)
    assert schema == expected


def tuned(level: Literal["low", "high"]): ...


def counted(**opts: int): ...


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (example, {"name": "a", "z" * 5_000_000: 1}),
        (example, {"name": "a", "disks": [{"name": "d", "z" * 5_000_000: 1}]}),
        (tuned, {"level": "z" * 5_000_000}),
        (counted, {"z" * 5_000_000: "x"}),
    ],
    ids=["name", "name within", "enum", "open"],
)
def test_a_huge_name_or_value_is_told_in_short(monkeypatch, function, options):
    # What is near to it is not looked for: difflib takes seconds for it, and every caller may ask.
    looked_for = []
    monkeypatch.setattr("difflib.get_close_matches", lambda name, *_, **__: looked_for.append(name) or [])
    error = refused(function, options)
    assert len(error.message) < 1000
    assert len(error.fields["path"]) < 1000
    assert not looked_for


@pytest.mark.parametrize("hint", [dict[str, str], dict[str, str] | None])
def test_values_of_the_environment_of_a_session_are_secrets(hint):
    parameters = [inspect.Parameter("env", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None)]
    option_set = OptionSet(parameters, {"env": hint}, session=True)
    assert option_set.has_secrets
    assert redact(option_set.schema, {"env": {"TOKEN": "hunter2"}}) == {"env": {"TOKEN": "***"}}
    assert not OptionSet(parameters, {"env": hint}).has_secrets
    number = OptionSet(parameters, {"env": int}, session=True)
    assert not number.has_secrets


def test_options_that_nobody_needs_any_more_are_collected():
    # `Decoded` is out of the collector's sight: a circle through it would stay for ever.
    async def command(size: int = 1) -> None: ...

    kept = options_of(command)
    assert kept.nothing is not None
    assert kept.nothing.values == kept.decode({}).values
    gone = weakref.ref(kept)
    del kept
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("default", [[], {}, set(), bytearray()])
def test_defaults_that_a_call_could_change_are_made_anew_for_each(default):
    async def command(things=default) -> None: ...

    command.__annotations__["things"] = type(default)
    options = options_of(command)
    assert options.nothing is None
    first, second = (options.decode(msgspec.Raw(b"{}")).values.things for _ in range(2))
    assert first == second == default
    assert first is not second
