"""ctlctl.values: what a text means, by the schema of its option."""

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctlctl.exits import UsageError
from ctlctl.values import as_value, element_of, is_boolean, is_list, parse_json, properties_of, required_of, types_of

TEXT = {"type": "string"}
WHOLE = {"type": "integer"}
NUMBER = {"type": "number"}
FLAG = {"type": "boolean"}
NULL = {"type": "null"}
LIST = {"type": "array", "items": WHOLE}
THING = {"type": "object"}
REFERENCE = {"$ref": "#/$defs/Level"}
DEFINITIONS = {"Level": {"enum": ["low", "high", 3, None, True]}, "Loop": {"$ref": "#/$defs/Loop"}, "Odd": 5}


def either(*schemas: Any) -> Any:
    return {"anyOf": list(schemas)}


ACCEPTED = [
    (TEXT, "5", "5"),
    (TEXT, "", ""),
    (TEXT, "null", "null"),
    (WHOLE, "5", 5),
    (WHOLE, "-5", -5),
    (WHOLE, str(2**70), 2**70),
    (NUMBER, "5", 5),
    (NUMBER, "1.5e3", 1500.0),
    (FLAG, "true", True),
    (FLAG, "No", False),
    (FLAG, "on", True),
    (NULL, "null", None),
    (LIST, "[1, 2]", [1, 2]),
    (THING, '{"a": 1}', {"a": 1}),
    (REFERENCE, "low", "low"),
    (REFERENCE, "3", 3),
    (REFERENCE, "null", None),
    (REFERENCE, "true", True),
    ({"const": "x"}, "x", "x"),
    (either(TEXT, NULL), "null", "null"),
    (either(WHOLE, NULL), "null", None),
    (either(WHOLE, TEXT), "5", 5),
    (either(WHOLE, TEXT), "x", "x"),
    (either(FLAG, WHOLE), "5", 5),
    (either(TEXT, FLAG), "true", True),
    (either(LIST, TEXT), "[1]", [1]),
    (either(REFERENCE, WHOLE), "7", 7),
    ({"oneOf": [WHOLE, NULL]}, "5", 5),
    ({"type": ["integer", "null"]}, "5", 5),
    ({"type": ["integer", "null"]}, "null", None),
    ({}, "5", 5),
    ({}, "text", "text"),
    ({"type": "unheard-of"}, "text", "text"),
    ({"$ref": "#/$defs/Loop"}, "text", "text"),
    ({"$ref": "#/$defs/Missing"}, "[1]", [1]),
    ({"$ref": "#/$defs/Odd"}, "text", "text"),
    (5, "text", "text"),
    (None, "text", "text"),
]


@pytest.mark.parametrize(("schema", "text", "value"), ACCEPTED, ids=lambda value: str(value)[:40])
def test_accepted(schema: Any, text: str, value: Any) -> None:
    found = as_value(text, schema, DEFINITIONS, "--x")
    assert found == value
    assert type(found) is type(value)


REFUSED = [
    (WHOLE, "5.5", "an integer"),
    (WHOLE, "five", "an integer"),
    (WHOLE, "true", "an integer"),
    (WHOLE, "", "an integer"),
    (WHOLE, "9" * 5000, "an integer"),
    (NUMBER, "NaN", "a number"),
    (NUMBER, "Infinity", "a number"),
    (NUMBER, "true", "a number"),
    (FLAG, "5", "true or false"),
    (FLAG, "", "true or false"),
    (NULL, "none", "null"),
    (LIST, "1,2", "a JSON array"),
    (THING, "[1]", "a JSON object"),
    (THING, "{" * 100_000, "a JSON object"),
    (REFERENCE, "medium", "low or high or 3 or null or true"),
    (either(WHOLE, NULL), "x", "an integer or null"),
]


@pytest.mark.parametrize(("schema", "text", "wish"), REFUSED, ids=lambda value: str(value)[:40])
def test_refused(schema: Any, text: str, wish: str) -> None:
    with pytest.raises(UsageError, match=f"^--x takes {wish}, not "):
        as_value(text, schema, DEFINITIONS, "--x")


@pytest.mark.parametrize("schema", [TEXT, {}, WHOLE])
def test_bytes_that_are_no_text_are_refused(schema: Any) -> None:
    with pytest.raises(UsageError, match="--x takes UTF-8, not "):
        as_value("\udcff", schema, {}, "--x")


@pytest.mark.parametrize(
    ("schema", "names"),
    [
        (TEXT, {"string"}),
        (either(FLAG, NULL), {"boolean", "null"}),
        (REFERENCE, {"string", "integer", "null", "boolean"}),
        (either(FLAG, {}), set()),
        ({"enum": [1.5, [], {}]}, {"number", "array", "object"}),
    ],
)
def test_types(schema: Any, names: set[str]) -> None:
    assert types_of(schema, DEFINITIONS) == names


def test_flags_and_lists() -> None:
    assert is_boolean(FLAG, {})
    assert is_boolean(either(FLAG, NULL), {})
    assert not is_boolean(either(FLAG, WHOLE), {})
    assert not is_boolean({}, {})
    assert is_list(LIST, {})
    assert is_list(either(NULL, LIST), {})
    assert not is_list(either(TEXT, LIST), {})
    assert element_of(either(NULL, LIST), {}) == WHOLE
    assert element_of({"type": "array"}, {}) == {}
    assert element_of(TEXT, {}) == {}


def test_unions_without_end_end() -> None:
    definitions: dict[str, Any] = {}
    definitions["Loop"] = {"anyOf": [{"$ref": "#/$defs/Loop"}]}
    assert as_value("x", {"$ref": "#/$defs/Loop"}, definitions, "--x") == "x"


def test_json() -> None:
    assert parse_json('{"a": [null]}', "--opts") == {"a": [None]}
    for text in ("{", "NaN", "", "[" * 100_000, "\udcff"):
        with pytest.raises(UsageError, match=r"^--opts takes "):
            parse_json(text, "--opts")


class Sizes(msgspec.Struct):
    width: int


@pytest.mark.parametrize(
    ("wanted", "text", "value"),
    [
        (int | None, "5", 5),
        (str | None, "x", "x"),
        (float, "1", 1),
        (bool, "true", True),
        (Sizes, '{"width": 1}', {"width": 1}),
        (Any, "x", "x"),
        (dict[str, int], '{"a": 1}', {"a": 1}),
    ],
    ids=str,
)
def test_schemas_as_msgspec_makes_them(wanted: Any, text: str, value: Any) -> None:
    (schema,), definitions = msgspec.json.schema_components([wanted], ref_template="#/$defs/{name}")
    assert as_value(text, schema, definitions, "--x") == value


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)
SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "array", "null", "x"]) | VALUES,
            "enum": VALUES,
            "$ref": st.just("#/$defs/Level") | VALUES,
        },
    )
    | VALUES,
    lambda schemas: st.fixed_dictionaries({"anyOf": st.lists(schemas)}),
    max_leaves=5,
)


@given(SCHEMAS, st.text())
def test_no_schema_of_a_daemon_breaks_the_client(schema: Any, text: str) -> None:
    with contextlib.suppress(UsageError):
        msgspec.json.encode(as_value(text, schema, DEFINITIONS, "--x"))  # what is understood can be sent
    assert all(isinstance(name, str) for name in types_of(schema, DEFINITIONS))
    element_of(schema, DEFINITIONS)


@pytest.mark.parametrize("schema", [None, [], 5, {}, {"properties": None}, {"properties": [1], "required": "x"}])
def test_what_is_no_schema_of_options_has_none(schema: Any) -> None:
    assert properties_of(schema) == {}
    assert required_of(schema) == []


def test_only_options_that_there_are_are_required() -> None:
    schema = {"properties": {"a": 5, "b": {}}, "required": ["b", {"c": 1}, "d", 7, "a"]}
    assert properties_of(schema) == {"a": 5, "b": {}}
    assert required_of(schema) == ["b", "a"]
