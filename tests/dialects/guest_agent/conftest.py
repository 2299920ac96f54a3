"""A monitor on a short path, and peers that behave as badly as they like."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ctld.dialects.guest_agent import Monitor


@pytest.fixture
def path() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="ga-") as folder:
        yield str(Path(folder, "agent"))


@pytest.fixture
def monitoring(path: str) -> Callable[..., Any]:
    @asynccontextmanager
    async def monitoring(**options: Any) -> AsyncIterator[Monitor]:
        monitor = Monitor(path, **options)

        async def ok(request: bytes) -> bytes:
            return b'{"Status":0,"StatusMessage":"OK"}'

        async def echo(request: bytes) -> bytes:
            return request

        monitor.register("ok", ok)
        monitor.register("echo", echo)
        await monitor.start()
        try:
            yield monitor
        finally:
            monitor.close()
            await monitor.wait_closed()

    return monitoring


class RawPeer:
    """A peer that sends bytes as it is told, and reads to the end."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._loop = asyncio.get_running_loop()

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            await self._loop.sock_sendall(self.sock, piece)

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    async def read(self) -> bytes:
        parts = []
        while part := await self._loop.sock_recv(self.sock, 65536):
            parts.append(part)
        return b"".join(parts)


@pytest.fixture
def peer(path: str) -> Callable[[], Any]:
    @asynccontextmanager
    async def peer() -> AsyncIterator[RawPeer]:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, path)
            yield RawPeer(sock)

    return peer
