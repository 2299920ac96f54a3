"""Monitor: answers commands at a socket, for authors of agents.

There is one deadline for each connection, from its beginning: for the request, the handler
and the answer.  A handler that runs longer is not cancelled; nobody gets its answer.  After the
answer the connection is half-closed and read on, because a peer whose bytes lie unread when
the socket closes loses the answer.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ctld.acceptor import Acceptor
from ctld.dialects.guest_agent.connection import Connection
from ctld.dialects.guest_agent.socket_file import open_socket
from ctld.dialects.guest_agent.statuses import Status, failure_body

if TYPE_CHECKING:
    from ctld.endpoint import Endpoint

__all__ = ["MAX_CONNECTIONS", "MAX_REQUEST", "Handler", "Monitor"]

logger = logging.getLogger("ctld.guest_agent")

Handler: TypeAlias = Callable[[bytes], Awaitable[bytes]]
"""Takes the bytes of a request as they came, and returns those of the answer; an exception answers 105."""

# Requests are a few hundred bytes; the largest that is known carries a script.
MAX_REQUEST: Final = 1024 * 1024

MAX_CONNECTIONS: Final = 64


class Monitor:
    """Commands at a socket.

    It listens from `start()` to `close()`, while it has any handlers.

    Args:
        path: Where.
        timeout: Seconds for each connection; 0 or less: none is served.
        mode: The permission bits of the socket; by default, 0o770, its group may connect.
        group: The group of the socket, by name or number.
        strict_errors: Whether a peer is told (102, 104) what the original only lets it guess.
        max_request: The longest request that is taken, in bytes.
        max_connections: How many peers there may be at once.

    Attributes:
        path: Where it listens.
        timeout: Seconds for each connection.
        mode: The permission bits of the socket.
        group: The group of the socket.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        timeout: float = 10.0,
        mode: int = 0o770,
        group: str | int | None = None,
        strict_errors: bool = False,
        max_request: int = MAX_REQUEST,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.path = os.fspath(path)
        self.timeout = timeout
        self.mode = mode
        self.group = group
        self._strict_errors = strict_errors
        self._max_request = max_request
        self._max_connections = max_connections
        self._handlers: dict[str, Handler] = {}
        self._started = False
        self._endpoint: Endpoint | None = None
        self._acceptor: Acceptor | None = None
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def listening(self) -> bool:
        """Whether peers can connect."""
        return self._endpoint is not None

    @property
    def started(self) -> bool:
        """Whether it listens while it has handlers."""
        return self._started

    def handles(self, name: str) -> bool:
        """Whether a command has a handler."""
        return name in self._handlers

    def register(self, name: str, handler: Handler) -> None:
        """Have a command answered by a handler; also from within one.

        Raises:
            ValueError: The command has a handler.
            ListenFailed: It is the first one, and the socket cannot be made; then it is not registered.
        """
        if name in self._handlers:
            raise ValueError(f"cmd {name} is already handled")
        self._handlers[name] = handler
        try:
            self._listen_if_needed()
        except BaseException:
            del self._handlers[name]
            raise

    def unregister(self, name: str) -> None:
        """Answer a command no longer; calls that run are not waited for.

        Raises:
            ValueError: The command has no handler.
        """
        if name not in self._handlers:
            raise ValueError(f"cmd {name} is not registered")
        del self._handlers[name]
        if not self._handlers:
            self._stop_listening()

    async def start(self) -> None:
        """Listen, as soon as there are handlers.

        Raises:
            AddressInUse: Somebody else listens there.
            ListenFailed: The socket cannot be made.
        """
        self._started = True
        try:
            self._listen_if_needed()
        except BaseException:
            self._started = False
            raise

    def close(self) -> None:
        """Stop listening; handlers that run end, and still answer.  Once or more often."""
        self._started = False
        self._stop_listening()
        for connection in list(self._connections):
            connection.stop()

    async def wait_closed(self) -> None:
        """Wait until the last handler has ended and the last peer has gone."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _listen_if_needed(self) -> None:
        if not self._started or not self._handlers or self.listening:
            return
        self._endpoint = open_socket(self.path, self.mode, self.group)
        loop = asyncio.get_running_loop()
        self._acceptor = Acceptor(loop, self._endpoint, self._accept, self._on_exhausted)

    def _stop_listening(self) -> None:
        acceptor, self._acceptor = self._acceptor, None
        endpoint, self._endpoint = self._endpoint, None
        if acceptor is not None:
            acceptor.stop()
        if endpoint is not None:
            endpoint.close()

    def _accept(self, sock: socket.socket) -> None:
        if len(self._connections) >= self._max_connections:
            logger.warning("! a peer is turned away: there are %d", len(self._connections))
            sock.close()
            return
        connection = Connection(
            self._dispatch, timeout=self.timeout, strict_errors=self._strict_errors, max_request=self._max_request
        )
        self._connections.add(connection)
        self._spawn(self._serve(connection, sock))

    async def _serve(self, connection: Connection, sock: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, sock)
            await connection.wait_closed()
        except OSError as exc:
            sock.close()
            connection.connection_lost(exc)
            logger.info("! a peer is lost: %s", exc)
        finally:
            self._connections.discard(connection)

    def _dispatch(self, name: str, request: bytes, answer: Callable[[bytes], None]) -> None:
        """Have a request answered by its handler, as it is now."""
        handler = self._handlers.get(name)
        if handler is None:
            answer(failure_body(Status.COMMAND_NOT_FOUND))
        else:
            self._spawn(self._handle(name, handler, request, answer))

    async def _handle(self, name: str, handler: Handler, request: bytes, answer: Callable[[bytes], None]) -> None:
        body = failure_body(Status.INTERNAL_ERROR)
        try:
            body = bytes(await handler(request))
        except Exception as exc:  # noqa: BLE001 - the boundary: a handler's author may raise anything, and the peer is told
            logger.info("! %r failed: %s", name[:200], exc)
            body = failure_body(Status.HANDLER_ERROR, str(exc))
        finally:
            answer(body)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_exhausted(self, exhausted: bool) -> None:
        logger.warning("! %s: file descriptors", "out of" if exhausted else "again enough")
