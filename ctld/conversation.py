"""Conversation: the order of things between one client and its handler.

Requests without an id are served one after the other by the connection's one long-lived
task; each request with an id has a task of its own (native protocol, N1 and N4).  A new
task per request would cost several times what a request costs.

The long-lived task takes all that has arrived as one batch, so that nothing is moved from
the front of a list, and gives the loop a turn after so many requests.
"""

import asyncio
import logging
from typing import Any, Final

from ctld.callers import caller_details
from ctld.client_handler import ClientHandler
from ctld.commands.context import Origin
from ctld.commands.dispatch import Dispatcher
from ctld.commands.operation import Operation
from ctld.commands.outcome import failure_of, internal_error
from ctld.connection import Connection
from ctld.errors import (
    BadRequest,
    Busy,
    Cancelled,
    CommandFailed,
    RemoteProtocolError,
    ShuttingDown,
)
from ctld.exchange import Exchange
from ctld.limits import Limits
from ctld.wire.messages import Cancel, Failure, Incoming, Invalid, Reply, Request, RequestId

__all__ = ["Conversation"]

logger = logging.getLogger("ctld.connection")

# Requests that are served without a wait between them, before others get a turn: under a
# millisecond of work.
_REQUESTS_PER_TURN: Final = 128


# What a request costs beside its bytes, about.  Without it a client that sends the shortest
# lines makes the server hold a hundred times what it has sent.
_EXCHANGE_SIZE: Final = 256


class Conversation:
    """What goes on between one client and its handler.

    Args:
        connection: The transport side.
        handler: The author's side.
        dispatcher: The way to the commands.
        limits: The bounds.
        number: The number of the connection.

    Attributes:
        served: How many requests have been answered.
    """

    __slots__ = (
        "_arrived",
        "_batch",
        "_by_id",
        "_dispatcher",
        "_ended",
        "_held",
        "_limits",
        "_linger",
        "_number",
        "_open",
        "_opening",
        "_origin",
        "_refused",
        "_running",
        "_stopping",
        "_wake",
        "connection",
        "handler",
        "served",
    )

    def __init__(
        self,
        connection: Connection,
        handler: ClientHandler[Any],
        dispatcher: Dispatcher,
        limits: Limits,
        number: int = 0,
    ) -> None:
        self.connection = connection
        self.handler = handler
        self.served = 0
        self._dispatcher = dispatcher
        self._limits = limits
        self._arrived: list[Exchange] = []
        self._batch: list[Exchange] = []
        self._running: Exchange | None = None
        self._by_id: dict[RequestId, Exchange] | None = None
        self._held: list[Exchange] | None = None
        self._refused: list[tuple[Exchange, Failure]] = []
        self._wake: asyncio.Future[None] | None = None
        self._open = False
        self._opening: asyncio.Timeout | None = None
        self._ended = False
        self._stopping = False
        self._linger = limits.drain_timeout
        self._number = number
        self._origin: Origin | None = None
        handler.attach(self)
        connection.attach(self)

    # The long-lived task.

    async def converse(self) -> None:
        """Hold the conversation, from the banner to the end; returns when the connection is closed."""
        try:
            if await self._begin():
                await self._serve_in_order()
        except asyncio.CancelledError:
            self._give_up(Cancelled("the command cancelled the task that serves the connection"))
            raise
        finally:
            await self.connection.finish(self._linger)

    async def _begin(self) -> bool:
        """Let the handler look at the client; tell whether it is welcome."""
        try:
            async with asyncio.timeout(self._limits.handshake_timeout) as self._opening:
                await self.handler.on_connect()
            banner = self.handler.banner()
            if banner is not None:
                self.connection.send(banner, more=False)
        except CommandFailed as exc:
            self.connection.send(failure_of(exc))
            return False
        except Exception as exc:  # noqa: BLE001 - the boundary: a handler's on_connect() may have any defect
            if self._stopping and self._opening is not None and self._opening.expired():
                return True  # cut short by `interrupt()`, which has told the requests why they end
            self.connection.send(failure_of(internal_error(logger, "on_connect()", exc)))
            return False
        self._open = True
        self._start_held()
        return True

    async def _serve_in_order(self) -> None:
        """Serve what arrives without an id, until the client or the server wants no more."""
        connection = self.connection
        task = asyncio.current_task()
        in_this_turn = 0
        while True:
            batch, self._arrived = self._arrived, []
            if not batch:
                if self._is_over():
                    return
                del batch  # an idle connection must not hold on to its last request
                self._batch = []
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake
                self._wake = None
                in_this_turn = 0
                continue
            self._batch = batch
            last = batch[-1]
            for exchange in batch:
                self._running = exchange
                in_this_turn += 1
                if in_this_turn == _REQUESTS_PER_TURN:
                    in_this_turn = 0
                    await asyncio.sleep(0)
                if connection.congested:
                    await connection.drained()
                outcome = await exchange.answer(self._dispatcher, task)
                self._running = None
                self._conclude(exchange, outcome, more=exchange is not last or bool(self._arrived))
            del exchange, last, outcome

    def _is_over(self) -> bool:
        """Tell whether nothing is outstanding, and nothing more will come."""
        outstanding = self._by_id or self._refused or self.connection.backlog
        return (self._ended or self._stopping) and not outstanding

    async def _serve_beside(self, exchange: Exchange) -> None:
        """Serve one request with an id, in a task of its own."""
        try:
            outcome = await exchange.answer(self._dispatcher, asyncio.current_task())
        except asyncio.CancelledError:
            if self._by_id is None:
                raise  # given up, and answered
            outcome = failure_of(Cancelled("the command cancelled its own task"))
        assert self._by_id is not None
        del self._by_id[exchange.request.id]
        self._conclude(exchange, outcome, more=True)
        if self._ended or self._stopping:
            self._wake_up()

    def _conclude(self, exchange: Exchange, outcome: Reply | Failure, *, more: bool) -> None:
        """Send the final message of a request."""
        self.served += 1
        if exchange.conclude(outcome, more=more):
            self.on_end_of_input()

    # What the connection calls.

    def on_event(self, event: Incoming) -> None:
        """Take a request, or a wish to cancel one."""
        if isinstance(event, Cancel):
            self._cancel(event.id)
            return
        exchange = Exchange(self, event)
        exchange.size = size = self.connection.codec.event_size + _EXCHANGE_SIZE
        self.connection.queued += size
        if isinstance(event, Request):
            if event.deadline is not None:
                exchange.deadline = asyncio.get_running_loop().time() + event.deadline
            if event.cmd in self._dispatcher.session_names:
                exchange.may_hold = True
        if event.id is None:
            if exchange.may_hold:
                exchange.hold()
            self._arrived.append(exchange)
            self._wake_up()
        elif isinstance(event, Request):
            self._serve_with_id(exchange)
        else:
            self._refuse(exchange, Failure(event.message, event.code, event.fields))

    def on_end_of_input(self) -> None:
        """The client sends no more: end when all it asked for is answered."""
        self._ended = True
        for exchange in self._outstanding():
            exchange.on_end_of_input()
        self._wake_up()

    def on_protocol_error(self, error: RemoteProtocolError) -> None:
        """Nothing more can be understood: say so, and end."""
        self._arrived.append(Exchange(self, Invalid("bad-request", str(error))))
        self.on_end_of_input()

    def on_vanished(self) -> None:
        """Nobody reads the answers any more: commands go on, but for those that declared otherwise (N2)."""
        for exchange in self._outstanding():
            if exchange.hijack is not None:
                exchange.hijack.on_hangup()
            if exchange.operation is not None and exchange.operation.on_disconnect == "cancel":
                exchange.operation.interrupt(Cancelled("the client has gone"))
        self._refused.clear()  # nobody hears that any more
        if self.connection.lost:
            self.on_end_of_input()

    def on_drained(self) -> None:
        """The client has caught up: begin what had to wait."""
        refused, self._refused = self._refused, []
        for exchange, outcome in refused:
            self._conclude(exchange, outcome, more=True)
        self._start_held()
        self._wake_up()

    # What the server calls.

    @property
    def idle(self) -> bool:
        """Whether no request is outstanding."""
        return self._running is None and not self._arrived and not self._by_id

    @property
    def origin(self) -> Origin:
        """Where the requests come from; found out when somebody first writes it down."""
        if self._origin is None:
            caller = caller_details(self.handler.peer.pid)
            number = str(self._number)
            self._origin = Origin(number, self.handler.dialect, caller.loginuid, caller.executable)
        return self._origin

    def others(self, exchange: Exchange) -> int:
        """Count the requests that are outstanding beside one."""
        return sum(other is not exchange for other in [*self._outstanding(), *self._arrived])

    def running(self) -> list[Operation[Any]]:
        """Return the operations that run for this client."""
        return [exchange.operation for exchange in self._outstanding() if exchange.operation is not None]

    def stop(self) -> None:
        """Serve nothing new, and end when what runs has ended."""
        self._stopping = True
        if self.idle:
            self._linger = 0.0  # no answer of ours can be lost on the way
        try:
            self.handler.request_stop()
        except Exception:
            logger.exception("! request_stop() of %s failed", self.handler.peer)
        self._wake_up()

    def interrupt(self, reason: CommandFailed) -> None:
        """Have everything outstanding end with this reason."""
        for exchange in [*self._outstanding(), *self._waiting()]:
            exchange.interrupt(reason)
        self._start_held()
        if not self._open and self._opening is not None and not self._opening.expired():
            self._opening.reschedule(0)

    def abandon(self) -> None:
        """Answer in the place of commands that do not end, and drop the connection."""
        self._give_up(ShuttingDown("the daemon is shutting down, and the command did not end"))
        self.connection.flush()
        if not self.connection.lost:
            self.connection.transport.close()

    def _give_up(self, reason: CommandFailed) -> None:
        """Answer everything that is outstanding, in the place of what serves it."""
        unanswered = [*self._outstanding(), *self._waiting()]
        self._running, self._batch, self._arrived, self._by_id = None, [], [], None
        outcome = failure_of(reason)
        for exchange in unanswered:
            exchange.say(outcome, more=True)
            if exchange.carrier is not None:
                exchange.carrier.cancel()

    def expire(self, why: str) -> None:
        """End a connection whose peer takes or gives nothing."""
        logger.info("= dropping %s: %s", self.handler.peer, why)
        if why == "stalled":
            self.connection.abort()
            return
        if why == "starved":
            busy = Invalid("busy", "the daemon holds too much unserved input; try again later")
            self._arrived.append(Exchange(self, busy))
        self.on_end_of_input()

    # Requests with an id.

    def _serve_with_id(self, exchange: Exchange) -> None:
        request_id = exchange.request.id
        if self._by_id is None:
            self._by_id = {}
        refusal: CommandFailed | None = None
        if request_id in self._by_id:
            refusal = BadRequest(f"id {request_id!r} is in use", duplicate=True)
        elif len(self._by_id) >= self._limits.max_in_flight:
            refusal = Busy(f"{self._limits.max_in_flight} requests are in flight on this connection")
        if refusal is not None:
            self._refuse(exchange, failure_of(refusal))
            return
        self._by_id[request_id] = exchange
        if exchange.may_hold:
            exchange.hold()
        if self._open and not self.connection.congested:
            self._start(exchange)
        else:
            self._held = [*(self._held or ()), exchange]

    def _refuse(self, exchange: Exchange, outcome: Failure) -> None:
        """Answer a request with an id at once; where the client reads nothing, as soon as it does."""
        if self.connection.congested:
            self._refused.append((exchange, outcome))
        else:
            self._conclude(exchange, outcome, more=True)

    def _start(self, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        # Not its `task` yet: a task that is cancelled before its first step runs nothing at all,
        # and the request would never be answered.
        exchange.carrier = loop.create_task(self._serve_beside(exchange))

    def _start_held(self) -> None:
        held, self._held = self._held, None
        for exchange in held or ():
            self._start(exchange)

    def _cancel(self, request_id: RequestId | None) -> None:
        if request_id is None:
            exchange = self._running or next(iter(self._arrived), None)
        else:
            exchange = (self._by_id or {}).get(request_id)
        if exchange is not None:
            exchange.interrupt(Cancelled("the client cancelled the request"))
            if self._held and exchange in self._held:
                self._held.remove(exchange)
                self._start(exchange)  # it ends at once

    def _outstanding(self) -> list[Exchange]:
        """Return the requests that have been begun, or will be as soon as the client reads."""
        running = [] if self._running is None else [self._running]
        return [*running, *(self._by_id or {}).values()]

    def _waiting(self) -> list[Exchange]:
        """Return the requests without id that have arrived, and have not been begun."""
        batch = list(self._batch)
        taken = batch.index(self._running) + 1 if self._running in batch else len(batch)
        return [*batch[taken:], *self._arrived]

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
