"""A daemon for the length of a test: a real server on a real socket, and a client of it."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from typing_extensions import TypeVar

from ctld.client.asynchronous import AsyncClient
from ctld.client_handler import ClientHandler
from ctld.commands.registry import CommandRegistry
from ctld.limits import Limits
from ctld.peer import Peer
from ctld.server import Server

__all__ = ["serving"]

A = TypeVar("A", default=Any)


@asynccontextmanager
async def serving(
    commands: CommandRegistry[A] | None = None,
    *,
    app: A = None,  # type: ignore[assignment]  # without an app, A is Any
    handler: type[ClientHandler[A]] = ClientHandler,
    peer: Peer | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[AsyncClient]:
    """Serve commands while the block runs, and give a client that is connected.

    The socket lies in a folder of its own, which disappears with the server.  More clients
    connect to `client.address`.

    Args:
        commands: The commands; the built-in ones come with them.
        app: What they find as `ctx.app`.
        handler: The class of the conversations.
        peer: Who every client is taken for, after the handler's `on_connect()`; by default
            whoever runs the test.
        limits: The bounds on what clients can make the server hold.
    """
    with tempfile.TemporaryDirectory(prefix="ctld-") as folder:
        address = f"unix:{Path(folder, 'test.sock')}"
        server: Server[A] = Server(
            handler if peer is None else _taking_everybody_for(peer, handler),
            commands=commands,
            app=app,
            listen=[address],
            limits=Limits() if limits is None else limits,
        )
        async with server, AsyncClient(address) as client:
            yield client


def _taking_everybody_for(peer: Peer, handler: type[ClientHandler[A]]) -> type[ClientHandler[A]]:
    class Handler(handler):  # type: ignore[misc, valid-type]  # a base that is only known at run time
        async def on_connect(self) -> None:
            """Let the author's handler look first, then say who it is."""
            await super().on_connect()
            self.peer = peer

    return Handler
