"""One peer of a monitor: its request, its answer, its time."""

import asyncio
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, TypeAlias, cast

from ctld.dialects.guest_agent.requests import RequestScanner, TooLong
from ctld.dialects.guest_agent.statuses import Status, failure_body

__all__ = ["Connection", "Dispatch"]

Dispatch: TypeAlias = Callable[[str, bytes, Callable[[bytes], None]], None]
"""Takes the name of a command, the request for it, and the function that its answer goes to."""

# Seconds for an error that is told after the deadline has passed.
_LAST_WORD: Final = 1.0


class _Phase(Enum):
    READING = auto()
    RUNNING = auto()
    ANSWERED = auto()


class Connection(asyncio.Protocol):
    """One peer.

    Args:
        dispatch: Who answers requests.
        timeout: Seconds from now for everything.
        strict_errors: Whether the peer is told about garbage and the end of its time.
        max_request: The longest request.
    """

    def __init__(self, dispatch: Dispatch, *, timeout: float, strict_errors: bool, max_request: int) -> None:
        loop = asyncio.get_running_loop()
        self._dispatch = dispatch
        self._strict_errors = strict_errors
        self._scanner = RequestScanner(max_request)
        self._transport: asyncio.Transport | None = None
        self._phase = _Phase.READING
        self._expired = timeout <= 0
        self._input_ended = False
        self._closed: asyncio.Future[None] = loop.create_future()
        self._timer = loop.call_later(max(timeout, 0.0), self._expire)

    async def wait_closed(self) -> None:
        """Wait until the peer has gone."""
        await self._closed

    def stop(self) -> None:
        """Wait for nothing more of a peer that has not asked anything yet."""
        if self._phase is _Phase.READING:
            self._abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is ready."""
        self._transport = cast("asyncio.Transport", transport)
        if self._expired:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Bytes have come; after the request they are dropped."""
        if self._phase is not _Phase.READING or self._expired:
            return
        try:
            request = self._scanner.feed(data)
        except TooLong:
            self._abort()
            return
        if request is not None:
            self._phase = _Phase.RUNNING
            self._dispatch(self._scanner.command, request, self._answer)
        elif self._scanner.hopeless and self._strict_errors:
            self._answer(failure_body(Status.BAD_REQUEST))

    def eof_received(self) -> bool:
        """The peer sends no more; it may still read."""
        self._input_ended = True
        if self._phase is _Phase.READING:
            self._answer(failure_body(Status.CONNECTION_ERROR))
        elif self._phase is _Phase.ANSWERED and self._transport is not None:
            self._transport.close()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._timer.cancel()
        self._transport = None
        if not self._closed.done():
            self._closed.set_result(None)

    def _answer(self, body: bytes) -> None:
        """Write the answer, and say that there will be no more; once the time is over, only the latter."""
        self._phase = _Phase.ANSWERED
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if self._expired:
            transport.abort()
            return
        transport.write(body)
        if self._input_ended:
            transport.close()  # nothing of it can lie unread, and it will not tell when it goes
        else:
            transport.write_eof()

    def _expire(self) -> None:
        if self._phase is _Phase.RUNNING:
            self._expired = True  # the handler goes on, for nobody
        elif self._phase is _Phase.READING and self._strict_errors and self._transport is not None:
            self._timer = asyncio.get_running_loop().call_later(_LAST_WORD, self._abort)
            self._answer(failure_body(Status.TIMEOUT))
        else:
            self._abort()

    def _abort(self) -> None:
        self._expired = True
        if self._transport is not None:
            self._transport.abort()
