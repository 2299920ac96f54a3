"""Secrets: never shown, wherever they are put (issue of the audit: "never in events, history, logs, errors")."""

import copy
import json
import logging
import pickle
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctld.secret import (
    BLANK,
    SECRET_SCHEMA,
    Secret,
    dec_hook,
    enc_hook,
    has_secrets,
    is_secret,
    redact,
    redact_text,
    schema_hook,
    secret_values,
)

VALUE = "hunter2"


class Login(msgspec.Struct, forbid_unknown_fields=True):
    user: str
    password: Secret
    old: Secret | None = None
    backup: "Login | None" = None


class Options(msgspec.Struct):
    name: str
    login: Login | None = None
    keys: dict[str, Secret] = {}
    pairs: list[tuple[int, Secret]] = []
    hosts: list[str] = []
    size: int = 0


class Plain(msgspec.Struct):
    name: str
    inner: "Plain | None" = None


SCHEMA = msgspec.json.schema(Options, schema_hook=schema_hook)
PLAIN = msgspec.json.schema(Plain, schema_hook=schema_hook)


# -- the type ----------------------------------------------------------------------------


def test_only_reveal_shows_it():
    secret = Secret(VALUE)
    assert secret.reveal() == VALUE
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>10}", f"{secret!r}", "%s" % secret, repr([secret])]  # noqa: UP031  # that too
    assert not any(VALUE in one for one in shown)
    assert str(secret) == BLANK
    assert not hasattr(secret, "__dict__")


def test_it_is_not_logged(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("%s %r", Secret(VALUE), {"password": Secret(VALUE)})
    assert VALUE not in caplog.text
    assert BLANK in caplog.text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_is_not_pickled(protocol: int):
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(Secret(VALUE), protocol)


def test_its_state_is_not_given_away():
    with pytest.raises(TypeError, match="not pickled"):
        Secret(VALUE).__getstate__()


def test_it_is_copied_without_being_unwrapped():
    @dataclass
    class Holder:
        secret: Secret

    secret = Secret(VALUE)
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret
    assert VALUE not in repr(asdict(Holder(secret)))


def test_it_does_not_change():
    secret = Secret(VALUE)
    with pytest.raises(AttributeError):
        secret._value = "x"
    with pytest.raises(AttributeError):
        del secret._value
    with pytest.raises(AttributeError):
        secret.other = 1
    assert secret.reveal() == VALUE


@given(st.text(), st.text())
def test_equality_is_that_of_the_texts_and_of_secrets_only(one: str, other: str):
    assert (Secret(one) == Secret(other)) is (one == other)
    assert Secret(one) == Secret(one)
    assert Secret(one) != one


def test_any_text_compares():
    assert Secret("\udc80") == Secret("\udc80")
    assert Secret("\udc80") != Secret("?")


def test_it_has_no_hash():
    with pytest.raises(TypeError, match="unhashable"):
        hash(Secret(VALUE))


def test_it_is_text_and_the_refusal_does_not_quote():
    with pytest.raises(TypeError, match="not int") as caught:
        Secret(4711)  # type: ignore[arg-type]  # what the test is about
    assert "4711" not in str(caught.value)


# -- hooks -------------------------------------------------------------------------------


def test_msgspec_decodes_it():
    line = json.dumps({"name": "n", "login": {"user": "u", "password": VALUE, "old": None}})
    decoded = msgspec.json.decode(line, type=Options, dec_hook=dec_hook)
    assert decoded.login == Login("u", Secret(VALUE))
    assert msgspec.convert(json.loads(line), Options, dec_hook=dec_hook) == decoded
    assert VALUE not in repr(decoded)


@pytest.mark.parametrize("wrong", [4711, ["hunter2"], {"a": "hunter2"}, True])
def test_a_wrong_type_is_refused_without_quoting_it(wrong: object):
    with pytest.raises(msgspec.ValidationError, match=r"Expected `str` - at `\$\.login\.password`") as caught:
        msgspec.convert({"name": "n", "login": {"user": "u", "password": wrong}}, Options, dec_hook=dec_hook)
    assert "hunter2" not in str(caught.value)
    assert "4711" not in str(caught.value)


def test_encoders_blank_it():
    value = {"password": Secret(VALUE)}
    assert msgspec.json.encode(value, enc_hook=enc_hook) == orjson.dumps(value, default=enc_hook)
    assert orjson.loads(orjson.dumps(value, default=enc_hook)) == {"password": BLANK}
    with pytest.raises(TypeError):
        orjson.dumps(value)  # an encoder that knows nothing of it refuses


def test_hooks_leave_other_types_to_others():
    for attempt in (lambda: dec_hook(complex, 1), lambda: enc_hook(1j), lambda: schema_hook(complex)):
        with pytest.raises(NotImplementedError, match="complex"):
            attempt()


def test_the_schema_marks_it():
    assert schema_hook(Secret) == SECRET_SCHEMA == {"type": "string", "format": "password", "writeOnly": True}
    assert is_secret(SCHEMA["$defs"]["Login"]["properties"]["password"])
    assert not is_secret({"type": "string", "format": "password"})
    assert has_secrets(SCHEMA)
    assert not has_secrets(PLAIN)  # which refers to itself
    assert not has_secrets({})


def test_a_default_does_not_reach_the_schema():
    class WithDefault(msgspec.Struct):
        password: Secret = msgspec.field(default_factory=lambda: Secret(VALUE))

    assert VALUE not in json.dumps(msgspec.json.schema(WithDefault, schema_hook=schema_hook))


# -- redaction ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "blanked", "values"),
    [
        ({"name": "n", "size": 5, "hosts": ["a"]}, {"name": "n", "size": 5, "hosts": ["a"]}, []),
        (
            {"login": {"user": "u", "password": "p1", "old": "p2"}},
            {"login": {"user": "u", "password": BLANK, "old": BLANK}},
            ["p1", "p2"],
        ),
        (
            {"login": {"user": "u", "password": "p1", "backup": {"user": "v", "password": "p2"}}},
            {"login": {"user": "u", "password": BLANK, "backup": {"user": "v", "password": BLANK}}},
            ["p1", "p2"],
        ),
        ({"keys": {"a": "p1", "b": "p2"}}, {"keys": {"a": BLANK, "b": BLANK}}, ["p1", "p2"]),
        ({"pairs": [[1, "p1"], [2, "p2"]]}, {"pairs": [[1, BLANK], [2, BLANK]]}, ["p1", "p2"]),
        ({"login": None}, {"login": None}, []),
        # invalid requests are recorded too: what is in the wrong place is blanked as well
        ({"login": "p1"}, {"login": BLANK}, ["p1"]),
        ({"login": ["p1"]}, {"login": BLANK}, ["p1"]),
        ({"login": {"pasword": "p1"}}, {"login": {"pasword": BLANK}}, ["p1"]),
        (
            {"login": {"password": ["p1", {"x": "p2"}, 5, None, True]}},
            {"login": {"password": BLANK}},
            ["5", "p2", "p1"],
        ),
        ({"pasword": "p1", "none": None}, {"pasword": BLANK, "none": None}, ["p1"]),
        ({"pairs": [[1, "p1", "p2"]]}, {"pairs": [[1, BLANK, BLANK]]}, ["p1", "p2"]),
        ({"pairs": "p1"}, {"pairs": BLANK}, ["p1"]),
    ],
)
def test_redaction(options: dict[str, Any], blanked: dict[str, Any], values: list[str]):
    before = copy.deepcopy(options)
    assert redact(SCHEMA, options) == blanked
    assert sorted(secret_values(SCHEMA, options)) == sorted(values)
    assert options == before


def test_a_command_without_secrets_is_left_alone():
    options = {"name": "n", "whatever": {"password": "p"}}
    assert redact(PLAIN, options) == options
    assert secret_values(PLAIN, options) == []


def test_what_is_no_secret_stays_readable_within_mappings_and_lists():
    class Many(msgspec.Struct):
        by_name: dict[str, Login] = {}
        some: list[Login] = []

    schema = msgspec.json.schema(Many, schema_hook=schema_hook)
    one, blanked = {"user": "u", "password": "p"}, {"user": "u", "password": BLANK}
    assert redact(schema, {"by_name": {"a": one}, "some": [one]}) == {"by_name": {"a": blanked}, "some": [blanked]}


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf", "allOf"])
def test_a_secret_in_any_alternative_counts(keyword: str):
    schema = {"properties": {"x": {keyword: [{"type": "integer"}, dict(SECRET_SCHEMA)]}}}
    assert redact(schema, {"x": "p"}) == {"x": BLANK}


def test_a_schema_that_is_a_secret_itself_blanks_everything():
    assert redact(SECRET_SCHEMA, {"x": "p"}) == {}
    assert secret_values(SECRET_SCHEMA, {"x": "p"}) == ["p"]


def test_references_are_unescaped_and_may_dangle():
    schema: dict[str, Any] = {"properties": {"x": {"$ref": "#/$defs/a~1b~0c"}, "y": {"$ref": "#/$defs/none"}}}
    schema["$defs"] = {"a/b~c": dict(SECRET_SCHEMA)}
    assert redact(schema, {"x": "p", "y": "q"}) == {"x": BLANK, "y": "q"}
    assert not has_secrets({"$ref": "#/title", "title": "text"})


def test_depth_is_bounded_and_what_lies_below_is_blanked():
    options: dict[str, Any] = {"user": VALUE}
    for _ in range(5000):
        options = {"user": "u", "backup": options}
    blanked = redact(SCHEMA, {"login": options})
    for _ in range(40):
        blanked = blanked["backup" if "backup" in blanked else "login"]
    assert blanked["user"] == "u"
    values = secret_values(SCHEMA, {"login": options})
    assert VALUE in values


scalars = st.none() | st.booleans() | st.integers() | st.sampled_from(["u", VALUE, "x"])
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["user", "password", "old", "q"]), inner)
    ),
    max_leaves=8,
)
logins = st.recursive(
    anything.filter(lambda value: not isinstance(value, dict)),
    lambda inner: st.fixed_dictionaries(
        {}, optional={"user": scalars, "password": anything, "old": anything, "backup": inner, "typo": anything}
    ),
    max_leaves=4,
)
# Anything at all in every place that has to do with secrets; elsewhere plain values.
sloppy_options = st.fixed_dictionaries(
    {},
    optional={
        "name": scalars,
        "size": scalars,
        "hosts": st.lists(scalars, max_size=2),
        "login": logins,
        "keys": anything,
        "pairs": scalars | st.lists(scalars | st.tuples(scalars, anything, anything).map(list), max_size=3),
        "typo": anything,
    },
)


def leaves(value: Any, inside: bool) -> Iterator[Any]:
    """All plain values beneath the names of secrets."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from leaves(one, inside or key in ("password", "old", "keys", "typo"))
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one, inside)
    elif inside and value is not None:
        yield value


@given(sloppy_options)
@settings(max_examples=300, deadline=None)
def test_nothing_survives_in_the_place_of_a_secret_whatever_its_shape(options: dict[str, Any]):
    blanked = redact(SCHEMA, options)
    assert set(leaves(blanked, inside=False)) <= {BLANK}
    assert blanked.keys() == options.keys()
    for plain in ("name", "size", "hosts"):
        assert blanked.get(plain) == options.get(plain)
    if not isinstance(login := options.get("login"), dict):
        assert blanked.get("login") == (None if login is None else BLANK)
    pairs = blanked.get("pairs")
    for pair in pairs if isinstance(pairs, list) else [pairs]:
        assert all(one in (BLANK, None) for one in (pair[1:] if isinstance(pair, list) else [pair]))


# -- text --------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", [VALUE, "two words", "it's", 'say "x"', "ü", "back\\slash", "*", "a.b(c"])
@pytest.mark.parametrize("quote", [str, shlex.quote, json.dumps, lambda text: json.dumps(text, ensure_ascii=False)])
def test_cli_is_blanked_however_the_secret_is_quoted(secret: str, quote: Any):
    text = redact_text(f"-p {quote(secret)} --name x", [Secret(secret)])
    assert text in (f"-p {BLANK} --name x", f'-p "{BLANK}" --name x', f"-p '{BLANK}' --name x")


def test_a_secret_within_a_secret_leaves_no_remainder():
    assert redact_text("abc ab", ["ab", "abc"]) == f"{BLANK} {BLANK}"


def test_nothing_to_blank():
    assert redact_text("x '' y", []) == redact_text("x '' y", [""]) == "x '' y"


def test_two_quotes_are_a_secret_like_any_other():
    assert redact_text("--password '' here", ["''"]) == f"--password {BLANK} here"


def test_the_light_client_can_use_it():
    code = "import sys, ctld.secret; assert not {'msgspec', 'asyncio', 'orjson'} & set(sys.modules), sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
