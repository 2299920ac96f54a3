"""The small surface that every dialect has between bytes and meaning.

Pushing bytes never does I/O and pulling events never blocks, so a codec is tested without
a loop and shared by whatever moves the bytes.  What the peer gets wrong within a message is
an event (`Invalid`), since it deserves an answer; `RemoteProtocolError` is only for what
ends the connection, and nothing else is raised.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final, Literal, Protocol, TypeAlias

from ctld.wire.messages import Incoming, Outgoing, Request, RequestId

__all__ = ["END_OF_INPUT", "NEED_DATA", "BatchCodec", "Codec", "Pause"]


class _Pause(Enum):
    """Why there is no event: the peer has to send more first, or will not send any more."""

    NEED_DATA = "need data"
    END_OF_INPUT = "end of input"


NEED_DATA: Final = _Pause.NEED_DATA
END_OF_INPUT: Final = _Pause.END_OF_INPUT

Pause: TypeAlias = Literal[_Pause.NEED_DATA, _Pause.END_OF_INPUT]


class Codec(Protocol):
    """One connection's translation, on the server's side."""

    @property
    def pending(self) -> int:
        """How many received bytes are not understood yet."""
        ...

    @property
    def event_size(self) -> int:
        """How many bytes of input the latest event holds on to, about."""
        ...

    def receive_data(self, data: bytes) -> None:
        """Take bytes that the peer sent."""
        ...

    def receive_eof(self) -> None:
        """Learn that the peer will send no more."""
        ...

    def next_event(self) -> Incoming | Pause:
        """Return what the bytes mean, one event at a time.

        Returns:
            An event; `NEED_DATA` when there is none yet; `END_OF_INPUT` when there will be none.

        Raises:
            RemoteProtocolError: The peer broke the rules so that the connection must end.
        """
        ...

    def send(self, message: Outgoing, request_id: RequestId | None = None) -> int:
        """Encode a message, into what `data_to_send()` returns next.

        Returns:
            How many bytes `data_to_send()` would return now.

        Raises:
            LocalProtocolError: The wire cannot carry it; nothing of it has been written.
        """
        ...

    def data_to_send(self) -> bytes:
        """Return, and forget, the bytes to write."""
        ...

    def trailing_data(self) -> bytes:
        """Return, and forget, the bytes that were received and not understood yet."""
        ...


class BatchCodec(Codec, Protocol):
    """A codec of a wire on which many small requests arrive together, and that is quicker with all of them at once."""

    def receive_requests(self, data: bytes) -> list[Request] | None:
        """Take bytes that the peer sent; return what they are, where they are whole requests and nothing else.

        Returns:
            The requests, which are the caller's now; None: it is as after `receive_data()`.
        """
        ...

    def return_requests(self, data: bytes, taken: int) -> None:
        """Take back all but the first requests of those that `receive_requests()` has just returned.

        Args:
            data: What they were made of.
            taken: How many of them are not taken back.
        """
        ...

    def hand_out(self, take: Callable[[list[Request]], int]) -> int | None:
        """Hand out the next requests together, if it is plain that they are such: without an id or a deadline.

        Args:
            take: Takes requests, in order, and returns how many; after one that may take over
                the connection it takes no more, because what follows may be no request (N5).

        Returns:
            How many bytes are left to understand; None: it has handed out nothing, and
            `next_event()` says what there is.
        """
        ...
