"""Asking a command monitor something from within a loop."""

import asyncio
import os

from ctld.dialects.guest_agent.paths import pipe_name
from ctld.dialects.guest_agent.statuses import Status, failure_body

__all__ = ["asend_command"]


async def asend_command(request: bytes, listener_or_path: int | str | os.PathLike[str], timeout: float = 10.0) -> bytes:
    """Do what `send_command()` does, without blocking the loop.

    Args:
        request: One JSON value.
        listener_or_path: A `KnownListener`, at its default path; or the path of a socket.
        timeout: Seconds for the whole exchange.
    """
    path = pipe_name(listener_or_path) if isinstance(listener_or_path, int) else os.fspath(listener_or_path)
    try:
        async with asyncio.timeout(timeout):
            return await _exchange(request, path)
    except (OSError, ValueError):  # TimeoutError is an OSError; ValueError: a NUL in the path
        return failure_body(Status.CONNECTION_ERROR)


async def _exchange(request: bytes, path: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(request)
        await writer.drain()
        answer = await reader.read(-1)
    finally:
        writer.transport.abort()
    return answer
