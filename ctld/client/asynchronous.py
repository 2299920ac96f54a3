"""The asynchronous client: many calls under way over one connection."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, overload

from ctld.address import Address, default_address, parse_address
from ctld.client.call import Call, ItemStream
from ctld.client.dialing import dial
from ctld.client.link import Link
from ctld.client.session import ClientSession, open_session
from ctld.client.subscription import EventStream, subscription_options
from ctld.client.wire import MAX_LINE, check_connectable
from ctld.errors import ConfigError, LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from ssl import SSLContext

    from ctld.wire.messages import Progress

__all__ = ["CLOSE_WAIT", "AsyncClient"]

# Seconds for the last bytes to leave when a client closes: a server that reads nothing
# must not hold up whoever is done with it.
CLOSE_WAIT: Final = 2.0

T = TypeVar("T")

_NOTHING: Mapping[str, object] = {}


class AsyncClient:
    """A connection to a daemon, for one event loop.

    Use it as `async with AsyncClient(...) as client:`.  Calls go out when they are made, not
    when they are awaited, so several are under way at once.  A call whose server went away
    ends with `ConnectionLost`; `connect()` makes a new connection.

    Args:
        address: `unix:PATH`, a path, `tcp:HOST:PORT` or `tls:HOST:PORT`; None: `CTLD_SOCKET`,
            else the default of this user.
        tls: For `tls:`; None: as `CTLD_TLS_CA`, `CTLD_TLS_CERT` and `CTLD_TLS_KEY` say.
        max_line: The longest message to take from the server, in bytes.

    Raises:
        ConfigError: The address is none that a client can connect to.
    """

    def __init__(
        self, address: str | Address | None = None, *, tls: SSLContext | None = None, max_line: int = MAX_LINE
    ) -> None:
        if address is None:
            address = default_address(os.environ, os.getuid())
        elif isinstance(address, str):
            address = parse_address(address)
        self.address = check_connectable(address)
        if self.address.kind == "ssh":
            raise ConfigError(f"{self.address} is for the blocking client")
        self._tls = tls
        self._max_line = max_line
        self._link: Link | None = None

    @property
    def banner(self) -> Mapping[str, Any] | None:
        """What the server said of itself; None while it has not, or if it says nothing."""
        return None if self._link is None else self._link.banner

    @property
    def protocol(self) -> int:
        """The version of the protocol that the server speaks; 0 while that is not known."""
        return 0 if self._link is None else self._link.protocol

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *exc: object) -> None:
        link = self._link
        self.close()
        if link is not None:
            await _gone(link)

    async def connect(self) -> None:
        """Connect, if there is no connection.

        Raises:
            ConnectFailed: It did not work; the message says what to do about it.
        """
        if self._link is None or self._link.over:
            self._link = await dial(self.address, lambda: Link(str(self.address), self._max_line), self._tls)

    def close(self) -> None:
        """Close the connection; calls under way end with `ConnectionLost`."""
        if self._link is not None:
            self._link.close()

    async def wait_closed(self) -> None:
        """Wait until the connection is over.

        Raises:
            ConnectionLost: It was not this side that closed it.
            RemoteProtocolError: It was, because of what the server sent.
        """
        if self._link is not None:
            await asyncio.shield(self._link.closed)
            if self._link.lost is not None:
                raise self._link.lost.with_traceback(None)

    @overload
    def call(
        self,
        command: str,
        opts: Mapping[str, object] = ...,
        /,
        *,
        result: type[T],
        deadline: float | None = None,
    ) -> Call[T]: ...
    @overload
    def call(
        self,
        command: str,
        opts: Mapping[str, object] = ...,
        /,
        *,
        deadline: float | None = None,
        detach: bool = False,
    ) -> Call[Any]: ...
    def call(
        self,
        command: str,
        opts: Mapping[str, object] = _NOTHING,
        /,
        *,
        result: type[Any] | None = None,
        deadline: float | None = None,
        detach: bool = False,
    ) -> Call[Any]:
        """Send a request, and return the call: await it for the result, iterate it for progress.

        Args:
            command: The name of the command.
            opts: Its options.
            result: The type to make of the result, by msgspec; None: as JSON has it.
            deadline: Seconds after which the server cancels it; a server that stays silent
                is given up a few seconds later.
            detach: Answer at once with `{"operation": ID}`, while the command goes on.

        Raises:
            LocalProtocolError: JSON cannot carry the options, or there is no connection.
        """
        exchange = self._connected().send(command, opts, stream=False, deadline=deadline, detach=detach)
        return Call(exchange, result)

    @overload
    def stream(
        self,
        command: str,
        opts: Mapping[str, object] = ...,
        /,
        *,
        result: type[T],
        deadline: float | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> ItemStream[T]: ...
    @overload
    def stream(
        self,
        command: str,
        opts: Mapping[str, object] = ...,
        /,
        *,
        deadline: float | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> ItemStream[Any]: ...
    def stream(
        self,
        command: str,
        opts: Mapping[str, object] = _NOTHING,
        /,
        *,
        result: type[Any] | None = None,
        deadline: float | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> ItemStream[Any]:
        """Send a request, and return the items of its result, to be iterated as they come.

        A list that comes whole, as version 1 sends it, is yielded item by item.

        Raises:
            LocalProtocolError: JSON cannot carry the options, or there is no connection.
        """
        exchange = self._connected().send(command, opts, stream=True, deadline=deadline, detach=False)
        return ItemStream(exchange, result, on_progress)

    def events(self, *types: str, opts: Mapping[str, object] | None = None, since: int | None = None) -> EventStream:
        """Subscribe to events: `async with client.events("state") as events: async for event in events: ...`.

        Other calls of this connection go on beside it, unless the server speaks version 1.

        Args:
            types: The wanted types; none: all of them.
            opts: For each key the value that an event must have, or a list of such values.
            since: The number of the last event that is known: what came after it is replayed.

        Raises:
            LocalProtocolError: JSON cannot carry the options, or there is no connection.
        """
        options = subscription_options(types, opts, since)
        return EventStream(
            self._connected().send("event_subscribe", options, stream=False, deadline=None, detach=False)
        )

    def session(
        self,
        command: str,
        opts: Mapping[str, object] = _NOTHING,
        /,
        *,
        tty: bool = False,
        rows: int | None = None,
        cols: int | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        on_disconnect: str | None = None,
    ) -> AbstractAsyncContextManager[ClientSession]:
        """Open a session: run a program on the other side, on a connection of its own.

        Leaving the block hangs the program up if it still runs, or leaves it, as
        `on_disconnect` says.

        Args:
            command: `exec`, `session_attach`, or another command that opens a session.
            opts: Its options.
            tty: Whether the program gets a terminal.
            rows: The height of the window.
            cols: Its width.
            env: Variables to add to the program's environment.
            cwd: The directory to start in.
            on_disconnect: What becomes of the program when the connection is gone: `hangup`,
                `detach` or `kill`.

        Raises:
            CommandFailed: It was refused.
            ConnectionFailed: There is no server, or it went away.
        """
        wanted = {"tty": tty, "rows": rows, "cols": cols, "env": env, "cwd": cwd, "on_disconnect": on_disconnect}
        return open_session(self.address, self._tls, self._max_line, command, opts, wanted)

    def _connected(self) -> Link:
        if self._link is None:
            raise LocalProtocolError("this client is not connected: use it in `async with`, or connect() first")
        return self._link


async def _gone(link: Link) -> None:
    try:
        async with asyncio.timeout(CLOSE_WAIT):
            await asyncio.shield(link.closed)
    except TimeoutError:
        link.abort()
        await link.closed
