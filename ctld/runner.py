"""`ctld.run()`: a daemon's `main()` on uvloop, and errors that people can read."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

from ctld.errors import CtldError

__all__ = ["run"]

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a daemon to its end on a new uvloop event loop.

    A `CtldError` or `OSError` that comes out of it is one line on standard error and exit
    status 1, because it tells an operator what to do; anything else is a defect and keeps
    its traceback.

    Args:
        main: What to run.

    Returns:
        What it returns.

    Raises:
        SystemExit: It failed with such an error.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main)
    except (CtldError, OSError) as exc:
        sys.stderr.write(f"{' '.join(str(exc).split()) or type(exc).__name__}\n")
        raise SystemExit(1) from exc
