"""Asking a command monitor something, without asyncio."""

import os
import socket
import time
from typing import Final

from ctld.dialects.guest_agent.paths import DEFAULT_DIRECTORY, KnownListener, pipe_name
from ctld.dialects.guest_agent.requests import understand
from ctld.dialects.guest_agent.statuses import Status, failure_body

__all__ = ["DEFAULT_DIRECTORY", "MAX_ANSWER", "KnownListener", "is_request", "pipe_name", "send_command"]

_CHUNK: Final = 64 * 1024

MAX_ANSWER: Final = 64 * 1024 * 1024
"""The longest answer that is held; one without an end is as good as none."""


def is_request(data: bytes) -> bool:
    """Whether a monitor would take these bytes for a request; `send_command()` does not ask."""
    return understand(data) is not None


def send_command(request: bytes, listener_or_path: int | str | os.PathLike[str], timeout: float = 10.0) -> bytes:
    """Send a request and return the answer, whatever the bytes of either are.

    Like the original, this raises nothing for what goes wrong on the way: whatever that is,
    the answer is the one with status 103, and nobody can tell it from a monitor's own.

    Args:
        request: One JSON value.
        listener_or_path: A `KnownListener`, at its default path; or the path of a socket.
        timeout: Seconds for the whole exchange, from the moment that the connection is made.
    """
    path = pipe_name(listener_or_path) if isinstance(listener_or_path, int) else listener_or_path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(max(timeout, 0.0))
            sock.connect(os.fspath(path))
            return _exchange(sock, request, time.monotonic() + timeout)
    except (OSError, ValueError):  # ValueError: a NUL in the path, or an answer without an end
        return failure_body(Status.CONNECTION_ERROR)


def _exchange(sock: socket.socket, request: bytes, deadline: float) -> bytes:
    sock.settimeout(_left(deadline))
    sock.sendall(request)
    parts: list[bytes] = []
    room = MAX_ANSWER
    while True:
        sock.settimeout(_left(deadline))
        part = sock.recv(_CHUNK)
        if not part:
            return b"".join(parts)
        parts.append(part)
        room -= len(part)
        if room < 0:
            raise ValueError("the answer is too long")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
