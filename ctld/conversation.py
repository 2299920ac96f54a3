"""Conversation: the order of things between one client and its handler.

Requests without an id are served one after the other by the connection's one long-lived
task; requests with an id go beside it (native protocol, N1 and N4).  A new task per request
would cost several times what a request costs.

The long-lived task takes all that has arrived as one batch, so that nothing is moved from
the front of a list, and gives the loop a turn after so many requests.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from ctld.beside import Beside
from ctld.callers import caller_details
from ctld.client_handler import ClientHandler
from ctld.commands.context import Origin
from ctld.commands.dispatch import Dispatcher
from ctld.commands.operation import Operation
from ctld.commands.outcome import failure_of, internal_error
from ctld.connection import Connection
from ctld.errors import (
    Cancelled,
    CommandFailed,
    RemoteProtocolError,
    ShuttingDown,
)
from ctld.exchange import Exchange
from ctld.limits import Limits
from ctld.ownership import Owner
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
        "_beside",
        "_dispatcher",
        "_ended",
        "_has_own_way",
        "_limits",
        "_linger",
        "_number",
        "_open",
        "_opening",
        "_origin",
        "_running",
        "_session_names",
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
        self._session_names = dispatcher.session_names
        self._has_own_way = handler.has_authorize or handler.has_handle_cmd
        self._arrived: list[Exchange] = []
        self._batch: list[Exchange] = []
        self._running: Exchange | None = None
        self._beside: Beside | None = None
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

    async def converse(self, connect: Callable[[], Awaitable[bool]]) -> None:
        """Hold the conversation, from the accepted socket to its end; returns when the connection is closed.

        All of it is one coroutine, because an idle connection keeps each one that it waits in.

        Args:
            connect: Makes the transport, and tells whether that worked.
        """
        connection = self.connection
        dispatcher, handler = self._dispatcher, self.handler
        task = asyncio.current_task(connection.loop)
        try:
            if not (await connect() and await self._begin()):
                return
            del connect
            while True:
                batch = self._arrived
                self._batch = batch
                if not batch:
                    if (self._ended or self._stopping) and self._is_over():
                        return
                    del batch
                    self._wake = connection.loop.create_future()
                    await self._wake
                    self._wake = None
                    continue
                self._arrived = []
                crowded = len(batch) > _REQUESTS_PER_TURN
                if crowded:
                    self._arrived = batch[_REQUESTS_PER_TURN:]
                    del batch[_REQUESTS_PER_TURN:]
                last = batch[-1]
                for exchange in batch:
                    self._running = exchange
                    if connection.congested:
                        await connection.drained()
                    if exchange.unusual:
                        outcome = await exchange.answer(dispatcher, task)
                    else:
                        outcome = await dispatcher.start(handler.peer, exchange.request, exchange, task)
                    if self._running is None:
                        return  # given up meanwhile, and answered
                    self._running = None
                    self.served += 1
                    if exchange.conclude(outcome, exchange is not last):
                        self.on_end_of_input()
                if crowded:
                    await asyncio.sleep(0)
                del batch, exchange, last, outcome  # an idle connection must not hold on to its last request
        except asyncio.CancelledError:
            self._give_up(Cancelled("the command cancelled the task that serves the connection"))
            raise
        finally:
            await connection.finish(self._linger)

    async def _begin(self) -> bool:
        """Let the handler look at the client; tell whether it is welcome."""
        try:
            if self.handler.has_on_connect:
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
                self._open = True  # enough to tell why nothing is served: this was cut short by `interrupt()`
                return True
            self.connection.send(failure_of(internal_error(logger, "on_connect()", exc)))
            return False
        self._open = True
        self._opening = None
        if self._beside is not None:
            self._beside.wait_no_longer()
        return True

    def _is_over(self) -> bool:
        """Tell whether nothing is outstanding, once nothing more will come."""
        return not (self.connection.backlog or (self._beside is not None and self._beside.outstanding))

    # What the requests beside call.

    @property
    def ready(self) -> bool:
        """Whether the client has been welcomed, and reads what it is sent."""
        return self._open and not self.connection.congested

    def conclude(self, exchange: Exchange, outcome: Reply | Failure) -> None:
        """Send the final message of a request."""
        self.served += 1
        if exchange.conclude(outcome, True):
            self.on_end_of_input()

    def on_fewer_beside(self) -> None:
        """One that was outstanding has been answered: it may have been the last."""
        if self._ended or self._stopping:
            self._wake_up()

    # What the connection calls.

    def on_requests(self, requests: list[Request]) -> int:
        """Take requests without an id, up to one that may take the connection."""
        size = self.connection.codec.event_size + _EXCHANGE_SIZE
        arrived = self._arrived
        taken = 0
        for request in requests:
            if request.cmd in self._session_names:
                break
            arrived.append(Exchange(self, request, size, self._has_own_way))
            taken += 1
        self.connection.queued += size * taken
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        return taken

    def on_event(self, event: Incoming) -> None:
        """Take a request, or a wish to cancel one."""
        if isinstance(event, Cancel):
            self._cancel(event.id)
            return
        size = self.connection.codec.event_size + _EXCHANGE_SIZE
        exchange = Exchange(self, event, size, unusual=True)
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
            self._others.serve(exchange)
        else:
            self._others.refuse(exchange, Failure(event.message, event.code, event.fields))

    def on_end_of_input(self) -> None:
        """The client sends no more: end when all it asked for is answered."""
        self._ended = True
        for exchange in self._outstanding():
            exchange.on_end_of_input()
        self._wake_up()

    def on_protocol_error(self, error: RemoteProtocolError) -> None:
        """Nothing more can be understood: say so, and end."""
        self._arrived.append(Exchange(self, Invalid("bad-request", str(error)), unusual=True))
        self.on_end_of_input()

    def on_vanished(self) -> None:
        """Nobody reads the answers any more: commands go on, but for those that declared otherwise (N2)."""
        for exchange in self._outstanding():
            if exchange.hijack is not None:
                exchange.hijack.on_hangup()
            if exchange.operation is not None and exchange.operation.on_disconnect == "cancel":
                exchange.operation.interrupt(Cancelled("the client has gone"))
        if self._open and self._beside is not None:
            self._beside.wait_no_longer()
        if self.connection.lost:
            self.on_end_of_input()

    def on_drained(self) -> None:
        """The client has caught up: begin what had to wait."""
        if self._open and self._beside is not None:
            self._beside.wait_no_longer()
        self._wake_up()

    # What the server calls.

    @property
    def idle(self) -> bool:
        """Whether no request is outstanding."""
        return self._running is None and not self._arrived and not (self._beside and self._beside.in_flight)

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

    def request_of(self, owner: Owner | None) -> Exchange | None:
        """Return the request that an operation serves, while it does."""
        return next((one for one in self._outstanding() if one.operation is owner is not None), None)

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
        if self._beside is not None:
            self._beside.wait_no_longer()
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
        self._running, self._batch, self._arrived = None, [], []
        if self._beside is not None:
            self._beside.give_up()
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
            self._arrived.append(Exchange(self, busy, unusual=True))
        self.on_end_of_input()

    @property
    def _others(self) -> Beside:
        """The requests with an id; most clients never make one."""
        if self._beside is None:
            self._beside = Beside(self, self._dispatcher, self._limits.max_in_flight)
        return self._beside

    def _cancel(self, request_id: RequestId | None) -> None:
        reason = Cancelled("the client cancelled the request")
        if request_id is None:
            exchange = self._running or next(iter(self._arrived), None)
            if exchange is not None:
                exchange.interrupt(reason)
        elif self._beside is not None:
            self._beside.cancel(request_id, reason)

    def _outstanding(self) -> list[Exchange]:
        """Return the requests that have been begun, or will be as soon as the client reads."""
        running = [] if self._running is None else [self._running]
        return running if self._beside is None else [*running, *self._beside.in_flight]

    def _waiting(self) -> list[Exchange]:
        """Return the requests without id that have arrived, and have not been begun."""
        batch = list(self._batch)
        taken = batch.index(self._running) + 1 if self._running in batch else len(batch)
        return [*batch[taken:], *self._arrived]

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
