import asyncio
import errno
import logging
import os
import resource
from contextlib import contextmanager

import pytest

import ctld
from ctld.commands.outcome import failure_of, internal_error, only_failure
from ctld.errors import Busy, CommandFailed, InternalError, Locked, NotFound
from ctld.wire.messages import Failure
from tests.native import serving

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


def os_error(number):
    return OSError(number, os.strerror(number), "/secret/path")


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EMFILE, "the daemon is out of file descriptors: try again later"),
        (errno.ENFILE, "the system is out of file descriptors: try again later"),
    ],
)
@pytest.mark.parametrize(
    "wrapped",
    [
        lambda error: error,
        lambda error: ExceptionGroup("", [error]),
        lambda error: ExceptionGroup("", [ExceptionGroup("", [error, error])]),
        lambda error: ExceptionGroup("", [NotFound("no such file"), error]),
        lambda error: ExceptionGroup("", [ExceptionGroup("", [NotFound("no such file")]), error]),
    ],
)
def test_n3_whoever_finds_no_descriptor_is_told_to_try_again(number, message, wrapped, caplog):
    exception = wrapped(os_error(number))
    assert only_failure(exception) is None
    error = internal_error(logger, "doing something", exception)
    assert (type(error), failure_of(error)) == (Busy, Failure(message, "busy", {}))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == f"! {message.partition(':')[0]}: doing something"
    assert "/secret/path" in caplog.text  # the traceback tells where


@pytest.mark.parametrize(
    "exception",
    [
        os_error(errno.ENOMEM),
        os_error(errno.ENOSPC),
        OSError("neither number nor text"),
        MemoryError(),
        ExceptionGroup("", [os_error(errno.EMFILE), ValueError()]),
        ExceptionGroup("", [ExceptionGroup("", [NotFound("no such file"), ValueError()]), os_error(errno.EMFILE)]),
        BaseExceptionGroup("", [os_error(errno.EMFILE), SystemExit()]),
    ],
)
def test_whatever_else_goes_wrong_is_internal(exception, caplog):
    error = internal_error(logger, "doing something", exception)
    assert (type(error), error.message) == (InternalError, "internal error")
    assert len(caplog.records) == 1


@contextmanager
def exhausted():
    """Leave this process no descriptor: the one that it gets is the lowest free one, and the limit comes after it."""
    last = os.open(os.devnull, os.O_RDONLY)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (last + 1, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        os.close(last)


async def test_n3_a_command_without_descriptors_is_busy_and_the_next_one_is_served(tmp_path, caplog):
    commands = ctld.CommandRegistry()

    @commands.command("look", role="anyone")
    async def look(ctx: ctld.Context, full: bool, grouped: bool = False) -> str:
        """Open a file."""

        async def peek() -> str:
            with open(os.devnull) as file:
                return file.name

        if not full:
            return await peek()
        with exhausted():
            if not grouped:
                return await peek()
            async with asyncio.TaskGroup() as group:
                group.create_task(peek())
            raise AssertionError("the group has not failed")

    busy = {"status": False, "message": "the daemon is out of file descriptors: try again later", "code": "busy"}
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        for grouped in (False, True):
            assert await client.ask("look", {"full": True, "grouped": grouped}) == busy
            assert [record.levelname for record in caplog.records if record.name == "ctld.commands"] == ["ERROR"]
            caplog.clear()
            assert (await client.ask("look", {"full": False}))["response"] == os.devnull
