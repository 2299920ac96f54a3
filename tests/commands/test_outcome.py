import logging

import pytest

from ctld.commands.outcome import failure_of, internal_error, only_failure
from ctld.errors import CommandFailed, Locked
from ctld.wire.messages import Failure

logger = logging.getLogger("ctld.test")


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (CommandFailed("no"), Failure("no", "failed", {})),
        (Locked("held", resource="ct1", since=1.5), Failure("held", "locked", {"resource": "ct1", "since": 1.5})),
        # N7: no failure without a message.
        (CommandFailed(""), Failure("failed", "failed", {})),
        (Locked(""), Failure("locked", "locked", {})),
        (CommandFailed(ValueError("x")), Failure("x", "failed", {})),
    ],
)
def test_an_error_is_its_message_slug_and_fields(error, failure):
    assert failure_of(error) == failure
    assert type(failure_of(error).message) is str


def test_an_internal_error_tells_the_peer_a_reference_and_the_log_everything(caplog):
    try:
        raise ValueError("/secret/path")
    except ValueError as exc:
        error = internal_error(logger, "doing something", exc)
    assert (error.message, error.code) == ("internal error", "internal")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == f"! internal error {error.fields['ref']}: doing something"
    assert "/secret/path" in caplog.text
    assert "Traceback" in caplog.text


def test_an_internal_error_without_an_exception(caplog):
    internal_error(logger, "a rule was broken", None)
    assert "Traceback" not in caplog.text
    assert "a rule was broken" in caplog.text


def test_references_are_not_guessed(caplog):
    assert len({internal_error(logger, "x", None).fields["ref"] for _ in range(100)}) == 100


def test_of_a_group_only_failures_are_an_answer():
    failure = CommandFailed("this")
    assert only_failure(ExceptionGroup("", [ExceptionGroup("", [failure])])) is failure
    assert only_failure(ExceptionGroup("", [failure, ValueError()])) is None
    assert only_failure(ValueError()) is None
