from typing import get_args

import msgspec
import pytest

from ctld.errors import InvalidOptions
from ctld.wire import messages
from ctld.wire.messages import Banner, Cancel, Failure, Incoming, Outgoing, Reply, Request, as_mapping


def test_options_as_a_mapping():
    assert as_mapping({"a": 1}) == {"a": 1}
    assert as_mapping(msgspec.Raw(b'{"a": 1, "b": [null]}')) == {"a": 1, "b": [None]}
    assert Request("x").opts == {}
    assert Request("x", msgspec.Raw(b"{}")).opts == {}
    assert Request("x", {"a": 1}).opts == {"a": 1}


@pytest.mark.parametrize("text", [b'{"a": 1e400}', b"[]", b"nothing"])
def test_options_that_cannot_be_decoded_are_the_callers_mistake(text):
    with pytest.raises(InvalidOptions) as refused:
        _ = Request("x", msgspec.Raw(text)).opts
    assert refused.value.fields == {"path": "$"}


def test_options_that_are_nested_as_deeply_as_the_stack():
    deep = b'{"a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    with pytest.raises(InvalidOptions):
        as_mapping(msgspec.Raw(deep))


def test_a_request_with_other_options():
    request = Request("x", msgspec.Raw(b"{}"), 7, 1.5, True, True, {"tty": True})
    other = request.with_opts({"a": 1})
    assert other == Request("x", {"a": 1}, 7, 1.5, True, True, {"tty": True})
    assert request.opts == {}


EVERY = sorted({*get_args(Incoming), *get_args(Outgoing)}, key=lambda message: message.__name__)


def make(kind):
    required = len(kind.__struct_fields__) - len(kind.__struct_defaults__)
    return kind(*["x"] * required)


@pytest.mark.parametrize("kind", EVERY)
def test_messages_are_frozen_values(kind):
    message = make(kind)
    with pytest.raises(AttributeError):
        setattr(message, kind.__struct_fields__[0], None)
    assert message == make(kind) == msgspec.structs.replace(message)
    # One is made for every message; but an operation keeps its reply, and that may be a part of a circle.
    assert kind.__struct_config__.gc is (kind is messages.Reply)


def test_every_message_goes_one_way():
    structs = {
        value for value in vars(messages).values() if isinstance(value, type) and issubclass(value, msgspec.Struct)
    }
    assert structs - {msgspec.Struct} == set(EVERY)
    assert not set(get_args(Incoming)) & set(get_args(Outgoing))


def test_defaults_are_version_1():
    assert Banner("1") == Banner("1", protocol=1, features=(), max_line=0, server="")
    assert (Failure("no").code, Failure("no").fields) == ("failed", {})
    assert Reply().response is None
    assert Cancel().id is None
