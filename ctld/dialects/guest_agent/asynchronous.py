"""Asking a command monitor something from within a loop."""

import asyncio
import os
from typing import Final

from ctld.dialects.guest_agent.client import MAX_ANSWER
from ctld.dialects.guest_agent.paths import pipe_name
from ctld.dialects.guest_agent.statuses import Status, failure_body

__all__ = ["asend_command"]

_CHUNK: Final = 64 * 1024


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
    except (
        OSError,
        ValueError,
    ):  # as in send_command(); TimeoutError is an OSError
        return failure_body(Status.CONNECTION_ERROR)


async def _exchange(request: bytes, path: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(request)
        await writer.drain()
        answer = bytearray()
        while part := await reader.read(_CHUNK):
            answer += part
            if len(answer) > MAX_ANSWER:
                raise ValueError("the answer is too long")
    finally:
        writer.transport.abort()
    return bytes(answer)
