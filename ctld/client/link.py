"""The asynchronous client's connection: many requests under way, told apart by their ids.

Theory of operation.  Requests go out at once, before any banner, and with an id.  What
comes back belongs to the request with its id; a message without one comes from a server
that does not know ids (version 1), which answers in order, so it belongs to the oldest
request.  Once the banner has said "version 1", ids are not sent any more.

What a request holds is bounded in `ctld.client.exchange`.  Reading pauses while a stream
holds too much and no task waits for anything else: pausing while one does would keep its
answer from it, for ever if it is the very task that should read the stream.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, cast

from ctld.client.exchange import HIGH_WATER, Exchange
from ctld.client.wire import (
    BANNER_WAIT,
    DEADLINE_GRACE,
    TOO_OLD_TO_DETACH,
    LineReader,
    check_deadline,
    check_size,
    classify,
    decode_line,
    encode_cancel,
    encode_request,
    failure_to_error,
    is_banner,
    protocol_of,
)
from ctld.errors import CommandFailed, ConnectionLost, CtldError, LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Link"]


class Link(asyncio.Protocol):
    """One connection to a daemon, and the requests under way on it.

    Args:
        where: The address, for errors.
        max_line: The longest message to take, in bytes.
    """

    def __init__(self, where: str, max_line: int) -> None:
        self.banner: Mapping[str, Any] | None = None
        self.protocol = 0  # not known yet
        self.over = False  # nothing more is sent or understood
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost: CtldError | None = None  # why it is over; None while it is not, or if we closed it
        self._where = where
        self._reader = LineReader(max_line)
        self._transport: asyncio.Transport | None = None
        self._pending: dict[int, Exchange] = {}  # in the order in which they were sent
        self._held: list[tuple[Exchange, bytes]] = []  # what waits for the banner
        self._cancels: list[Exchange] = []  # likewise
        self._last_id = 0
        self._refusal: CommandFailed | None = None
        self._waiting = 0
        self._full: set[Exchange] = set()
        self._paused = False
        self._spare = -1  # the socket once more, until the first message has come

    # -- towards the server

    def send(
        self, command: str, opts: Mapping[str, object], *, stream: bool, deadline: float | None, detach: bool
    ) -> Exchange:
        """Send a request, and return what will become of it.

        Raises:
            LocalProtocolError: JSON cannot carry the options.
            ValueError: The deadline is not a number of seconds above 0.
        """
        check_deadline(deadline)
        self._last_id += 1
        exchange = Exchange(self, self._last_id, command)
        request_id = None if self.protocol == 1 else exchange.id
        line = encode_request(command, opts, request_id=request_id, stream=stream, deadline=deadline, detach=detach)
        if deadline is not None:
            exchange.deadline = deadline
            exchange.timer = asyncio.get_running_loop().call_later(deadline, self._expire, exchange)
        if detach and self.protocol < 2:
            # An older server would not understand, and run the command in the foreground.
            self._held.append((exchange, line))
            if self.protocol == 0:
                asyncio.get_running_loop().call_later(BANNER_WAIT, self._release)
            else:
                self._release()
        else:
            self._write(exchange, line)
        return exchange

    def _write(self, exchange: Exchange, line: bytes) -> None:
        if self._refusal is not None:
            exchange.end(error=self._refusal)  # it says more than that the connection is over
        elif self.over:
            exchange.end(error=ConnectionLost(f"the connection to {self._where} is closed"))
        else:
            assert self._transport is not None
            try:
                check_size(line, self.banner)
            except CommandFailed as error:
                exchange.end(error=error)
            else:
                self._pending[exchange.id] = exchange
                self._transport.write(line)

    def _release(self) -> None:
        """Send what waited for the banner, or refuse it."""
        held, self._held = self._held, []
        for exchange, line in held:
            if self.protocol == 1:
                exchange.end(error=LocalProtocolError(TOO_OLD_TO_DETACH))
            elif not exchange.done:
                self._write(exchange, line)

    def _release_cancels(self) -> None:
        """Send the cancels that waited for the banner, or tell that they cannot be."""
        cancels, self._cancels = self._cancels, []
        for exchange in cancels:
            if not self.send_cancel(exchange):
                exchange.cancel()

    def send_cancel(self, exchange: Exchange) -> bool:
        """Ask the server to cancel a request; False if it cannot, or knows nothing of it."""
        if self.over or self._transport is None or self.protocol == 1 or exchange.id not in self._pending:
            return False
        if self.protocol:
            self._transport.write(encode_cancel(exchange.id))
        else:
            # Version 1 would answer it like a request, and every later answer would be one off.
            self._cancels.append(exchange)
        return True

    def forget(self, exchange: Exchange) -> None:
        """Drop whatever the server still says about a request."""
        if self.protocol > 1:
            self._pending.pop(exchange.id, None)
        # In order of sending there is no id to tell late answers by: it keeps its place.

    def _expire(self, exchange: Exchange) -> None:
        # Version 1 knows no deadlines: there it is this side alone that keeps it.
        if self.protocol == 1:
            exchange.expire()
        else:
            exchange.timer = asyncio.get_running_loop().call_later(DEADLINE_GRACE, exchange.expire)

    def close(self) -> None:
        """Close the connection; what is under way ends with an error."""
        if self._transport is not None and not self.over:
            self._end(ConnectionLost(f"this client's connection to {self._where} was closed"))
            self._transport.close()

    def abort(self) -> None:
        """Close it without writing what is left to write."""
        if self._transport is not None:
            self._transport.abort()

    # -- from the server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Learn how to write."""
        self._transport = cast(asyncio.Transport, transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and transport.get_extra_info("sslcontext") is None:
            self._spare = os.dup(sock.fileno())

    def data_received(self, data: bytes) -> None:
        """Take what the server sent."""
        self._reader.feed(data)
        try:
            while not self.over and (line := self._reader.next_line()) is not None:
                self._take(decode_line(line), len(line))
        except RemoteProtocolError as error:
            self._break(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits that nothing more will come."""
        self._read_refusal()
        if not self.over:
            reason = f"the connection to {self._where} was lost: {exc}" if exc else self._hung_up()
            self.lost = ConnectionLost(reason)
            self._end(self.lost)
        if not self.closed.done():
            self.closed.set_result(None)

    def _read_refusal(self) -> None:
        """Read what the server said before it hung up, if a failed write kept us from it.

        A server that refuses a connection says why and closes.  If our request meets the
        closed end, the loop drops the connection, and the reason in its receive buffer too.
        """
        if self._spare >= 0:
            try:
                while not self.over and self._spare >= 0 and (data := os.read(self._spare, 65536)):
                    self.data_received(data)
            except OSError:
                pass  # nothing is there
            finally:
                self._drop_spare()

    def _drop_spare(self) -> None:
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1

    def _hung_up(self) -> str:
        where = " in the middle of a message" if self._reader.take_rest() else ""
        return f"the daemon on {self._where} closed the connection{where}"

    def _take(self, message: dict[str, Any], size: int) -> None:
        if not self.protocol:
            self._drop_spare()
            banner = is_banner(message)
            self.protocol = protocol_of(message) if banner else 1
            if banner:
                self.banner = message
            self._release()
            self._release_cancels()
            if banner:
                return
        kind = classify(message)
        exchange = self._whose(message, kind)
        if exchange is None:
            return
        if kind == "response" and exchange.lasting:
            kind, message["item"] = "item", message["response"]
        if kind in ("response", "failure"):
            del self._pending[exchange.id]
            if kind == "response":
                exchange.end(message["response"])
            else:
                exchange.end(error=failure_to_error(message))
        elif exchange.done:
            return  # given up, and in its place only to keep the order
        elif kind == "progress":
            exchange.on_progress(message)
        else:
            exchange.on_item(message["item"], size)

    def _whose(self, message: Mapping[str, Any], kind: str) -> Exchange | None:
        """Return the request that a message belongs to; None if nobody wants it any more."""
        request_id = message.get("id")
        if request_id is not None:
            return self._pending.get(request_id) if type(request_id) is int else None
        if self._pending and self.protocol == 1:
            return next(iter(self._pending.values()))
        if kind != "failure":
            raise RemoteProtocolError("the server answered what nobody asked")
        # It speaks of the connection: too many clients, not allowed, going down.
        self._refusal = failure_to_error(message)
        self._fail_pending(self._refusal)
        return None

    def _break(self, error: RemoteProtocolError) -> None:
        """Give up a connection on which nothing can be trusted any more."""
        self.lost = error
        self._end(error)
        self.abort()

    def _end(self, error: CtldError) -> None:
        self.over = True
        self._fail_pending(self._refusal or error)

    def _fail_pending(self, error: CtldError) -> None:
        pending, self._pending = self._pending, {}
        held, self._held = self._held, []
        for exchange in (*pending.values(), *(exchange for exchange, _ in held)):
            exchange.end(error=error)

    # -- how much to read

    def waiting(self, more: int) -> None:
        """Learn that so many more tasks wait for an answer."""
        self._waiting += more
        self._balance()

    def balance(self, exchange: Exchange) -> None:
        """Learn that the items held by an exchange have become more, or fewer."""
        if exchange.held > HIGH_WATER:
            self._full.add(exchange)
        else:
            self._full.discard(exchange)
        self._balance()

    def _balance(self) -> None:
        pause = bool(self._full) and not self._waiting
        if pause == self._paused or self._transport is None or self._transport.is_closing():
            return
        self._paused = pause
        if pause:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()
