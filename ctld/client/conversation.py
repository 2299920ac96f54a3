"""One conversation with a server, blocking: what the blocking client and `ctlctl` are made of.

It needs the standard library only and starts quickly: not even `typing` is loaded.

Theory of operation.  A call is one write and then reads until its final message.  Requests
carry no id: they are answered in order, by servers of either version.  Nothing is awaited
before the first request goes out, because a banner may never come; whether the server
speaks version 2 is known once the first message is there.

Whatever ends a call before its final message (an exception of the caller, Ctrl-C, a
deadline) leaves bytes on the way that nobody will read.  Such a connection is closed, and
the next call makes a new one: a stream of answers is never trusted after a gap.
"""

from __future__ import annotations

import os
import time

from ctld.address import Address, default_address, parse_address
from ctld.client.connecting import connect
from ctld.client.wire import (
    BANNER_WAIT,
    DEADLINE_GRACE,
    MAX_LINE,
    TOO_OLD_TO_DETACH,
    LineReader,
    Update,
    check_connectable,
    check_deadline,
    check_size,
    classify,
    decode_line,
    encode_cancel,
    encode_request,
    failure_to_error,
    is_banner,
    protocol_of,
)
from ctld.errors import ConnectionLost, DeadlineExceeded, LocalProtocolError, RemoteProtocolError

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    import _socket
    from collections.abc import Generator, Mapping
    from ssl import SSLContext
    from typing import Any, Literal, Self, TypeAlias

    News: TypeAlias = tuple[Literal["progress"], Update] | tuple[Literal["item", "response"], Any]

__all__ = ["WRITE_TIMEOUT", "Conversation"]

# Seconds within which a server must have read a request: after that it is stuck, not slow.
WRITE_TIMEOUT = 60.0

_READ_SIZE = 64 * 1024

# Seconds after which a wait looks up.  A signal that comes just before the system call is
# seen by Python only after it, and nobody presses Ctrl-C to wait for the next message.
_TICK = 1.0

# The same while a cancel waits for room in the socket: the daemon has not read the request yet.
_SHORT_TICK = 0.02

_NOTHING: Mapping[str, object] = {}


class Conversation:
    """A connection to a daemon, one call at a time.

    It connects at the first call, or on entering `with`; after a lost connection the next
    call makes a new one.  It is not thread-safe: give each thread a client of its own.
    Only `cancel()` may be called from a signal handler while a call is under way.

    Args:
        address: `unix:PATH`, a path, `tcp:HOST:PORT`, `tls:HOST:PORT` or `ssh://HOST`; None: `CTLD_SOCKET`,
            else the default of this user.
        tls: For `tls:`; None: as `CTLD_TLS_CA`, `CTLD_TLS_CERT` and `CTLD_TLS_KEY` say.
        max_line: The longest message to take from the server, in bytes.
        remote: For `ssh:`, the program to start over there.

    Raises:
        ConfigError: The address is none that a client can connect to.
    """

    def __init__(
        self,
        address: str | Address | None = None,
        *,
        tls: SSLContext | None = None,
        max_line: int = MAX_LINE,
        remote: str = "ctlctl",
    ) -> None:
        if address is None:
            address = default_address(os.environ, os.getuid())
        elif isinstance(address, str):
            address = parse_address(address)
        self.address = check_connectable(address)
        self._tls = tls
        self._max_line = max_line
        self._remote = remote
        self._sock: _socket.socket | None = None
        self._forget()

    def _forget(self) -> None:
        self._reader = LineReader(self._max_line)
        self._banner: dict[str, Any] | None = None
        self._protocol = 0  # not known yet
        self._running = self._sending = self._cancel_wanted = self._torn = False

    @property
    def banner(self) -> Mapping[str, Any] | None:
        """What the server said of itself; None before the first answer, or if it said nothing."""
        return self._banner

    @property
    def protocol(self) -> int:
        """The version of the protocol that the server speaks; 0 while that is not known."""
        return self._protocol

    @property
    def running(self) -> bool:
        """Whether a call is under way, so that there is something to cancel."""
        return self._running

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def connect(self) -> None:
        """Connect, if there is no connection.

        Raises:
            ConnectFailed: It did not work; the message says what to do about it.
        """
        if self._sock is None:
            sock = connect(self.address, self._tls, remote=self._remote)
            self._forget()
            self._sock = sock

    def close(self) -> None:
        """Close the connection; nothing happens if there is none."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def run(
        self,
        command: str,
        opts: Mapping[str, object] = _NOTHING,
        /,
        *,
        stream: bool = False,
        deadline: float | None = None,
        detach: bool = False,
        lasting: bool = False,
    ) -> Generator[News, None, None]:
        """Run a command and yield everything that the server says about it.

        A lasting command answers more than once, as `event_subscribe` does: it goes on until
        it fails, or this is closed.

        Yields:
            `("progress", Update)` and `("item", value)`, and at the end `("response", value)`.

        Raises:
            CommandFailed: It failed.
            ConnectionFailed: There is no server, or it went away.
            ProtocolError: One side broke the rules.
        """
        if self._running:
            raise LocalProtocolError("this client is busy with another call; it does one at a time")
        check_deadline(deadline)
        line = encode_request(command, opts, stream=stream, deadline=deadline, detach=detach)
        started = time.monotonic()
        self.connect()
        check_size(line, self._banner)
        self._sending = True  # first: a signal handler must not cancel what is not sent yet
        self._running = True
        ended = False
        try:
            if detach:
                self._check_detach()
            self._send(line)
            while not ended:
                message = self._receive(command, deadline, started)
                kind = classify(message)
                # Set before the yield: a caller may well not come back for more.
                ended = kind == "failure" or (kind == "response" and not lasting)
                if ended:
                    self._running = self._cancel_wanted = False
                    if self._torn:
                        self.close()  # half a line is on its way, and would spoil the next
                if kind == "progress":
                    yield "progress", Update(message)
                elif kind == "failure":
                    raise failure_to_error(message)
                else:
                    yield kind, message[kind]
        finally:
            if not ended:
                self._abandon()

    def cancel(self) -> bool:
        """Ask the server to cancel the call that is under way; it still ends in its own time.

        This may be called from a signal handler, even while the request is being written.

        Returns:
            False if that cannot be: nothing is under way, or the server speaks version 1.
        """
        if not self._running or self._protocol == 1:
            return False
        if self._sending or not self._protocol:
            self._cancel_wanted = True  # as soon as that can be
        else:
            self._send_cancel()
        return True

    def _check_detach(self) -> None:
        """Refuse what an older server would not understand, and would run in the foreground."""
        give_up = time.monotonic() + BANNER_WAIT
        while not self._protocol:
            line = self._reader.next_line()
            if line is not None:
                message = decode_line(line)
                if not self._take_banner(message):
                    if classify(message) == "failure":
                        raise failure_to_error(message)  # it refused before it was asked
                    raise RemoteProtocolError("the server answered what nobody asked")
            elif not self._read(give_up):
                return  # no banner: it may still know what to do
        if self._protocol == 1:
            raise LocalProtocolError(TOO_OLD_TO_DETACH)

    def _send(self, line: bytes) -> None:
        assert self._sock is not None
        try:
            self._sock.settimeout(WRITE_TIMEOUT)
            self._sock.sendall(line)
        except TimeoutError:
            raise ConnectionLost(f"the daemon on {self.address} reads nothing: is it stuck?") from None
        except OSError:
            pass  # it hung up; what it said before, such as that it is busy, is still to be read
        finally:
            self._sending = False
        self._cancel_late()

    def _receive(self, command: str, deadline: float | None, started: float) -> dict[str, Any]:
        """Return the next message that is not the banner."""
        while True:
            while (line := self._reader.next_line()) is None:
                give_up = None
                if deadline is not None:
                    # Version 1 knows no deadlines: there it is this side alone that keeps it.
                    give_up = started + deadline + (0.0 if self._protocol == 1 else DEADLINE_GRACE)
                if not self._read(give_up):
                    raise DeadlineExceeded(f"no answer to {command} within its deadline of {deadline:g} s")
            message = decode_line(line)
            if self._protocol or not self._take_banner(message):
                return message

    def _take_banner(self, message: dict[str, Any]) -> bool:
        """Learn from the first message which version this is; tell whether it is the banner."""
        if not is_banner(message):
            self._protocol = 1
            return False
        self._banner = message
        self._protocol = protocol_of(message)
        self._cancel_late()
        return True

    def _cancel_late(self) -> None:
        """Send the cancel that was asked for before it could be sent."""
        if self._cancel_wanted and self._protocol and not self._sending:
            self._cancel_wanted = False
            self.cancel()

    def _read(self, give_up: float | None) -> bool:
        """Read what there is; False if nothing came in time."""
        while True:
            if self._sock is None:
                raise ConnectionLost(f"this client's connection to {self.address} was closed")
            self._cancel_late()
            tick = _SHORT_TICK if self._cancel_wanted else _TICK
            remaining = tick if give_up is None else min(give_up - time.monotonic(), tick)
            if remaining <= 0:
                return False
            try:
                self._sock.settimeout(remaining)
                data = self._sock.recv(_READ_SIZE)
            except TimeoutError:
                continue
            except OSError as error:
                raise ConnectionLost(f"the connection to {self.address} was lost: {error.strerror or error}") from error
            if not data:
                raise ConnectionLost(f"the daemon on {self.address} closed the connection before it answered")
            self._reader.feed(data)
            return True

    def _send_cancel(self) -> None:
        """Write the cancel line if that does not block: this may be a signal handler."""
        if self._sock is None:
            return
        line = encode_cancel()
        before = self._sock.gettimeout()
        try:
            self._sock.settimeout(0)
            self._torn = self._sock.send(line) < len(line)
        except BlockingIOError:
            self._cancel_wanted = True  # there is no room yet: `_read()` tries again
        except OSError:
            pass  # it is gone, or reads nothing: then nothing can be asked of it
        finally:
            self._sock.settimeout(before)

    def _abandon(self) -> None:
        """Give up a call whose answer is still to come, and with it the connection."""
        if self._protocol != 1:
            self._send_cancel()
        self._running = self._sending = self._cancel_wanted = False
        self.close()
