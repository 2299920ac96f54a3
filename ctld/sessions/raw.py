"""Hijack: a connection's bytes for a command that speaks its own protocol (N5.4)."""

import asyncio
import socket
from typing import Final

from ctld.errors import LocalProtocolError
from ctld.stream import Stream

__all__ = ["Hijack"]

# What is read ahead of the command; above it the client has to wait.
_HIGH: Final = 256 * 1024


class Hijack:
    """A connection whose bytes are the command's own; made by `Context.hijack()`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._data = bytearray()
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._detached = False
        stream.give_to(self)

    async def receive(self, n: int = 65536) -> bytes:
        """Return what the client sent, at most `n` bytes; `b""` when it sends no more.

        Raises:
            LocalProtocolError: The connection was detached, or another task is receiving.
        """
        self._check()
        while not self._data and not self._ended:
            if self._waiter is not None:
                raise LocalProtocolError("another task is receiving from this connection")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
            self._check()
        data = bytes(self._data[:n])
        del self._data[:n]
        if len(self._data) < _HIGH and not self._ended:
            self._stream.resume()
        return data

    async def send(self, data: bytes) -> None:
        """Send, and wait until it is in the kernel's hands; a client that is gone is no error.

        Raises:
            LocalProtocolError: The connection was detached.
        """
        self._check()
        self._stream.write(data)
        await self._stream.flush()

    def detach(self) -> tuple[socket.socket, bytes]:
        """Return the plain socket, to hand it to a child; and what the client sent that was not received.

        The daemon's own end is closed: nothing relays, and nobody is told when the client leaves.

        Raises:
            LocalProtocolError: It was detached before.
            Cancelled: The client has gone.
        """
        self._check()
        sock, unread = self._stream.detach()
        self._detached = True
        data = bytes(self._data) + unread
        self._data.clear()
        self._wake()
        return sock, data

    def close(self) -> None:
        """Receive no more; what is left is dropped."""
        if not self._detached:
            self._stream.pause()
            self._detached = True
            self._wake()

    def _check(self) -> None:
        if self._detached:
            raise LocalProtocolError("this connection is no longer the command's")

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the connection calls.

    def on_data(self, data: bytes) -> None:
        """Keep what the client sent."""
        self._data += data
        if len(self._data) >= _HIGH:
            self._stream.pause()
        self._wake()

    def on_end(self) -> None:
        """The client sends no more."""
        self._ended = True
        self._wake()

    def on_gone(self) -> None:
        """The client is gone: what it sent before may still be received."""
        self._ended = True
        self._wake()

    def on_drained(self) -> None:
        """Nobody waits for this: sending waits for the kernel."""
