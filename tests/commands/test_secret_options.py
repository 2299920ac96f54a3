"""Secrets among options: decoded into `Secret`, marked in the schema, and never repeated."""

import inspect
import json
import traceback
from typing import Annotated, Literal, get_type_hints

import msgspec
import pytest

from ctld.commands.options import OptionSet
from ctld.errors import InvalidOptions, RegistrationError
from ctld.secret import SECRET_SCHEMA, Secret
from ctld.wire.jsontext import encode

SPY = "hunter2-%$'\""


def options_of(function) -> OptionSet:
    parameters = list(inspect.signature(function).parameters.values())
    return OptionSet(parameters, get_type_hints(function, include_extras=True))


def passwd(password: Secret, old: Secret | None = None, more: list[Secret] = [], mode: Literal["a", "b"] = "a"): ...  # noqa: B006 - a list as a default is what is tested


def with_default(password: Secret = Secret("letmein")): ...  # noqa: B008 - likewise


def received(option_set, options):
    return option_set.decode(options).call(lambda context, *args: args, None)


@pytest.mark.parametrize("wrap", [lambda options: msgspec.Raw(json.dumps(options).encode()), lambda options: options])
def test_a_secret_arrives_wrapped(wrap):
    password, old, more, mode = received(options_of(passwd), wrap({"password": SPY, "old": SPY, "more": [SPY, "x"]}))
    assert password == old == more[0] == Secret(SPY)
    assert SPY not in repr((password, old, more, mode))


def test_a_default_is_used_and_not_shown():
    option_set = options_of(with_default)
    assert received(option_set, {}) == (Secret("letmein"),)
    assert received(option_set, msgspec.Raw(b"{}")) == (Secret("letmein"),)
    assert option_set.schema["properties"]["password"] == SECRET_SCHEMA
    assert option_set.schema["required"] == []


def test_the_schema_marks_it_and_the_set_knows():
    assert options_of(passwd).schema["properties"]["password"] == SECRET_SCHEMA
    assert options_of(passwd).has_secrets
    assert not options_of(lambda: None).has_secrets


@pytest.mark.parametrize(
    "options",
    [
        {"password": [SPY]},
        {"password": {"is": SPY}},
        {"password": "x", "old": [SPY]},
        {"password": "x", "more": SPY},
        {"password": "x", "more": ["a", {"b": SPY}]},
        {"password": "x", "mode": SPY},
    ],
)
def test_no_error_repeats_a_value(options):
    for given in (options, msgspec.Raw(json.dumps(options).encode())):
        with pytest.raises(InvalidOptions) as caught:
            options_of(passwd).decode(given)
        error = caught.value
        assert SPY not in error.message + repr(error.fields)
        assert error.fields["path"].startswith("$.")


def test_other_commands_say_which_value_was_wrong():
    def plain(mode: Literal["a", "b"]): ...

    with pytest.raises(InvalidOptions, match="invalid enum value 'c'"):
        options_of(plain).decode({"mode": "c"})


def test_what_the_wire_carries_is_blank():
    class Login(msgspec.Struct):
        user: str
        password: Secret

    for value in (Secret(SPY), {"a": [Secret(SPY)]}, Login("u", Secret(SPY)), (Secret(SPY), float("inf"), 10**30)):
        assert SPY.encode() not in encode(value)
        assert b'"***"' in encode(value)


def test_only_the_commands_own_options_are_declared():
    given = {"password": "x", "cli": "ctlctl", "progress": False, "manipulation_lock": "wait", "else": 1}
    assert options_of(passwd).declared(given) == {"password": "x", "else": 1}


def test_a_bound_on_a_secret_is_a_mistake_of_the_author():
    def short(password: Annotated[Secret, msgspec.Meta(min_length=3)]): ...

    with pytest.raises(RegistrationError, match="min_length"):
        options_of(short)


def test_a_traceback_of_a_refusal_is_silent_too():
    with pytest.raises(InvalidOptions) as caught:
        options_of(passwd).decode({"password": [SPY]})
    assert SPY not in "".join(traceback.format_exception(caught.value))
