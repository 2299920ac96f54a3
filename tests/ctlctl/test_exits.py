"""ctlctl.exits: one status per kind of error."""

import inspect

import pytest

from ctlctl import exits
from ctlctl.exits import UsageError, status_of
from ctld import errors

STATUS = {
    "AddressInUse": 1,
    "BadRequest": 8,
    "BadSyntax": 8,
    "Busy": 4,
    "Cancelled": 6,
    "CommandFailed": 1,
    "ConfigError": 2,
    "ConnectFailed": 7,
    "ConnectionFailed": 7,
    "ConnectionLost": 7,
    "CtldError": 1,
    "DeadlineExceeded": 5,
    "Deadlock": 4,
    "Denied": 3,
    "InternalError": 1,
    "InvalidOptions": 2,
    "ListenFailed": 1,
    "LocalProtocolError": 8,
    "Locked": 4,
    "NotFound": 1,
    "ProtocolError": 8,
    "RegistrationError": 1,
    "RemoteProtocolError": 8,
    "ShuttingDown": 1,
    "TooLarge": 1,
    "UnknownCommand": 2,
}


def test_every_error_of_the_tree_has_its_status() -> None:
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert classes == set(STATUS)


@pytest.mark.parametrize("name", STATUS)
def test_status(name: str) -> None:
    error: errors.CtldError = getattr(errors, name)("message")
    assert status_of(error) == STATUS[name]


def test_usage_and_slugs_of_commands() -> None:
    assert status_of(UsageError("x")) == exits.USAGE == 2
    assert status_of(errors.error_from_wire("x", "vm.paused")) == exits.FAILED == 1
    assert status_of(errors.error_from_wire("x", "locked")) == exits.BUSY == 4
