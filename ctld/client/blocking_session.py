"""Sessions of the blocking client: the same as the asynchronous ones, with one thread.

Whatever waits here does both: it reads what has come, and sends what is still to be sent.  So
a program that does not read until its output has been read holds up nothing.
"""

from __future__ import annotations

import errno
import select
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ctld.client.connecting import connect
from ctld.client.session_core import STDERR, STDOUT, Output, SessionCore, session_member
from ctld.client.wire import encode_request
from ctld.errors import ConnectionLost, TooLarge

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator, Mapping
    from ssl import SSLContext

    from ctld.address import Address

__all__ = ["BlockingSession", "open_blocking_session"]

_READ_SIZE: Final = 64 * 1024

# What waits to be sent; above it `write()` waits.
_HIGH: Final = 256 * 1024

# Output at which a session is given up whose one stream is read and the other is not.
_MAX_HELD: Final = 64 * 1024 * 1024

# Keep-alive (N5): who has said nothing for so long pings; who is silent for so long is dead.
_PING_AFTER: Final = 15.0
_DEAD_AFTER: Final = 45.0

_NOT_READY: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR})


class BlockingSession:
    """A program that runs on the other side.

    Iterate over `stdout` and `stderr`, or over `output()` for both in the order in which they
    came; type by `write()`; read `exit_status`.  When the connection is lost before the
    program's end, all of them raise `ConnectionLost`.
    """

    def __init__(self, sock: _socket.socket, where: str, max_line: int, *, remote: bool) -> None:
        self._sock = sock
        self._core = SessionCore(where, max_line)
        self._out = bytearray()
        self._pieces: deque[Output] = deque()
        self._held = 0
        self._open = {STDOUT, STDERR}
        self._remote = remote
        self._heard = self._said = time.monotonic()
        sock.settimeout(0)

    @property
    def id(self) -> str:
        """The session's id, by which other clients find it."""
        return self._core.id

    @property
    def over(self) -> bool:
        """Whether the program has ended, and all its output is here."""
        return self._core.over

    @property
    def stdout(self) -> Iterator[bytes]:
        """The program's standard output, or its terminal."""
        return self._read(STDOUT)

    @property
    def stderr(self) -> Iterator[bytes]:
        """The program's standard error; nothing if it has a terminal."""
        return self._read(STDERR)

    @property
    def exit_status(self) -> int:
        """The program's exit status, once it has ended: 128 + N if signal N ended it.

        Raises:
            CommandFailed: It did not end by itself, or this client has left it.
            ConnectionLost: The connection ended before the program.
        """
        while not self._core.over:
            self.pump()
        return self._core.status()

    def output(self) -> Iterator[tuple[int, bytes]]:
        """Iterate over (1 for stdout or 2 for stderr, bytes) as they come, to the end of both."""
        while True:
            yield from ((piece.stream, piece.data) for piece in self.take())
            if self._core.over and not self._pieces:
                return
            if not self._pieces:
                self.pump()

    def write(self, data: bytes) -> None:
        """Have the program read something; waits while it is slow to.

        Raises:
            ConnectionLost: The connection is gone.
        """
        if data:
            self.post(SessionCore.stdin(data))
            while len(self._out) > _HIGH and not self._core.over:
                self.pump()

    def close_stdin(self) -> None:
        """Let the program see the end of its input."""
        self.post(SessionCore.stdin(b""))

    def resize(self, rows: int, cols: int) -> None:
        """Tell the program the size of the window."""
        self.post(SessionCore.resize(rows, cols))

    def signal(self, name: str) -> None:
        """Send a signal to the program and its children: `INT`, `TERM`, ..."""
        self.post(SessionCore.signal(name))

    def detach(self) -> None:
        """Leave the program running; `session_attach` with its id joins it again."""
        self.post(SessionCore.leave())
        while not self._core.over:
            self.pump()

    # For those who wait for more than this session, as `ctlctl` does.

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._sock.fileno()

    @property
    def unsent(self) -> int:
        """How many bytes still wait to be sent: wait for writing, too."""
        return len(self._out)

    @property
    def crowded(self) -> bool:
        """Whether so much waits to be sent that nothing more should be written for now."""
        return len(self._out) > _HIGH

    def take(self) -> list[Output]:
        """Return the output that is here."""
        pieces = list(self._pieces)
        self._pieces.clear()
        self._held = 0
        return pieces

    def post(self, data: bytes) -> None:
        """Send frames as soon as that is possible; those for a program that has ended are dropped."""
        if not self._core.over:
            self._out += data
            self._send()

    def pump(self, timeout: float | None = None) -> None:
        """Wait until there is something to read, and read it; send meanwhile.

        Raises:
            CommandFailed: The session was refused.
            ConnectionLost: The connection is gone.
        """
        give_up = None if timeout is None else time.monotonic() + timeout
        while not self._receive():
            wait = self.keep_alive()
            if give_up is not None:
                wait = min(wait, give_up - time.monotonic())
                if wait <= 0:
                    return
            # Not select(): this process may have more descriptors than that can name.
            poll = select.poll()
            poll.register(self._sock.fileno(), select.POLLIN | (select.POLLOUT if self._out else 0))
            for _, events in poll.poll(wait * 1000):
                if events & select.POLLOUT:
                    self._send()

    def keep_alive(self) -> float:
        """Do what the keep-alive needs; return after how many seconds to call this again."""
        now = time.monotonic()
        if not self._core.begun or self._core.over:
            return _PING_AFTER
        # A UNIX socket tells of a dead server by itself.
        if self._remote and now - self._heard >= _DEAD_AFTER:
            raise self._core.lost("nothing was heard of the server")
        if now - self._said >= _PING_AFTER:
            self.post(SessionCore.ping())
        return max(_PING_AFTER - (now - self._said), 0.1)

    def begin(self, line: bytes) -> None:
        """Ask for the session, and wait for "continue"."""
        self._out += line
        self._send()
        while not self._core.begun:
            self.pump()

    def _read(self, stream: int) -> Iterator[bytes]:
        while True:
            index = next((i for i, piece in enumerate(self._pieces) if piece.stream == stream), None)
            if index is not None:
                piece = self._pieces[index]
                del self._pieces[index]
                self._held -= len(piece.data)
                yield piece.data
            elif self._core.over or stream not in self._open:
                return
            else:
                self.pump()

    def _receive(self) -> bool:
        """Read what there is; False if nothing is."""
        if self._core.over:
            return True
        try:
            data = self._sock.recv(_READ_SIZE)
        except OSError as error:
            if _is_not_ready(error):
                return False
            raise self._core.lost(error.strerror or str(error)) from error
        if not data:
            raise self._core.lost()
        self._heard = time.monotonic()
        for piece in self._core.feed(data):
            if piece.data:
                self._pieces.append(piece)
                self._held += len(piece.data)
            else:
                self._open.discard(piece.stream)
        if self._held > _MAX_HELD:
            raise TooLarge(f"more than {_MAX_HELD} bytes of the session were not read")
        self._out += self._core.answers()
        self._send()
        return True

    def _send(self) -> None:
        self._said = time.monotonic()
        while self._out:
            try:
                count = self._sock.send(self._out[:_HIGH])
            except OSError as error:
                if _is_not_ready(error):
                    return
                if error.errno in (errno.EPIPE, errno.ECONNRESET):
                    self._out.clear()  # what it said before it hung up is still to be read
                    return
                raise ConnectionLost(f"the session cannot be written to: {error.strerror or error}") from error
            del self._out[:count]


def _is_not_ready(error: OSError) -> bool:
    # TLS says so by classes of its own, which are only there if it is used.
    return error.errno in _NOT_READY or type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")


@contextmanager
def open_blocking_session(
    address: Address,
    tls: SSLContext | None,
    max_line: int,
    command: str,
    opts: Mapping[str, object],
    wanted: Mapping[str, Any],
    *,
    remote: str = "ctlctl",
) -> Iterator[BlockingSession]:
    """Open a session on a connection of its own; see `Client.session()`."""
    line = encode_request(command, opts, session=session_member(**wanted))
    sock = connect(address, tls, remote=remote)
    try:
        session = BlockingSession(sock, str(address), max_line, remote=address.kind != "unix")
        session.begin(line)
        yield session
    finally:
        sock.close()
