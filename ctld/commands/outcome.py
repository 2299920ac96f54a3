"""From exceptions to the final message of a request: the one place that decides it."""

import logging
import secrets

from ctld.errors import CommandFailed, InternalError
from ctld.wire.messages import Failure

__all__ = ["failure_of", "internal_error", "only_failure"]


def failure_of(error: CommandFailed) -> Failure:
    """Return the final message that an error of the tree stands for (native protocol, N3).

    Its message is a text and says something, whatever the author of a command passed; a
    class of the author's may even have forgotten the constructor of its base.
    """
    message = getattr(error, "message", None)
    text = str(error) if message is None else str(message)
    return Failure(text or error.code, error.code, getattr(error, "fields", {}))


def internal_error(logger: logging.Logger, what: str, exception: BaseException | None) -> InternalError:
    """Log an unexpected exception with its traceback, and return what the peer may know of it.

    Args:
        logger: Where the traceback goes.
        what: What was being done.
        exception: The exception; None where a rule was broken without one.
    """
    reference = secrets.token_hex(4)
    logger.error("! internal error %s: %s", reference, what, exc_info=exception)
    return InternalError("internal error", ref=reference)


def only_failure(exception: BaseException) -> CommandFailed | None:
    """Return the failure inside of an exception group that holds no other kind of error."""
    if not isinstance(exception, ExceptionGroup):
        return None
    failures, others = exception.split(CommandFailed)
    if others is not None or failures is None:
        return None
    first: BaseException = failures
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, CommandFailed) else None
