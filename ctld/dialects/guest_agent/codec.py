"""One connection of a guest agent's peer, where the commands are the daemon's.

`{"Command": "job.start", "name": "web"}` asks for `job_start`; the answer is
`{"Status": 0, "StatusMessage": "", "Response": ...}`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ctld.dialects.guest_agent.requests import RequestScanner, TooLong, options_of
from ctld.dialects.guest_agent.statuses import Status, failure_body
from ctld.dialects.sentence import sentence_of
from ctld.errors import LocalProtocolError
from ctld.wire.codec import END_OF_INPUT, NEED_DATA, Pause
from ctld.wire.jsontext import encode
from ctld.wire.messages import Failure, Invalid, Outgoing, Progress, Reply, Request, RequestId

__all__ = ["STATUSES", "GuestAgentCodec", "RawAnswer"]

STATUSES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "unknown-command": Status.COMMAND_NOT_FOUND,
        "failed": Status.HANDLER_ERROR,
        "denied": 110,
        "not-found": 111,
        "invalid-options": 112,
        "locked": 113,
        "deadlock": 114,
        "deadline": 115,
        "cancelled": 116,
        "busy": 117,
        "shutting-down": 118,
        "too-large": 119,
        "bad-request": 120,
        "syntax": 121,
        "internal": 122,
    }
)
"""The statuses of slugs; a slug of a command's own is 105."""


class RawAnswer(bytes):
    """An answer that is written as it is."""


class GuestAgentCodec:
    """The translation of one connection: one request, one answer.

    Args:
        max_request: The longest request that is taken.
        strict_errors: Whether a peer is told what the original only lets it guess.

    Attributes:
        event_size: How many bytes of input the latest event holds on to.
        answered: Whether there was an answer.
    """

    def __init__(self, max_request: int, *, strict_errors: bool = False) -> None:
        self.event_size = 0
        self.answered = False
        self._scanner = RequestScanner(max_request)
        self._strict_errors = strict_errors
        self._event: Request | Invalid | None = None
        self._done = False
        self._ended = False
        self._expired = False
        self._outgoing = b""

    @property
    def pending(self) -> int:
        """How many received bytes are not understood yet."""
        return self._scanner.pending

    def receive_data(self, data: bytes) -> None:
        """Take what the peer sent at a time: this wire counts it together (A2)."""
        if self._event is not None or self._done:
            return
        try:
            request = self._scanner.feed(data)
        except TooLong:
            self._done = True
            return
        if request is not None:
            self._event = _event_of(self._scanner.command, request)
            self.event_size = len(request)
            self._scanner.take_all()
        elif self._scanner.hopeless and self._strict_errors:
            self._event = _invalid(Status.BAD_REQUEST)

    def receive_eof(self) -> None:
        """Learn that the peer will send no more."""
        self._ended = True

    def expire(self) -> None:
        """Learn that the time is over: what is answered from now on nobody gets."""
        if self._strict_errors and self._event is None and not self._done:
            self._event = _invalid(Status.TIMEOUT)
        else:
            self._expired = True

    @property
    def understood(self) -> bool:
        """Whether there was a request."""
        return self._done

    def next_event(self) -> Request | Invalid | Pause:
        """Return the request, once it is whole."""
        event, self._event = self._event, None
        if event is not None:
            self._done = True
            return event
        if self._done:
            return END_OF_INPUT
        if not self._ended:
            return NEED_DATA
        self._done = True
        return END_OF_INPUT if self._expired else _invalid(Status.CONNECTION_ERROR)

    def send(self, message: Outgoing, request_id: RequestId | None = None) -> int:
        """Encode an answer.

        Raises:
            LocalProtocolError: The message is no answer, or the second one, or JSON cannot carry it.
        """
        if isinstance(message, Progress):
            return len(self._outgoing)  # this wire has no room for it
        if self.answered:
            raise LocalProtocolError("a guest agent gives one answer, and nothing else")
        if isinstance(message, Reply):
            body = _success(message.response)
        elif isinstance(message, Failure):
            status = message.fields.get("status") if message.code == "bad-request" else None
            if isinstance(status, Status):
                body = failure_body(status)
            elif message.code == "unknown-command":
                body = failure_body(Status.COMMAND_NOT_FOUND)  # whose sentence everybody expects
            else:
                body = failure_body(
                    STATUSES.get(message.code, Status.HANDLER_ERROR), sentence_of(message) or message.code
                )
        else:
            raise LocalProtocolError("a guest agent gives one answer, and nothing else")
        self.answered = True
        if not self._expired:
            self._outgoing += body
        return len(self._outgoing)

    def data_to_send(self) -> bytes:
        """Return, and forget, the bytes to write."""
        data, self._outgoing = self._outgoing, b""
        return data

    def trailing_data(self) -> bytes:
        """Return, and forget, the bytes that were received and not understood yet."""
        return self._scanner.take_all()


def _event_of(command: str, request: bytes) -> Request | Invalid:
    try:
        return Request(command, options_of(request))
    except (ValueError, RecursionError):
        return Invalid("invalid-options", "a number of the options has too many digits")


def _success(response: object) -> bytes:
    if isinstance(response, RawAnswer):
        return bytes(response)
    return b'{"Status":0,"StatusMessage":"","Response":' + encode(response) + b"}"


def _invalid(status: Status) -> Invalid:
    # Whoever reads the history of refusals sees the number; the sentence is the wire's own.
    return Invalid("bad-request", status.name.lower().replace("_", " "), None, {"status": status})
