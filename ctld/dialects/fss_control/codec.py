"""One connection of the FSS control protocol on the server's side: a packet in, a packet out.

What is wrong with a request is an `Invalid` whose field `status` says it as FSS does.  There
is one request and one answer: after the request the input has ended, whatever follows.
"""

from typing import Final

from ctld.dialects.fss_control.actions import INIT_ACTIONS, read_order
from ctld.dialects.fss_control.packet import HEAD_SIZE, MAX_PACKET, MalformedPacket, decode_head, encode_packet
from ctld.dialects.fss_control.payload import LengthOf, MalformedPayload, decode_payload
from ctld.dialects.fss_control.responses import Response, encode_response, message_text
from ctld.dialects.fss_control.statuses import (
    ACCESS_DENIED,
    BUSY,
    DONE,
    FAILURE,
    HEADER_NOT,
    KNOWN_NOT,
    PACKET_NOT,
    SUCCESS,
    SUPPORTED_NOT,
    TIME_OUT,
    TOO_LARGE,
    TOO_SMALL,
    VALID_NOT,
)
from ctld.dialects.sentence import sentence_of
from ctld.errors import LocalProtocolError
from ctld.wire.codec import END_OF_INPUT, NEED_DATA, Pause
from ctld.wire.messages import Failure, Invalid, Outgoing, Progress, Reply, Request, RequestId

__all__ = ["ERRORS", "OUTCOMES", "FssCodec"]

ERRORS: Final = {
    "bad-request": HEADER_NOT,
    "denied": ACCESS_DENIED,
    "invalid-options": VALID_NOT,
    "not-found": KNOWN_NOT,
    "too-large": TOO_LARGE,
    "unknown-command": SUPPORTED_NOT,
}
"""Slugs that mean that an action was not even tried, and what FSS calls them."""

OUTCOMES: Final = {"busy": BUSY, "deadlock": BUSY, "locked": BUSY, "shutting-down": BUSY}
"""Slugs that mean that an action could not be carried out now; every other slug is `F_failure`."""


class FssCodec:
    """The translation of one connection.

    Args:
        max_size: The largest packet that is taken.
        tolerant: Whether an impossible size is tried in the other byte order.
        length_of: What `length` counts.
        init_type: The type of answers about kexec, reboot and shutdown.

    Attributes:
        event_size: How many bytes of input the latest event holds on to.
        action: The action that was asked for, once it is known.
    """

    def __init__(
        self,
        *,
        max_size: int = MAX_PACKET,
        tolerant: bool = False,
        length_of: LengthOf = "payload",
        init_type: str = "init",
    ) -> None:
        self.event_size = 0
        self.action = ""
        self._max_size = max_size
        self._tolerant = tolerant
        self._length_of: LengthOf = length_of
        self._init_type = init_type
        self._received = bytearray()
        self._outgoing = b""
        self._size: int | None = None
        self._ended = False
        self._done = False
        self._expired = False

    @property
    def pending(self) -> int:
        """How many received bytes are not understood yet."""
        return len(self._received)

    def receive_data(self, data: bytes) -> None:
        """Take bytes that the peer sent; what follows the request is nobody's."""
        if not self._done:
            self._received += data

    def receive_eof(self) -> None:
        """Learn that the peer will send no more."""
        self._ended = True

    def expire(self) -> bool:
        """Learn that the time for a packet is over; tell whether there was none."""
        self._expired = True
        return not self._done

    def next_event(self) -> Request | Invalid | Pause:
        """Return the request, once it is whole."""
        if self._done:
            return END_OF_INPUT
        try:
            if self._size is None and len(self._received) >= HEAD_SIZE:
                head = bytes(self._received[:HEAD_SIZE])
                self._size = decode_head(head, max_size=self._max_size, tolerant=self._tolerant)
            if self._size is not None and len(self._received) >= self._size:
                return self._request(bytes(self._received[HEAD_SIZE : self._size]))
        except MalformedPacket as exc:
            return self._invalid(str(exc), exc.status)
        except MalformedPayload as exc:
            self.action = exc.action
            return self._invalid(str(exc), exc.status)
        if not self._ended:
            return NEED_DATA
        if self._expired:
            return self._invalid("the packet took too long", TIME_OUT)
        if self._size is not None:
            text = f"the packet ends after {len(self._received)} of {self._size} bytes"
            return self._invalid(text, TOO_SMALL)
        return self._invalid(f"a packet has at least {HEAD_SIZE} bytes", PACKET_NOT)

    def send(self, message: Outgoing, request_id: RequestId | None = None) -> int:
        """Encode an answer.

        Raises:
            LocalProtocolError: The message is no answer, or the second one.
        """
        if isinstance(message, Progress):
            return len(self._outgoing)  # this wire has no room for it
        if self._outgoing or not isinstance(message, Reply | Failure):
            raise LocalProtocolError("an FSS controller gives one answer, and nothing else")
        response = self._answer(message) if isinstance(message, Reply) else self._refusal(message)
        self._outgoing = encode_packet(encode_response(response, length_of=self._length_of))
        return len(self._outgoing)

    def data_to_send(self) -> bytes:
        """Return, and forget, the bytes to write."""
        data, self._outgoing = self._outgoing, b""
        return data

    def trailing_data(self) -> bytes:
        """Return, and forget, the bytes that were received and not understood yet."""
        data = bytes(self._received)
        self._received.clear()
        return data

    def _request(self, data: bytes) -> Request:
        self._finish(HEAD_SIZE + len(data))
        order = read_order(decode_payload(data, length_of=self._length_of))
        self.action = order.action
        return Request(order.action, {"order": order})

    def _invalid(self, message: str, status: str) -> Invalid:
        self._finish(len(self._received))
        return Invalid("bad-request", message, None, {"status": status})

    def _finish(self, size: int) -> None:
        self._done = True
        self.event_size = size
        self._received.clear()

    def _answer(self, reply: Reply) -> Response:
        return Response(self._type, SUCCESS if reply.response == SUCCESS else DONE, self.action)

    def _refusal(self, failure: Failure) -> Response:
        status = failure.fields.get("status", ERRORS.get(failure.code))
        text = message_text(sentence_of(failure))
        if status is None and self.action:
            return Response(self._type, OUTCOMES.get(failure.code, FAILURE), self.action, text)
        return Response("error", str(status or OUTCOMES.get(failure.code, FAILURE)), self.action, text)

    @property
    def _type(self) -> str:
        return self._init_type if self.action in INIT_ACTIONS else "controller"
