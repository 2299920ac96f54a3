"""Blocking steps beside the loop, which nobody leaves half-way."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

__all__ = ["in_thread"]

T = TypeVar("T")


async def in_thread(
    function: Callable[[], T], *, stop: Callable[[], object] | None = None, undo: Callable[[T], object] | None = None
) -> T:
    """Run a blocking function in a thread, and return what it returns.

    Cancelling waits for its end: it uses descriptors that its caller is about to close.

    Args:
        function: What to run.
        stop: Is called at a cancellation, to have the function end early.
        undo: Gets the result that nobody wants after a cancellation.

    Raises:
        asyncio.CancelledError: This was cancelled meanwhile.
    """
    work = asyncio.get_running_loop().run_in_executor(None, function)
    cancelled = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as exc:
            cancelled = exc
            if stop is not None:
                stop()
    if cancelled is not None:
        if work.exception() is None and undo is not None:
            undo(work.result())
        raise cancelled
    return work.result()
