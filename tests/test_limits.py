import inspect

import msgspec
import pytest

from ctld.limits import Limits

MIB = 1024 * 1024

# The numbers of the protocol's specification (N2), by hand: a changed default is a changed promise.
SPECIFIED = {
    "max_line": 16 * MIB,
    "max_queued_per_connection": 32 * MIB,
    "max_queued": 256 * MIB,
    "high_water": 256 * 1024,
    "max_in_flight": 64,
    "max_connections": 1024,
    "idle_timeout": 0,
    "write_timeout": 60,
    "handshake_timeout": 10,
    "result_retention": 15 * 60,
}


def test_n2_the_defaults_are_what_the_specification_says():
    assert {name: getattr(Limits(), name) for name in SPECIFIED} == SPECIFIED


def test_every_bound_tells_its_reason():
    for name in Limits.__struct_fields__:
        assert f"\n    {name}: " in inspect.getdoc(Limits), name


@pytest.mark.parametrize("name", Limits.__struct_fields__)
def test_every_bound_is_configurable_and_none_can_be_senseless(name):
    fine = 64 * MIB if name.startswith("max_queued") else 5
    assert getattr(msgspec.convert({name: fine}, Limits), name) == fine
    for senseless in (-1, "5", None, True, float("nan") if name.endswith(("timeout", "grace")) else -5):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({name: senseless}, Limits)
    if name in ("idle_timeout", "stop_grace", "session_grace"):
        assert getattr(msgspec.convert({name: 0}, Limits), name) == 0
    else:
        with pytest.raises(msgspec.ValidationError, match=name):
            msgspec.convert({name: 0}, Limits)


def test_unknown_bounds_are_refused():
    with pytest.raises(msgspec.ValidationError, match="max_lines"):
        msgspec.convert({"max_lines": 5}, Limits)


def test_bounds_are_frozen():
    with pytest.raises(AttributeError):
        Limits().max_line = 5


def test_a_line_that_could_never_become_complete():
    Limits(max_line=1000, max_queued_per_connection=1000)
    with pytest.raises(ValueError, match="max_queued_per_connection"):
        Limits(max_line=1001, max_queued_per_connection=1000)
    with pytest.raises(msgspec.ValidationError, match="max_line"):
        msgspec.convert({"max_line": 64 * MIB}, Limits)
