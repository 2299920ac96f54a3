"""A server to ask, and a client that speaks the native protocol by hand: bytes in, lines out."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import ctld
from ctld.limits import Limits

DEFAULT_LIMITS = Limits(stop_grace=5.0, cancel_grace=5.0, drain_timeout=5.0)


class RawClient:
    """One connection; nothing is done that the test does not say."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.banner: dict[str, Any] = {}

    @classmethod
    async def connect(cls, path: str, *, banner: bool = True) -> Self:
        reader, writer = await asyncio.open_unix_connection(path, limit=64 * 1024 * 1024)
        client = cls(reader, writer)
        if banner:
            client.banner = await client.receive()
        return client

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def send(self, *messages: Any) -> None:
        self.write(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    async def receive(self) -> dict[str, Any]:
        line = await self.reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError(f"the server closed after {line!r}")
        message: dict[str, Any] = json.loads(line)
        return message

    async def receive_all(self) -> list[dict[str, Any]]:
        """Everything up to the end of the connection."""
        return [json.loads(line) for line in (await self.reader.read()).splitlines()]

    async def ask(self, cmd: str, opts: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
        """Send a request without id and return its final message, dropping progress and items."""
        self.send({"cmd": cmd, "opts": opts or {}, **members})
        while True:
            message = await self.receive()
            if "progress" not in message and "item" not in message:
                return message

    async def at_end(self) -> bool:
        """Whether the server has closed its direction."""
        return await self.reader.read(1) == b""

    def stop_reading(self) -> None:
        self._transport.pause_reading()

    def go_on_reading(self) -> None:
        self._transport.resume_reading()

    @property
    def _transport(self) -> Any:
        return self.writer.transport

    def half_close(self) -> None:
        self.writer.write_eof()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()


class Served:
    """A running server and the way to it."""

    def __init__(self, server: ctld.Server[Any], path: str) -> None:
        self.server = server
        self.path = path
        self._clients: list[RawClient] = []

    async def connect(self, *, banner: bool = True) -> RawClient:
        client = await RawClient.connect(self.path, banner=banner)
        self._clients.append(client)
        return client

    async def close_clients(self) -> None:
        for client in self._clients:
            client.close()
            try:
                await client.writer.wait_closed()
            except OSError:
                continue  # reset on purpose
        self._clients.clear()


@asynccontextmanager
async def serving(
    directory: Path,
    commands: ctld.CommandRegistry[Any] | None = None,
    *,
    handler: type[ctld.ClientHandler[Any]] = ctld.ClientHandler,
    limits: Limits = DEFAULT_LIMITS,
    **options: Any,
) -> AsyncIterator[Served]:
    """Run a server on a UNIX socket in a directory, for one test."""
    path = str(directory / "s")
    server: ctld.Server[Any] = ctld.Server(
        handler, commands=commands, listen=[f"unix:{path}"], limits=limits, **options
    )
    async with server:
        served = Served(server, path)
        try:
            yield served
        finally:
            await served.close_clients()


async def until(condition: Any) -> None:
    """Give the loop turns until something holds; the test's own timeout bounds it."""
    while not condition():
        await asyncio.sleep(0.001)
