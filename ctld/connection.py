"""The transport side of one client: bytes in, events out; messages in, bytes out.

There is no parsing here (the codec does it) and no meaning (the conversation has it).
What is here is flow: a peer that sends more than is served stops being read; a peer that is
gone is noticed even then.  What goes out is the outlet's.
"""

import asyncio
import logging
import socket
from typing import Final, cast

from ctld.budget import UNIT, InputBudget
from ctld.errors import RemoteProtocolError
from ctld.hangup import HangupWatch
from ctld.limits import Limits
from ctld.outbox import Outbox
from ctld.outlet import Outlet
from ctld.receiver import Receiver
from ctld.wire.codec import END_OF_INPUT, NEED_DATA, BatchCodec, Codec

__all__ = ["Connection"]

logger = logging.getLogger("ctld.connection")

# One read may bring a hundred thousand lines of two bytes; the loop has others to serve.
_EVENTS_PER_TURN: Final = 1024

# What a codec hands out together counts as so many, however many they are.
_EVENTS_PER_BATCH: Final = 256


class Connection(Outlet):
    """One client's connection.

    Args:
        sock: The accepted socket; the transport that is made of it owns it.
        transport_kind: `unix`, `tcp` or `tls`.
        codec: The translation between bytes and messages.
        limits: The bounds.
        budget: What all connections of the server share.
        watch: Who notices hang-ups while nothing is read.
        outbox: What all connections of the server write at the end of a turn.

    Attributes:
        input_ended: Whether the peer sends no more.
        backlog: Whether some of what was read is still to be understood, in a later turn of the loop.
        queued: Bytes of requests that were read and not finished yet; the conversation counts.
        charged: Units of them that the server's budget knows of: then `regulate()` has to follow each change.
    """

    __slots__ = (
        "_batches",
        "_budget",
        "_closed",
        "_discarding",
        "_held",
        "_paused",
        "_receiver",
        "_watch",
        "_watching",
        "backlog",
        "charged",
        "input_ended",
        "kind",
        "queued",
        "sock",
    )

    def __init__(
        self,
        sock: socket.socket,
        transport_kind: str,
        codec: Codec,
        limits: Limits,
        budget: InputBudget,
        watch: HangupWatch,
        outbox: Outbox,
    ) -> None:
        super().__init__(codec, limits, outbox)
        self.sock = sock
        self.kind = transport_kind
        self.backlog = self.input_ended = False
        self.queued = self.charged = 0
        self._budget = budget
        self._watch = watch
        self._batches: BatchCodec | None = codec if hasattr(codec, "receive_requests") else None  # type: ignore[assignment]  # it has what makes it one
        self._receiver: Receiver | None = None
        self._closed: asyncio.Future[None] | None = None
        self._discarding = False
        self._held = self._paused = self._watching = False

    def attach(self, receiver: Receiver) -> None:
        """Say who gets the events; before the transport exists."""
        self._receiver = receiver

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is ready."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=self._limits.high_water)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        self.patience.active = True
        if self._discarding:
            return
        batches = self._batches
        if batches is None or self._held or self._receiver is None:
            self.codec.receive_data(data)
        elif (requests := batches.receive_requests(data)) is not None:
            taken = self._receiver.on_requests(requests)
            if taken == len(requests):
                if self.queued >= UNIT or self.charged:
                    self.regulate()
                return
            batches.return_requests(data, taken)
        self._pull()

    def eof_received(self) -> bool:
        """The peer sends no more; keep the other direction open where the transport can (N2)."""
        self.input_ended = True
        if self._closed is not None or self.kind == "tls":
            return False
        if not self._discarding:
            self.codec.receive_eof()
            self._pull()
        if self.queued and not self.gone and self._receiver is not None:
            self._watch_for_hangup()  # it waits for an answer, and may leave before that
        return True

    def resume_writing(self) -> None:
        """The peer has caught up."""
        super().resume_writing()
        if self._receiver is not None:
            self._receiver.on_drained()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whoever's doing."""
        ended, self.input_ended = self.input_ended and not self._held, True
        self.lost = True
        if self._watching:
            self._watch.unwatch(self.sock.fileno())
            self._watching = False
        self._budget.forget(self)
        if self.charged:
            self._budget.change(-self.charged)
            self.charged = 0
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        was_gone = self.gone
        self._peer_gone()
        if was_gone and not ended and self._receiver is not None:
            self._receiver.on_end_of_input()  # what a peer left that had hung up earlier will not be read any more

    # What the conversation calls.

    def hold(self) -> None:
        """Understand nothing more for now: what follows may not be a request (N5)."""
        self._held = True

    def resume(self) -> None:
        """Understand requests again after `hold()`."""
        self._held = False
        self._pull()
        self.regulate()

    async def finish(self, linger: float) -> None:
        """Close in order: all that was sent gets out, and the peer does not lose it (N2).

        A socket that is closed while bytes of the peer lie unread in it resets the
        connection, and the peer may never see the last message.  So this side says that it
        sends no more, and reads on until the peer hangs up.

        Args:
            linger: How many seconds the peer gets to do so; 0: it has nothing to lose.
        """
        transport = self._transport
        if transport is None or self.lost:
            return
        self.flush()
        if self._closed is None:
            self._closed = self.loop.create_future()
        self._discarding = True
        if self.gone:
            transport.abort()
        timer: asyncio.TimerHandle | None = None
        if linger and not self.input_ended and transport.can_write_eof():
            self._resume_reading()
            transport.write_eof()
            timer = self.loop.call_later(linger, transport.abort)
        else:
            transport.close()
            # Where all is written, the next turn of the loop closes it, and no clock has to be set.
            if self.kind == "tls" or transport.get_write_buffer_size():
                timer = self.loop.call_later(self._limits.write_timeout, transport.abort)
        try:
            await self._closed
        finally:
            if timer is not None:
                timer.cancel()
            transport.abort()

    # What the server's housekeeping calls.

    def tick(self, now: float, *, idle: bool) -> str:
        """Look for peers that take or give nothing.

        Args:
            now: The loop's time.
            idle: Whether no request of this connection is outstanding.

        Returns:
            Why to drop the connection: `stalled`, `starved`, `idle`; or "".
        """
        # Without a request outstanding, what is held is a line that does not go on.
        holding = self._paused or self.charged > 0
        return self.patience.tick(now, waiting=self.unread_output, holding=holding, idle=idle)

    def _pull(self) -> None:
        """Hand on what the bytes mean, as far as they are understood, and not too much in one turn."""
        receiver = self._receiver
        if receiver is None or self.backlog:
            return
        codec = self.codec
        pending: int | None = None
        left = _EVENTS_PER_TURN
        try:
            while not self._held:
                if left <= 0:
                    self.backlog = True
                    self.loop.call_soon(self._go_on)
                    break
                pending = None if self._batches is None else self._batches.hand_out(receiver.on_requests)
                if pending is not None:
                    left -= _EVENTS_PER_BATCH
                    if pending or self.input_ended:
                        continue
                    break
                event = codec.next_event()
                if event is NEED_DATA:
                    break
                if event is END_OF_INPUT:
                    receiver.on_end_of_input()
                    break
                receiver.on_event(event)
                left -= 1
        except RemoteProtocolError as exc:
            logger.info("! %s", exc)
            self._discarding = True
            receiver.on_protocol_error(exc)
        if pending is None:
            pending = codec.pending
        if self.queued + pending >= UNIT or self.charged or self._held or self.backlog:
            self.regulate()

    def _go_on(self) -> None:
        """Understand more of what was read in an earlier turn."""
        self.backlog = False
        self._pull()
        if not self.backlog:
            self.regulate()
            if self.lost and self._receiver is not None:
                self._receiver.on_end_of_input()

    def regulate(self) -> None:
        """Stop or go on reading, by how much has been read and not served."""
        if self.lost:
            return
        held = self.queued + self.codec.pending
        units = held // UNIT
        if units != self.charged:
            change, self.charged = units - self.charged, units
            self._budget.change(change)
        if self._held or self.backlog or held > self._limits.max_queued_per_connection:
            self._pause_reading()
        elif self.charged and self._budget.exhausted:
            self._budget.wait(self, self.regulate)
            self._pause_reading()
        else:
            self._resume_reading()

    def _pause_reading(self) -> None:
        if not self._paused and self._transport is not None and not self.input_ended:
            self._paused = True
            self._transport.pause_reading()
            self._watch_for_hangup()

    def _resume_reading(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._budget.forget(self)
            if not self.input_ended and not self._transport.is_closing():
                self._transport.resume_reading()

    def _watch_for_hangup(self) -> None:
        if not self._watching:
            self._watching = True
            self._watch.watch(self.sock.fileno(), self._on_hangup)

    def _on_hangup(self) -> None:
        self._watching = False
        self._peer_gone()
        if self.input_ended:
            self.abort()
        # else what it sent before it left is still to be read, and served

    def _peer_gone(self) -> None:
        if not self.gone:
            self.gone = True
            self.congested = False
            self._wake_drained()
            if self._receiver is not None:
                self._receiver.on_vanished()
