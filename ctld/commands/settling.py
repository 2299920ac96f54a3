"""Taking back a cancellation that was meant for a request, not for the task that serves it."""

import asyncio
import logging
import sys
from typing import Any, Final

__all__ = ["settle"]

logger = logging.getLogger("ctld.commands")

# Before 3.13 a `TaskGroup` with a failing child leaves its cancellation of the task behind.  The
# next wish to cancel would then look like two, one of them somebody else's.
_GROUPS_LEAVE_CANCELS: Final = sys.version_info < (3, 13)


async def settle(task: asyncio.Task[Any], *, interrupted: bool) -> None:
    """Take back the cancellation of an operation, so that the task can go on.

    A command may have ended between the wish and its delivery; then it is delivered here.

    Raises:
        asyncio.CancelledError: Somebody else has cancelled the task as well.
    """
    if not interrupted:
        # What somebody else wished for is still delivered: this forgets only that it was counted.
        while _GROUPS_LEAVE_CANCELS and task.uncancel():
            continue
        return
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        logger.debug("a cancelled command had ended before it learned of it")
    if task.uncancel() > 0:
        raise asyncio.CancelledError
