"""The exception tree: whose fault, which slug, what data (native protocol, N3)."""

import ast
import copy
import inspect
import pickle

import pytest

from ctld import errors
from ctld.errors import (
    CommandFailed,
    ConfigError,
    ConnectionFailed,
    CtldError,
    Denied,
    Locked,
    NotFound,
    ProtocolError,
    RegistrationError,
    error_from_wire,
)

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value)]
FAILURES = [cls for cls in CLASSES if issubclass(cls, CommandFailed)]

# The list of the specification, by hand.
SLUGS = {
    "syntax", "bad-request", "too-large", "unknown-command", "invalid-options", "denied", "not-found", "locked",
    "deadlock", "deadline", "cancelled", "busy", "failed", "shutting-down", "internal",
}  # fmt: skip


def test_n3_every_slug_has_its_class():
    assert {cls.code for cls in FAILURES} == SLUGS
    assert len(FAILURES) == len(SLUGS)


@pytest.mark.parametrize("cls", CLASSES)
def test_everything_is_one_tree(cls):
    assert issubclass(cls, CtldError)
    assert cls.__name__ in errors.__all__
    assert cls.__doc__
    assert cls.code
    if cls is not CtldError:
        branches = (CommandFailed, ProtocolError, ConnectionFailed, ConfigError, RegistrationError, errors.ListenFailed)
        assert sum(issubclass(cls, branch) for branch in branches) == 1


def test_the_module_imports_nothing():
    tree = ast.parse(inspect.getsource(errors))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


@pytest.mark.parametrize("cls", FAILURES)
def test_a_failure_is_its_message_and_its_fields(cls):
    error = cls("no such thing", kind="vm", name="a")
    assert str(error) == error.message == "no such thing"
    assert error.args == ("no such thing",)
    assert error.fields == {"kind": "vm", "name": "a"}
    assert cls("x").fields == {}


class Paused(CommandFailed):
    code = "vm.paused"


@pytest.mark.parametrize("cls", [*FAILURES, Paused])
def test_failures_survive_copying_and_pickling(cls):
    error = cls("no", resource="ct1", cycle=("a", "b"))
    error.code = "own"
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is cls
        assert (twin.message, str(twin), twin.fields, twin.code) == ("no", "no", error.fields, "own")


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if not issubclass(cls, CommandFailed)])
def test_other_errors_survive_pickling(cls):
    twin = pickle.loads(pickle.dumps(cls("said")))
    assert type(twin) is cls
    assert str(twin) == "said"


def test_an_authors_slug():
    assert Paused("it is paused").code == "vm.paused"
    assert CommandFailed.code == "failed"


@pytest.mark.parametrize("cls", FAILURES)
def test_an_error_from_the_wire_is_of_the_class_of_its_slug(cls):
    fields = {"a": [1]}
    error = error_from_wire("no", cls.code, fields)
    assert type(error) is cls
    assert (error.message, error.code, error.fields) == ("no", cls.code, {"a": [1]})
    fields["a"] = 2
    assert error.fields == {"a": [1]}
    assert error_from_wire("no", cls.code).fields == {}


def test_a_slug_of_somebodys_own_from_the_wire():
    error = error_from_wire("it is paused", "vm.paused", {"vm": "a"})
    assert type(error) is CommandFailed
    assert error.code == "vm.paused"
    assert CommandFailed.code == "failed"


def test_version_1_sends_a_message_alone():
    error = error_from_wire("no")
    assert (type(error), error.message, error.code, error.fields) == (CommandFailed, "no", "failed", {})


@pytest.mark.parametrize(
    "fields", [{"message": "x", "self": 1, "code": "y", "fields": 2}, {"": 0, "not an identifier": 1}]
)
def test_fields_from_the_wire_have_any_name(fields):
    error = error_from_wire("no", "denied", fields)
    assert type(error) is Denied
    assert (error.message, error.code, error.fields) == ("no", "denied", fields)


def test_one_class_catches_one_slug():
    with pytest.raises(Locked):
        raise error_from_wire("held", "locked")
    assert not isinstance(error_from_wire("held", "locked"), NotFound)
