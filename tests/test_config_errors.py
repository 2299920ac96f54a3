"""What msgspec's messages become: a path and a sentence for people."""

import enum
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pytest
from msgspec import inspect

from ctld.config_errors import Mistake, find_unknown_key, mistake_of, spell


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Inner(msgspec.Struct, frozen=True):
    mode: Literal["a", "b"] = "a"
    size: Annotated[int, msgspec.Meta(ge=1)] = 1
    colour: Colour = Colour.RED
    free: dict[str, int] = {}


class Cat(msgspec.Struct, tag_field="kind", tag="cat"):
    lives: int = 9


class Dog(msgspec.Struct, tag_field="kind", tag="dog"):
    tricks: list[str] = []


@dataclass
class Point:
    x: int = 0


class Typed(TypedDict, total=False):
    y: int


class Outer(msgspec.Struct):
    must: int
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    either: int | Inner | list[Inner] | None = None
    pet: Cat | Dog | None = None
    point: Point | None = None
    typed: Annotated[Typed, msgspec.Meta(description="typed")] | None = None
    named: dict[str, Inner] = {}
    kinds: dict[Literal["p", "q"], int] = {}
    tri: bool | str = False
    renamed: int = msgspec.field(default=0, name="some-name")


def convert(data: object) -> Any:
    return msgspec.convert(data, Outer)


def mistake(data: dict[str, Any]) -> Mistake:
    data = {"must": 1, **data}
    with pytest.raises(msgspec.ValidationError) as caught:
        convert(data)
    return mistake_of(caught.value, data, inspect.type_info(Outer), convert)


@pytest.mark.parametrize(
    ("data", "path", "reason"),
    [
        ({"must": "x"}, ("must",), "expected integer, got string"),
        ({"inner": {"mode": "c"}}, ("inner", "mode"), "'c' is none of a, b"),
        ({"inner": {"colour": "green"}}, ("inner", "colour"), "'green' is none of red, blue"),
        ({"many": [{}, {"size": 0}]}, ("many", 1, "size"), "expected integer >= 1"),
        ({"many": 3}, ("many",), "expected array, got integer"),
        ({"many": [{"mode": "z"}]}, ("many", 0, "mode"), "'z' is none of a, b"),
        ({"either": True}, ("either",), "expected integer | table | array | nothing, got boolean"),
        ({"either": [{"mode": "z"}]}, ("either", 0, "mode"), "'z' is none of a, b"),
        ({"inner": {"free": {"k": 1, "l": "x"}}}, ("inner", "free", "l"), "expected integer, got string"),
        ({"named": {"good": {}, "bad": {"size": 0}}}, ("named", "bad", "size"), "expected integer >= 1"),
        ({"named": {"bad": {"mode": "z"}}}, ("named", "bad", "mode"), "'z' is none of a, b"),
        ({"kinds": {"p": 1, "r": 2}}, ("kinds", "r"), "'r' is none of p, q"),
        ({"tri": 1}, ("tri",), "expected boolean | string, got integer"),
        ({"some-name": "x"}, ("some-name",), "expected integer, got string"),
    ],
)
def test_a_mistake_has_a_path_and_a_sentence(data, path, reason):
    assert mistake(data) == (path, reason)


def test_a_missing_key_is_named():
    with pytest.raises(msgspec.ValidationError) as caught:
        convert({})
    assert mistake_of(caught.value, {}, inspect.type_info(Outer), convert) == ((), "the key must is missing")


def test_an_unknown_choice_without_a_list_keeps_msgspecs_words():
    error = msgspec.ValidationError("Invalid enum value 'c' - at `$.must`")
    assert mistake_of(error, {}, inspect.type_info(Outer), convert) == (("must",), "invalid enum value 'c'")


def test_a_culprit_that_cannot_be_found_leaves_the_table():
    error = msgspec.ValidationError("Strange - at `$.kinds[...]`")
    data = {"must": 1, "kinds": {"p": 1, "r": 1}}
    assert mistake_of(error, data, inspect.type_info(Outer), convert) == (("kinds",), "strange")


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"zz": 1}, ("zz",)),
        ({"inner": {"zz": 1}}, ("inner", "zz")),
        ({"many": [{}, {"zz": 1}]}, ("many", 1, "zz")),
        ({"either": {"zz": 1}}, ("either", "zz")),
        ({"either": [{"zz": 1}]}, ("either", 0, "zz")),
        ({"pet": {"kind": "dog", "lives": 9}}, ("pet", "lives")),
        ({"point": {"z": 1}}, ("point", "z")),
        ({"typed": {"z": 1}}, ("typed", "z")),
        ({"named": {"any": {"zz": 1}}}, ("named", "any", "zz")),
        ({"renamed": 1}, ("renamed",)),
    ],
)
def test_unknown_keys_are_found_everywhere(data, path):
    found = find_unknown_key(data, inspect.type_info(Outer))
    assert found is not None
    assert found.path == path


@pytest.mark.parametrize(
    "data",
    [
        {"pet": {"kind": "cat", "lives": 1}},
        {"pet": {"kind": "fish", "zz": 1}},  # no member of the union: the conversion says so
        {"either": 1},
        {"inner": {"free": {"anything": 1}}},
        {"some-name": 1},
        {"inner": 3},
    ],
)
def test_keys_that_are_known_or_somebody_elses_affair(data):
    assert find_unknown_key(data, inspect.type_info(Outer)) is None


def test_did_you_mean():
    near = find_unknown_key({"inner": {"colours": "red"}}, inspect.type_info(Outer))
    far = find_unknown_key({"point": {"qqq": 1}}, inspect.type_info(Outer))
    assert near == (("inner", "colours"), "there is no such key; did you mean colour?")
    assert far == (("point", "qqq"), "there is no such key; there are x")


def test_spelling():
    assert spell(("listen", 0, "mode")) == "listen[0].mode"
    assert spell(("a b", "c")) == '"a b".c'
    assert spell(("x", "\x1b[2J\n")) == 'x."?[2J?"'
    assert spell(()) == ""
