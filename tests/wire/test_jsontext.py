"""Native protocol, N4: msgspec's JSON is the rule for every type; orjson encodes."""

import base64
import datetime
import decimal
import enum
import json
import pathlib
import uuid
from collections import ChainMap, Counter, OrderedDict, UserDict, defaultdict, namedtuple
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.errors import LocalProtocolError
from ctld.secret import Secret
from ctld.wire.jsontext import MAX_NESTING, decode_deep, encode, is_suspect, is_too_deep

UTC = datetime.UTC
CEST = datetime.timezone(datetime.timedelta(hours=2))


class Point(msgspec.Struct):
    x: int
    y: float = 0.5


class Tagged(msgspec.Struct, tag="vm", rename="camel", omit_defaults=True):
    max_memory: int = 0
    disk_names: list[str] = []


class Arrayed(msgspec.Struct, array_like=True):
    a: int
    b: str


class Deep(msgspec.Struct):
    raw: msgspec.Raw
    unset: int | msgspec.UnsetType = msgspec.UNSET


@dataclass
class Disk:
    name: str
    size: int
    tags: set[str] = field(default_factory=set)
    path: bytes = b"\xff/x"
    _private: int = 7


@dataclass(frozen=True, slots=True)
class Slotted:
    point: Point
    when: datetime.datetime


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Name(enum.StrEnum):
    CT = "ct"


class Flag(enum.Flag):
    A = 1
    B = 2


Pair = namedtuple("Pair", "first second")

VALUES = {
    "none": None,
    "true": True,
    "integer": -5,
    "64 bits": 2**63,
    "unsigned": 2**64 - 1,
    "float": 0.1,
    "whole float": 1.0,
    "huge float": 1e308,
    "tiny float": 5e-324,
    "nan": float("nan"),
    "infinity": float("-inf"),
    "text": "h\u00e9\u4e16\U0001f600",
    "controls": '\0\x01\x1f\x7f"\\/\u2028',
    "list": [1, "a", None],
    "tuple": (1, (2,)),
    "empty": [{}, [], ""],
    "set": {5},
    "frozenset": frozenset({"a"}),
    "bytes": b"\x00\xff",
    "bytearray": bytearray(b"ab"),
    "memoryview": memoryview(b"abc"),
    "integer keys": {1: "a", -2: "b"},
    "float keys": {1.5: "a"},
    "enum keys": {Name.CT: 1, Level.LOW: 2, Colour.RED: 3},
    "uuid keys": {uuid.UUID(int=1): 1},
    "date keys": {datetime.date(2024, 2, 29): 1},
    "struct": Point(1),
    "tagged struct": Tagged(3, ["a"]),
    "defaults left out": Tagged(),
    "array-like struct": Arrayed(1, "a"),
    "nested": {"a": [Point(1), {"b": (Disk("d", 1), {Colour.BLUE})}]},
    "raw": Deep(msgspec.Raw(b'{"a": [1,2]}')),
    "raw alone": msgspec.Raw(b"[1]"),
    "dataclass": Disk("sda", 10, {"fast"}),
    "slotted dataclass": Slotted(Point(2), datetime.datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC)),
    "enum": [Colour.RED, Colour.BLUE],
    "integer enum": Level.LOW,
    "text enum": Name.CT,
    "flag": Flag.B,
    "naive datetime": datetime.datetime(2024, 1, 2, 3, 4, 5),
    "microseconds": datetime.datetime(2024, 1, 2, 3, 4, 5, 60),
    "utc": datetime.datetime(2024, 1, 2, tzinfo=UTC),
    "zone": datetime.datetime(2024, 1, 2, tzinfo=CEST),
    "date": datetime.date(1, 1, 1),
    "time": datetime.time(23, 59, 59, 999999),
    "time with zone": datetime.time(1, 2, 3, tzinfo=UTC),
    "timedelta": datetime.timedelta(days=1, seconds=2, microseconds=3),
    "negative timedelta": datetime.timedelta(seconds=-1),
    "uuid": uuid.UUID(int=2**100),
    "decimal": decimal.Decimal("1.10"),
    "namedtuple": Pair(1, "b"),
    "ordered dict": OrderedDict(b=1, a=2),
    "default dict": defaultdict(list, a=[1]),
    "counter": Counter("aab"),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_msgspec_is_the_rule(value):
    ours = encode(value)
    assert b"\n" not in ours
    assert decode(ours) == decode(msgspec.json.encode(value))


def decode(text):
    return json.loads(text)


class Text(str):
    __slots__ = ()


class Loud(str):
    __slots__ = ()

    def __str__(self):
        raise AssertionError("encoding asks no object to describe itself")


class Number(int):
    pass


class Share(float):
    pass


class Table(dict):
    pass


class Row(list):
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"\x00\xff", '"AP8="'),
        ({"data": bytearray(b"ab")}, '{"data":"YWI="}'),
        ({"data": memoryview(b"ab")}, '{"data":"YWI="}'),
        (datetime.datetime(2024, 1, 2, tzinfo=UTC), '"2024-01-02T00:00:00Z"'),
        (datetime.datetime(2024, 1, 2, tzinfo=CEST), '"2024-01-02T00:00:00+02:00"'),
        (datetime.timedelta(seconds=90), '"PT90S"'),
        (decimal.Decimal("1.10"), '"1.10"'),
        (2**64, str(2**64)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        ([10**40, 1], f"[{10**40},1]"),
        ({"a": {1: {2: 3}}}, '{"a":{"1":{"2":3}}}'),
        (float("nan"), "null"),
        (float("inf"), "null"),
        (Disk("a", 1), '{"name":"a","size":1,"tags":[],"path":"/y94","_private":7}'),
        (Text("a"), '"a"'),
        ([Text("a"), Number(7), Share(0.5), Row([1]), Table(b=2)], '["a",7,0.5,[1],{"b":2}]'),
        ([Loud("a")], '["a"]'),
        ([Loud("a"), 2**64], f'["a",{2**64}]'),
        ({1: msgspec.Raw(b' [1, "\\ud83d\\ude00"] ')}, '{"1":[1,"\U0001f600"]}'),
        ({Text("k"): Text("v")}, '{"k":"v"}'),
        (Row([Text("a"), Row([Number(2**70)])]), f'["a",[{2**70}]]'),
        (Table({1: Text("a")}), '{"1":"a"}'),
        (pathlib.PurePosixPath("/a/b"), '"/a/b"'),
        ({"p": pathlib.Path("x"), 1: 2}, '{"p":"x","1":2}'),
        (Secret("hunter2"), '"***"'),
        ({"a": [Secret("hunter2")], 1: Secret("hunter2")}, '{"a":["***"],"1":"***"}'),
    ],
)
def test_every_type_has_its_text(value, expected):
    assert encode(value).decode() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\udcff", "a\ufffd"),
        ("\ud800\udc00", "\ufffd\ufffd"),
        (["ok", {"\udc80": "\udcff"}], ["ok", {"\ufffd": "\ufffd"}]),
        (("\udcff", b"\xff"), ["\ufffd", "/w=="]),
        (Text("\udcff"), "\ufffd"),
        (pathlib.Path("/x/\udcff"), "/x/\ufffd"),
        (Disk("\udcff", 1).name, "\ufffd"),
        ({"disk": Disk("\udcff", 2**70)}, None),
        (Point("\udcff"), {"x": "\ufffd", "y": 0.5}),
        ([Colour.RED, "\udcff"], ["red", "\ufffd"]),
    ],
)
def test_text_that_is_no_utf8_gets_the_replacement_character(value, expected):
    text = encode(value)
    decoded = msgspec.json.decode(text)
    if expected is None:
        assert (decoded["disk"]["name"], decoded["disk"]["size"]) == ("\ufffd", 2**70)
    else:
        assert decoded == expected


def nested(levels: int, brackets: str = "[]") -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value] if brackets == "[]" else {"a": value}
    return value


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_deeply_nested_values_are_sent(brackets):
    value = nested(300, brackets)
    assert msgspec.json.decode(encode(value)) == value


def test_deeply_nested_values_of_unusual_types_are_sent():
    value: Any = Text("\udcff")
    for level in range(150):
        value = [value] if level % 2 else {level: value}
    text = encode(value)
    assert text.count(b"[") == text.count(b"{") == 75
    assert "\ufffd" in text.decode()


class Opaque:
    def __repr__(self):
        return "SECRET-REPR"


cyclic: list[Any] = []
cyclic.append(cyclic)


@pytest.mark.parametrize(
    "value",
    [
        Opaque(),
        {"a": [Opaque()]},
        object(),
        len,
        1j,
        {(1, 2): 3},
        {True: 1},
        {None: 1},
        msgspec.Raw(b"{no json"),
        {Opaque(): 1},
        {b"\xff": Opaque()},
        {"a": 2**70, "b": Opaque()},
        ["\udcff", Opaque()],
        (item for item in ()),
        ChainMap({}),
        UserDict(a=1),
        cyclic,
        nested(100_000),
        [nested(100_000), 2**70],
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_carry_is_refused(value):
    with pytest.raises(LocalProtocolError, match="cannot be sent as JSON") as refused:
        encode(value)
    assert "SECRET-REPR" not in str(refused.value)
    assert "\n" not in str(refused.value)
    del value


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(plain)
def test_plain_values_come_back(value):
    assert msgspec.json.decode(encode(value)) == value


unusual = st.recursive(
    st.binary(max_size=8) | st.text(st.characters(codec=None), max_size=5) | st.integers() | st.dates() | st.uuids(),
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.integers() | st.text(st.characters(codec=None), max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(unusual)
def test_whatever_is_sent_is_one_line_of_json(value):
    line = encode(value)
    assert b"\n" not in line
    json.loads(line)  # a decoder that nobody here wrote takes it


@given(st.binary())
def test_bytes_are_base64(data):
    assert base64.b64decode(msgspec.json.decode(encode({"a": data}))["a"], validate=True) == data


# Decoding what may be deep.


def test_the_bound_on_nesting_is_exact():
    value = decode_deep(b"[" * MAX_NESTING + b"]" * MAX_NESTING)
    for _ in range(MAX_NESTING - 1):
        (value,) = value
    assert value == []
    for text in (b"[" * (MAX_NESTING + 1) + b"]" * (MAX_NESTING + 1), b'{"a":' * 1001 + b"1" + b"}" * 1001):
        with pytest.raises(ValueError):
            decode_deep(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"1,2",
        b"1],[2",
        b"]",
        b"1]",
        b"[1",
        b"],[",
        b"1 2",
        b"NaN",
        b"1e400",
        b'"\xff"',
        b"[" * 10**6,
        b"[1,]",
    ],
    ids=lambda text: repr(text[:10]),
)
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError):
        decode_deep(text)


@given(st.text(alphabet='[]{}",:1 ', max_size=14))
def test_padding_makes_nothing_acceptable(text):
    data = text.encode()
    try:
        expected = json.loads(data)
    except ValueError:
        with pytest.raises(ValueError):
            decode_deep(data)
    else:
        assert decode_deep(data) == expected


@given(plain)
def test_deep_decoding_agrees_with_the_usual_one(value):
    text = msgspec.json.encode(value)
    assert decode_deep(text) == msgspec.json.decode(text)


def test_large_integers_stay_integers():
    value = {"a": [[]] * 150, "n": [2**64, -(2**63) - 1, 10**50]}
    text = msgspec.json.encode(value)
    decoded = decode_deep(text)
    assert decoded == value
    assert all(type(number) is int for number in decoded["n"])


def test_large_integers_in_deep_text_do_not_break_it():
    text = b"[" * MAX_NESTING + str(2**64).encode() + b"]" * MAX_NESTING
    value = decode_deep(text)
    for _ in range(MAX_NESTING):
        (value,) = value
    assert value == pytest.approx(2**64)


@pytest.mark.parametrize(
    ("text", "suspect"), [(b"[" * 100, False), (b"[{" * 51, True), (b"]" * 500, False), (b"", False)]
)
def test_many_brackets_are_suspect(text, suspect):
    assert is_suspect(text) is suspect
    assert is_suspect(bytearray(text)) is suspect


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        (b"[" * 1001, True), (b"[" * 1000, False), (b'{"a":' * 1001, True), (b'"' + b"[" * 2000, False),
        (b"[]" * 2000, False),
        (b'"' + b'\\"[' * 2000, False), (b'"\\\\"' + b"[" * 1001, True), (b"", False),
    ],
)  # fmt: skip
def test_nesting_alone(text, deep):
    assert is_too_deep(text) is deep


def test_orjson_still_refuses_where_the_bound_expects_it():
    orjson.loads(b"[" * 1024 + b"]" * 1024)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(b"[" * 1025 + b"]" * 1025)
