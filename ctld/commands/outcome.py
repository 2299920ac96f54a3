"""From exceptions to the final message of a request: the one place that decides it."""

import errno
import logging
import secrets
from typing import Final

from ctld.errors import Busy, CommandFailed, InternalError
from ctld.wire.messages import Failure

__all__ = ["failure_of", "internal_error", "only_failure"]

# What no command can foresee at each file that it opens, and what passes.  Memory is not among
# them: an OSError without it as often means an argument that no memory would be enough for.
_WITHOUT_DESCRIPTORS: Final = {
    errno.EMFILE: "the daemon is out of file descriptors",
    errno.ENFILE: "the system is out of file descriptors",
}


def failure_of(error: CommandFailed) -> Failure:
    """Return the final message that an error of the tree stands for (native protocol, N3).

    Its message is a text and says something, whatever the author of a command passed; a
    class of the author's may even have forgotten the constructor of its base.
    """
    message = getattr(error, "message", None)
    text = str(error) if message is None else str(message)
    return Failure(text or error.code, error.code, getattr(error, "fields", {}))


def internal_error(logger: logging.Logger, what: str, exception: BaseException | None) -> CommandFailed:
    """Log an unexpected exception with its traceback, and return what the peer may know of it.

    Args:
        logger: Where the traceback goes.
        what: What was being done.
        exception: The exception; None where a rule was broken without one.

    Returns:
        An `InternalError`; or `Busy`, if there was just no file descriptor left.
    """
    shortage = _shortage(exception)
    if shortage:
        logger.error("! %s: %s", shortage, what, exc_info=exception)
        return Busy(f"{shortage}: try again later")
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
    first = _first(failures)
    return first if isinstance(first, CommandFailed) else None


def _shortage(exception: BaseException | None) -> str:
    """Return what there is too little of, if that is what an exception says; in a group, beside failures alone."""
    if isinstance(exception, BaseExceptionGroup):
        others = exception.split(CommandFailed)[1]
        lacking, others = (None, None) if others is None else others.split(_lacks_descriptors)
        return "" if lacking is None or others is not None else _shortage(_first(lacking))
    return _WITHOUT_DESCRIPTORS.get(exception.errno or 0, "") if isinstance(exception, OSError) else ""


def _lacks_descriptors(exception: BaseException) -> bool:
    return isinstance(exception, OSError) and exception.errno in _WITHOUT_DESCRIPTORS


def _first(exception: BaseException) -> BaseException:
    """Return the first exception that is in a group, however deep."""
    while isinstance(exception, BaseExceptionGroup):
        exception = exception.exceptions[0]
    return exception
