"""What goes out to one client: joined into one write for each turn of the loop, and no more than it reads.

A peer that does not read stops what is made for it; one that is gone is no error.
"""

import asyncio
from typing import Any, Final

from ctld.limits import Limits
from ctld.outbox import Outbox
from ctld.patience import Patience
from ctld.wire.codec import Codec
from ctld.wire.messages import Outgoing, RequestId

__all__ = ["Outlet"]

# Messages are joined up to this size before they are written; larger joints only cost
# memory, and lists of large pieces make the allocator give memory back and take it again.
_FLUSH_AT: Final = 64 * 1024


class Outlet(asyncio.Protocol):
    """The half of a connection that writes.

    Args:
        codec: The translation between bytes and messages.
        limits: The bounds.
        outbox: What all connections of the server write at the end of a turn.

    Attributes:
        codec: The translation between bytes and messages.
        loop: The loop that it lives in.
        gone: Whether the peer is gone, so that nobody reads what is sent.
        lost: Whether the transport is gone too; before that, what the peer left may still be read.
        congested: Whether the peer's unread output exceeds the high-water mark.
        patience: How long a peer that takes or gives nothing is waited for.
    """

    __slots__ = (
        "_drained",
        "_flush_scheduled",
        "_limits",
        "_outbox",
        "_transport",
        "codec",
        "congested",
        "gone",
        "loop",
        "lost",
        "patience",
    )

    def __init__(self, codec: Codec, limits: Limits, outbox: Outbox) -> None:
        self.codec = codec
        self.loop = outbox.loop
        self.congested = self.gone = self.lost = False
        self.patience = Patience(limits)
        self._limits = limits
        self._outbox = outbox
        self._transport: asyncio.Transport | None = None
        self._drained: list[asyncio.Future[None]] | None = None
        self._flush_scheduled = False

    # What the conversation calls.

    def send(self, message: Outgoing, request_id: RequestId | None = None, more: bool = True) -> None:
        """Send a message; a peer that is gone is no error.

        Args:
            message: The message.
            request_id: The id of its request, if that had one.
            more: Whether more of this connection is likely to follow in this turn of the loop;
                else it may be written at once.

        Raises:
            LocalProtocolError: The wire cannot carry it; nothing of it has been sent.
        """
        if self.gone:
            return
        waiting = self.codec.send(message, request_id)
        if waiting > _FLUSH_AT:
            self.flush()
        elif not more and self._outbox.at_once:
            self._outbox.at_once -= 1
            self.flush()
        elif not self._flush_scheduled:
            self._flush_scheduled = True
            self._outbox.add(self)

    def flush(self) -> None:
        """Write what has been sent in this turn."""
        self._flush_scheduled = False
        data = self.codec.data_to_send()
        transport = self._transport
        if data and transport is not None and not self.gone:
            self.patience.written += len(data)
            transport.write(data)

    async def drained(self) -> None:
        """Wait until the peer has read enough; returns at once for a peer that is gone."""
        while self.congested and not self.gone:
            waiter = self.loop.create_future()
            if self._drained is None:
                self._drained = []
            self._drained.append(waiter)
            await waiter

    def abort(self) -> None:
        """Drop the connection, and what was not written yet."""
        if self._transport is not None and not self.lost:
            self._transport.abort()

    @property
    def made(self) -> bool:
        """Whether there is a transport; over TLS only after the handshake."""
        return self._transport is not None

    @property
    def transport(self) -> asyncio.Transport:
        """The transport; only once it exists."""
        assert self._transport is not None
        return self._transport

    @property
    def unread_output(self) -> int:
        """The bytes that the peer has not taken from us."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def transport_info(self, name: str) -> Any:
        """Return what the transport knows of its other end, such as `ssl_object`."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    # What the transport calls.

    def pause_writing(self) -> None:
        """The peer reads too slowly."""
        self.congested = True

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self.congested = False
        self._wake_drained()

    def _wake_drained(self) -> None:
        waiting, self._drained = self._drained, None
        for waiter in waiting or ():
            if not waiter.done():
                waiter.set_result(None)
