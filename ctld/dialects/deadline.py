"""A clock beside a conversation, which does not keep it alive."""

import asyncio
import contextlib
import socket
import weakref
from collections.abc import Callable

__all__ = ["call_later", "end_connection", "end_input"]


def call_later(seconds: float, method: Callable[[], None]) -> asyncio.TimerHandle:
    """Call a method later, if its object still lives then.

    A timer that kept it would let peers who come and go at once pile up conversations.
    """
    return asyncio.get_running_loop().call_later(seconds, _call, weakref.WeakMethod(method))


def _call(reference: "weakref.WeakMethod[Callable[[], None]]") -> None:
    method = reference()
    if method is not None:
        method()


def end_input(sock: socket.socket) -> None:
    """Let a socket's input end as if its peer had said so; one that is closed is no error."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RD)


def end_connection(sock: socket.socket) -> None:
    """Let both directions of a socket end, whatever waits in them; one that is closed is no error."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
