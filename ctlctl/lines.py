"""A connection as lines and nothing more: for what is no call with one answer.

`raw` shows whatever comes, `monitor` gets answers without end, and a question that must not
take long has a bound that a server cannot stretch.
"""

from __future__ import annotations

import select
import time
from typing import TYPE_CHECKING, Any

from ctld.client.connecting import connect
from ctld.client.wire import LineReader, classify, decode_line, encode_request, failure_to_error, is_banner
from ctld.errors import ConnectionLost, DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ssl import SSLContext
    from typing import Self

    from ctld.address import Address

__all__ = ["Lines"]

_READ_SIZE = 64 * 1024
_TICK = 1.0  # seconds after which a wait looks up: a signal just before the system call is seen only after it
_WRITE_TIMEOUT = 60.0  # seconds within which a server must have read a line


class Lines:
    """A connection.

    Args:
        address: Where to.
        tls: For `tls`.
        remote: For `ssh`: the program to start over there.

    Attributes:
        banner: What the server said of itself; None while it has not.

    Raises:
        ConnectFailed: It did not work; the message says what to do about it.
    """

    def __init__(self, address: Address, tls: SSLContext | None = None, *, remote: str = "ctlctl") -> None:
        self._address = address
        self._sock = connect(address, tls, remote=remote)
        self._reader = LineReader()
        self.banner: dict[str, Any] | None = None
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._sock.close()

    def fileno(self) -> int:
        """Return the descriptor, to wait for."""
        return self._sock.fileno()

    def send(self, line: bytes) -> None:
        """Send bytes.

        Raises:
            ConnectionLost: The other side is gone, or reads nothing.
        """
        try:
            self._sock.settimeout(_WRITE_TIMEOUT)
            self._sock.sendall(line)
        except OSError as error:
            raise ConnectionLost(f"the connection to {self._address} was lost: {error.strerror or error}") from error

    def finish(self) -> None:
        """Say that nothing more will be sent."""
        import socket

        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # it is gone, as reading will tell

    def waiting(self) -> bool:
        """Tell whether something can be read that no descriptor announces any more (TLS)."""
        pending = getattr(self._sock, "pending", None)
        return bool(pending and pending())

    def feed(self) -> bool:
        """Read what has come; False at the end.

        Raises:
            ConnectionLost: The connection broke.
        """
        try:
            data = self._sock.recv(_READ_SIZE)
        except OSError as error:
            raise ConnectionLost(f"the connection to {self._address} was lost: {error.strerror or error}") from error
        self._reader.feed(data)
        return bool(data)

    def next_line(self) -> bytes | bytearray | None:
        """Return the next whole line; None if there is none yet."""
        return self._reader.next_line()

    def rest(self) -> bytes:
        """Return what is there of a last line without its end."""
        return self._reader.take_rest()

    def receive(self, give_up: float | None = None) -> dict[str, Any]:
        """Return the next message that is not the banner.

        Args:
            give_up: The monotonic time at which to stop waiting; None: never.

        Raises:
            ConnectionLost: There is none, and none will come.
            DeadlineExceeded: There was none in time.
            RemoteProtocolError: It is none.
        """
        while True:
            while (line := self.next_line()) is None:
                self._wait(give_up)
                if not self.feed():
                    raise ConnectionLost(f"the daemon on {self._address} closed the connection")
            message = decode_line(line)
            if self._begun or not is_banner(message):
                self._begun = True
                return message
            self.banner, self._begun = message, True

    def _wait(self, give_up: float | None) -> None:
        while not self.waiting():
            remaining = _TICK if give_up is None else min(give_up - time.monotonic(), _TICK)
            if remaining <= 0:
                raise DeadlineExceeded("the daemon did not answer in time")
            if select.select([self._sock], [], [], remaining)[0]:
                break
        # A descriptor may be ready for less than a TLS record.
        self._sock.settimeout(None if give_up is None else max(give_up - time.monotonic(), 0.01))

    def ask(self, command: str, opts: Mapping[str, object], within: float) -> Any:
        """Return the answer to a question, or give up in time.

        Raises:
            CommandFailed: The daemon says no, or nothing in time.
            ConnectionLost: The connection broke.
            ProtocolError: One side broke the rules.
        """
        give_up = time.monotonic() + within
        self.send(encode_request(command, opts))
        while True:
            message = self.receive(give_up)
            kind = classify(message)
            if kind == "failure":
                raise failure_to_error(message)
            if kind == "response":
                return message["response"]
