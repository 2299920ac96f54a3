"""Sessions of the asynchronous client: a program on the other side, with its streams and its end.

Each session has a connection of its own, so that its bytes hold up no call, and a call no
session.  Closing that connection hangs the program up, unless the session was made to detach.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from ctld.client.dialing import dial
from ctld.client.session_core import STDERR, STDOUT, Output, SessionCore, session_member
from ctld.client.wire import encode_request
from ctld.errors import ConnectionLost, CtldError, TooLarge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping
    from ssl import SSLContext

    from ctld.address import Address

__all__ = ["ClientSession", "open_session"]

# Output that waits for its reader; above it nothing is read, so that the program has to wait.
_HIGH: Final = 1024 * 1024

# Output at which a session is given up: somebody waits for one stream, or for the end, and the
# other stream, which nobody reads, has filled the memory.
_MAX_HELD: Final = 64 * 1024 * 1024

# Keep-alive (N5): who has said nothing for so long pings; who is silent for so long is dead.
_PING_AFTER: Final = 15.0
_DEAD_AFTER: Final = 45.0


class ClientSession:
    """A program that runs on the other side.

    Read `stdout` and `stderr`, or `output()` for both in the order in which they came; type by
    `write()`; await `exit_status`.  When the connection is lost before the program's end, all
    of them raise `ConnectionLost`: what was read is never taken for the whole.

    Attributes:
        id: The session's id.
    """

    def __init__(self, protocol: _SessionProtocol) -> None:
        self._protocol = protocol

    @property
    def id(self) -> str:
        """The session's id, by which other clients find it."""
        return self._protocol.core.id

    @property
    def stdout(self) -> AsyncIterator[bytes]:
        """The program's standard output, or its terminal."""
        return self._pieces(STDOUT)

    @property
    def stderr(self) -> AsyncIterator[bytes]:
        """The program's standard error; nothing if it has a terminal."""
        return self._pieces(STDERR)

    @property
    def exit_status(self) -> Awaitable[int]:
        """The program's exit status: 128 + N if signal N ended it.

        Raises:
            CommandFailed: It did not end by itself, or this client has left it.
            ConnectionLost: The connection ended before the program.
        """
        return self._wait()

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """Iterate over (1 for stdout or 2 for stderr, bytes) as they come, to the end of both."""
        while (piece := await self._protocol.take(None)) is not None:
            yield piece.stream, piece.data

    async def write(self, data: bytes) -> None:
        """Have the program read something; waits while it is slow to.

        Raises:
            ConnectionLost: The connection is gone.
        """
        if data:
            await self._protocol.send(SessionCore.stdin(data))

    async def close_stdin(self) -> None:
        """Let the program see the end of its input."""
        await self._protocol.send(SessionCore.stdin(b""))

    async def resize(self, rows: int, cols: int) -> None:
        """Tell the program the size of the window."""
        await self._protocol.send(SessionCore.resize(rows, cols))

    async def signal(self, name: str) -> None:
        """Send a signal to the program and its children: `INT`, `TERM`, ..."""
        await self._protocol.send(SessionCore.signal(name))

    async def detach(self) -> None:
        """Leave the program running; `session_attach` with its id joins it again."""
        await self._protocol.send(SessionCore.leave())
        await self._protocol.ended()

    async def _pieces(self, stream: int) -> AsyncIterator[bytes]:
        while (piece := await self._protocol.take(stream)) is not None:
            yield piece.data

    async def _wait(self) -> int:
        await self._protocol.ended()
        return self._protocol.core.status()


class _SessionProtocol(asyncio.Protocol):
    """The connection of one session."""

    def __init__(self, where: str, max_line: int) -> None:
        self.core = SessionCore(where, max_line)
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._pieces: deque[Output] = deque()
        self._held = 0
        self._open = {STDOUT, STDERR}
        self._error: CtldError | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._wanted: dict[int | None, int] = {}
        self._congested = False
        self._paused = False
        self._heard = self._said = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        if self._error is not None or self.core.over:
            return
        try:
            for piece in self.core.feed(data):
                if not piece.data:
                    self._open.discard(piece.stream)
                else:
                    self._pieces.append(piece)
                    self._held += len(piece.data)
        except CtldError as error:
            self._fail(error)
            return
        answer = self.core.answers()
        if answer:
            self._write(answer)
        if self._held > _MAX_HELD:
            self._fail(TooLarge(f"more than {_MAX_HELD} bytes of the session were not read"))
        self._wake()
        self._balance()

    def pause_writing(self) -> None:
        self._congested = True

    def resume_writing(self) -> None:
        self._congested = False
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.core.over and self._error is None:
            self._error = self.core.lost(str(exc or ""))
        self._wake()
        self.closed.set_result(None)

    # What the session calls.

    def begin(self, line: bytes) -> None:
        """Ask for the session."""
        self._write(line)
        self._keep_alive()

    async def begun(self) -> None:
        """Wait for "continue"."""
        while not self.core.begun:
            self._check()
            await self._change(None)
        self._said = self._loop.time()

    async def take(self, stream: int | None) -> Output | None:
        """Return the next piece of a stream, or of any; None at its end."""
        while True:
            for index, piece in enumerate(self._pieces):
                if stream is None or piece.stream == stream:
                    del self._pieces[index]
                    self._held -= len(piece.data)
                    self._balance()
                    return piece
            if self.core.over or (stream is not None and stream not in self._open):
                return None
            self._check()
            await self._change(stream)

    async def ended(self) -> None:
        """Wait for the exit frame."""
        while not self.core.over:
            self._check()
            await self._change(0)

    async def send(self, data: bytes) -> None:
        """Send frames; those for a program that has ended are dropped."""
        self._check()
        if not self.core.over:
            self._write(data)
        while self._congested and not self.core.over:
            self._check()
            await self._change(0)

    def close(self) -> None:
        """Close the connection."""
        if self._error is None and not self.core.over:
            self._error = ConnectionLost("this client's session was closed")
        if self._transport is not None:
            self._transport.abort() if self._congested else self._transport.close()

    # Inside.

    def _write(self, data: bytes) -> None:
        self._said = self._loop.time()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _check(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)

    def _fail(self, error: CtldError) -> None:
        self._error = error
        self._wake()
        if self._transport is not None:
            self._transport.abort()

    async def _change(self, wanted: int | None) -> None:
        """Wait for news; remember what for, as that decides whether to read."""
        waiter = self._loop.create_future()
        self._waiters.add(waiter)
        self._wanted[wanted] = self._wanted.get(wanted, 0) + 1
        self._balance()
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
            self._wanted[wanted] -= 1
            self._balance()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _balance(self) -> None:
        """Read nothing while much is held and nobody waits: who waits needs what is still to come."""
        if self._transport is None or self._transport.is_closing():
            return
        pause = self._held > _HIGH and not any(self._wanted.values())
        if pause != self._paused:
            self._paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._heard = self._loop.time()
                self._transport.resume_reading()

    def _keep_alive(self) -> None:
        now = self._loop.time()
        if self.core.begun and not self.core.over:
            if self._paused or not self._remote:
                self._heard = now
            if now - self._heard >= _DEAD_AFTER:
                self._fail(self.core.lost("nothing was heard of the server"))
                return
            if now - self._said >= _PING_AFTER:
                self._write(SessionCore.ping())
        self._timer = self._loop.call_later(max(_PING_AFTER - (now - self._said), 1.0), self._keep_alive)

    @property
    def _remote(self) -> bool:
        # A UNIX socket tells of a dead server by itself.
        sock = None if self._transport is None else self._transport.get_extra_info("sockname")
        return isinstance(sock, tuple)


@asynccontextmanager
async def open_session(
    address: Address,
    tls: SSLContext | None,
    max_line: int,
    command: str,
    opts: Mapping[str, object],
    wanted: Mapping[str, Any],
) -> AsyncIterator[ClientSession]:
    """Open a session on a connection of its own; see `AsyncClient.session()`."""
    line = encode_request(command, opts, session=session_member(**wanted))
    protocol = await dial(address, lambda: _SessionProtocol(str(address), max_line), tls)
    try:
        protocol.begin(line)
        await protocol.begun()
        yield ClientSession(protocol)
    finally:
        protocol.close()
        await protocol.closed
