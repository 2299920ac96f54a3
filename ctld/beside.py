"""Requests with an id: served beside each other, and beside the one without an id that runs (N4).

Each has a task of its own.  None begins before the client has been welcomed, or while it
reads too little: there would be nowhere to put what it answers.
"""

import asyncio
from typing import Protocol

from ctld.commands.dispatch import Dispatcher
from ctld.commands.outcome import failure_of
from ctld.errors import BadRequest, Busy, Cancelled, CommandFailed
from ctld.exchange import Exchange
from ctld.wire.messages import Failure, Reply, RequestId

__all__ = ["Beside", "Whole"]


class Whole(Protocol):
    """The conversation that the requests are a part of."""

    @property
    def ready(self) -> bool:
        """Whether the client has been welcomed, and reads what it is sent."""
        ...

    def conclude(self, exchange: Exchange, outcome: Reply | Failure) -> None:
        """Send the final message of a request."""
        ...

    def on_fewer_beside(self) -> None:
        """One that was outstanding has been answered."""
        ...


class Beside:
    """The requests of one conversation that have an id.

    Args:
        whole: The conversation.
        dispatcher: The way to the commands.
        most: How many may be in flight at once.
    """

    __slots__ = ("_by_id", "_dispatcher", "_given_up", "_held", "_most", "_refused", "_whole")

    def __init__(self, whole: Whole, dispatcher: Dispatcher, most: int) -> None:
        self._whole = whole
        self._dispatcher = dispatcher
        self._most = most
        self._by_id: dict[RequestId, Exchange] = {}
        self._held: list[Exchange] = []  # not begun yet
        self._refused: list[tuple[Exchange, Failure]] = []  # and not told yet
        self._given_up = False

    @property
    def outstanding(self) -> bool:
        """Whether something is still to be answered."""
        return bool(self._by_id or self._refused)

    @property
    def in_flight(self) -> list[Exchange]:
        """The requests that have been begun, or will be as soon as the client reads."""
        return list(self._by_id.values())

    def serve(self, exchange: Exchange) -> None:
        """Serve a request, as soon as that is possible."""
        request_id = exchange.request.id
        refusal: CommandFailed | None = None
        if request_id in self._by_id:
            refusal = BadRequest(f"id {request_id!r} is in use", duplicate=True)
        elif len(self._by_id) >= self._most:
            refusal = Busy(f"{self._most} requests are in flight on this connection")
        if refusal is not None:
            self.refuse(exchange, failure_of(refusal))
            return
        self._by_id[request_id] = exchange
        if exchange.may_hold:
            exchange.hold()
        if self._whole.ready:
            self._start(exchange)
        else:
            self._held.append(exchange)

    def refuse(self, exchange: Exchange, outcome: Failure) -> None:
        """Answer a request at once; where the client has not been welcomed or reads nothing, as soon as possible."""
        if not self._whole.ready:
            self._refused.append((exchange, outcome))
        else:
            self._whole.conclude(exchange, outcome)

    def cancel(self, request_id: RequestId, reason: CommandFailed) -> None:
        """Have a request end, if there is one of that id."""
        exchange = self._by_id.get(request_id)
        if exchange is None:
            return
        exchange.interrupt(reason)
        if exchange in self._held:
            self._held.remove(exchange)
            self._start(exchange)  # it ends at once

    def wait_no_longer(self) -> None:
        """Tell, and begin, what had to wait: the client has been welcomed, has caught up or left, or time is up."""
        refused, self._refused = self._refused, []
        for exchange, outcome in refused:
            self._whole.conclude(exchange, outcome)
        held, self._held = self._held, []
        for exchange in held:
            self._start(exchange)

    def give_up(self) -> None:
        """Serve nothing any more: somebody else answers what is in flight."""
        self._given_up = True
        self._by_id, self._held = {}, []
        self.wait_no_longer()

    def _start(self, exchange: Exchange) -> None:
        # Not its `task` yet: a task that is cancelled before its first step runs nothing at all,
        # and the request would never be answered.
        exchange.carrier = asyncio.get_running_loop().create_task(self._serve(exchange))

    async def _serve(self, exchange: Exchange) -> None:
        """Serve one request, in a task of its own."""
        try:
            outcome = await exchange.answer(self._dispatcher, asyncio.current_task())
        except asyncio.CancelledError:
            if self._given_up:
                raise  # and answered
            outcome = failure_of(Cancelled("the command cancelled its own task"))
        if self._given_up:
            return  # and answered
        del self._by_id[exchange.request.id]
        self._whole.conclude(exchange, outcome)
        self._whole.on_fewer_beside()
