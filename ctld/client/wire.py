"""The client's side of the native dialect: lines and what they mean; pure and light.

Both clients use it, and so does every `ctlctl` call: it imports `json` and nothing else
that start-up has not loaded.  What the server's codec does with msgspec at full speed, this
does with dictionaries, because a client sees few messages and starts often.

The client's own rules: what is no JSON object, what has a `status` other than true or
false, and what says nothing that the protocol knows, ends the connection.  Trusting the
rest of such a stream would mean to guess.
"""

from __future__ import annotations

import json
import os

from ctld.errors import ConfigError, LocalProtocolError, RemoteProtocolError, TooLarge, error_from_wire
from ctld.wire.buffer import ReceiveBuffer

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal, NoReturn, TypeAlias

    from ctld.address import Address
    from ctld.errors import CommandFailed

    Kind: TypeAlias = Literal["progress", "item", "response", "failure"]

__all__ = [
    "BANNER_WAIT",
    "DEADLINE_GRACE",
    "MAX_LINE",
    "PROTOCOL",
    "TOO_OLD_TO_DETACH",
    "LineReader",
    "Update",
    "check_connectable",
    "check_deadline",
    "check_size",
    "classify",
    "decode_line",
    "encode_cancel",
    "encode_request",
    "failure_to_error",
    "is_banner",
    "protocol_of",
    "shortened",
]

# The longest line to take from a server.  Its own bound on a collected stream is 16 MiB by
# default; four times that leaves room for daemons that raised it, and still fits in memory.
MAX_LINE = 64 * 1024 * 1024

# Seconds that a server may stay silent after a deadline that it should have enforced: it
# cancels the command first, and a command may need a moment for its clean-up.
DEADLINE_GRACE = 5.0

# Seconds to wait for a banner before what only version 2 can do is asked for.
BANNER_WAIT = 2.0

TOO_OLD_TO_DETACH = "the daemon is too old to detach a command: it speaks version 1 of the protocol"

_MAX_SHOWN = 80  # of bytes that a server should not have sent, in an error of one line

# JSON's numbers have no bounds.  Progress is reckoned with, and no result of that must leave the floats.
_MAX_NUMBER = 1e300
_OWN_FAILURE_KEYS = frozenset(("status", "message", "code", "id"))


class Update:
    """News of a request that still runs, as the blocking client reports it.

    Attributes:
        message: A string for people; some daemons also send structures here.
        current: How much is done, where the daemon says so.
        total: How much there is.
        unit: Of what: `bytes`, `items`, or a word of the command's own.
        data: Anything for programs.
        seq: The number of this message within its operation; 0 where it has none.
    """

    __slots__ = ("current", "data", "message", "seq", "total", "unit")

    def __init__(self, message: Mapping[str, Any]) -> None:
        self.message: Any = message.get("progress")
        self.current: float | None = _number(message.get("current"))
        self.total: float | None = _number(message.get("total"))
        unit, seq = message.get("unit"), message.get("seq")
        self.unit: str = unit if isinstance(unit, str) else ""
        self.seq: int = seq if type(seq) is int else 0
        self.data: Any = message.get("data")

    def __repr__(self) -> str:
        return f"Update({self.message!r}, current={self.current!r}, total={self.total!r})"


class LineReader:
    """Whole lines out of the bytes that a server sends.

    Args:
        max_line: The longest line to take, in bytes.
    """

    __slots__ = ("_buffer", "_max_line")

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._buffer = ReceiveBuffer()
        self._max_line = max_line

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        self._buffer.feed(data)

    def next_line(self) -> bytes | bytearray | None:
        """Return the next line that is not blank, or None while it is incomplete.

        Raises:
            RemoteProtocolError: It is longer than this client takes.
        """
        while True:
            line = self._buffer.take_line()
            if len(self._buffer if line is None else line) > self._max_line:
                raise RemoteProtocolError(f"the server sent a line of more than {self._max_line} bytes")
            if line is None or (line and not line.isspace()):
                return line

    def take_rest(self) -> bytes:
        """Return, and forget, what is there of an incomplete line, or of another protocol."""
        return self._buffer.take_all()


def encode_request(
    command: str,
    opts: Mapping[str, object],
    *,
    request_id: int | None = None,
    deadline: float | None = None,
    stream: bool = False,
    detach: bool = False,
    session: Mapping[str, object] | None = None,
) -> bytes:
    """Return the line that asks for a command; a key of version 2 only where it is used.

    Raises:
        LocalProtocolError: JSON cannot carry the options.
    """
    message: dict[str, object] = {"cmd": command, "opts": dict(opts)}
    if request_id is not None:
        message["id"] = request_id
    if deadline is not None:
        message["deadline"] = deadline
    if stream:
        message["stream"] = True
    if detach:
        message["detach"] = True
    if session is not None:
        message["session"] = session
    return _encode(message)


def encode_cancel(request_id: int | None = None) -> bytes:
    """Return the line that cancels a request; None: the one without id that runs (N4)."""
    return _encode({"cancel": request_id})


def _encode(message: Mapping[str, object]) -> bytes:
    try:
        text = json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
        return text.encode() + b"\n"
    except UnicodeEncodeError:
        raise LocalProtocolError("the request cannot be sent: a text in it is no UTF-8") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise LocalProtocolError(f"the request cannot be sent as JSON: {error}") from error


def _plain(value: object) -> Any:
    """Stand in for what `json` does not know: msgspec's JSON is the rule, loaded only for this."""
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    import msgspec

    return msgspec.to_builtins(value, str_keys=True)


def decode_line(line: bytes | bytearray) -> dict[str, Any]:
    """Return the message on a line.

    Raises:
        RemoteProtocolError: It is no JSON object.
    """
    try:
        message = json.loads(line.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise RemoteProtocolError(f"the server sent no JSON: {shortened(line)}") from None
    if not isinstance(message, dict):
        raise RemoteProtocolError(f"the server sent no message: {shortened(line)}")
    return message


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def shortened(line: bytes | bytearray) -> str:
    """Return the beginning of a line as printable text, for an error message."""
    shown = ascii(bytes(line[:_MAX_SHOWN]).decode("latin-1"))
    return shown if len(line) <= _MAX_SHOWN else f"{shown}..."


PROTOCOL = 2
"""The version of the protocol that the clients speak; they know version 1 too."""


def is_banner(message: Mapping[str, Any]) -> bool:
    """Tell whether a first message is the banner: it has no `status` (N2)."""
    return "status" not in message


def protocol_of(banner: Mapping[str, Any]) -> int:
    """Return the version of the protocol that a banner announces: 1 where it does not say.

    Raises:
        RemoteProtocolError: The server speaks a version that came after this client (N1).
    """
    protocol = banner.get("protocol", 1)
    if type(protocol) is not int or protocol < 1:
        return 1
    if protocol > PROTOCOL:
        raise RemoteProtocolError(
            f"the daemon ({banner.get('version')}) speaks version {protocol} of the protocol, "
            f"and this client version {PROTOCOL}: the client is too old"
        )
    return protocol


def classify(message: Mapping[str, Any]) -> Kind:
    """Return what a message is, the banner excepted.

    Raises:
        RemoteProtocolError: It is nothing that the protocol knows.
    """
    status = message.get("status")
    if status is False:
        return "failure"
    if status is True:
        # In this order: the ancestor's client takes a message with both keys as progress.
        if "progress" in message:
            return "progress"
        if "item" in message:
            return "item"
        if "response" in message:
            return "response"
    shown = shortened(json.dumps(message).encode())
    raise RemoteProtocolError(f"the server sent a message that the protocol does not know: {shown}")


def failure_to_error(message: Mapping[str, Any]) -> CommandFailed:
    """Return the error that a failure message stands for, one class per slug (N3)."""
    text, code = message.get("message"), message.get("code")
    if not isinstance(text, str):
        text = "the command failed" if text is None else json.dumps(text)
    fields = {key: value for key, value in message.items() if key not in _OWN_FAILURE_KEYS}
    return error_from_wire(text, code if isinstance(code, str) and code else "failed", fields)


def check_connectable(address: Address) -> Address:
    """Return an address that a client can connect to.

    Raises:
        ConfigError: It only means something to a server.
    """
    if address.kind in ("fd", "systemd"):
        raise ConfigError(f"{address} is where a server listens; a client cannot connect to it")
    return address


def check_deadline(deadline: float | None) -> float | None:
    """Return a deadline that the protocol can carry.

    Raises:
        ValueError: It is not a number of seconds above 0.
    """
    if deadline is not None and not 0 < deadline < float("inf"):
        raise ValueError("a deadline is a number of seconds above 0")
    return deadline


def check_size(line: bytes, banner: Mapping[str, Any] | None) -> None:
    """Check a request against the `max_line` that a banner announced, if one did.

    Raises:
        TooLarge: The server would refuse it, without being able to say whose it was.
    """
    limit = (banner or {}).get("max_line")
    if type(limit) is int and 0 < limit < len(line) - 1:
        raise TooLarge(f"the request has {len(line) - 1} bytes, and the daemon takes {limit}", max_line=limit)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= _MAX_NUMBER else None
