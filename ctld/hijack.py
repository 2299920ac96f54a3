"""HijackedConnection: a connection whose bytes are not requests for a while (N5).

It takes the place of the `Connection` as the protocol of the transport, so that the ordinary
way of a request knows nothing of hijacking.  The `Connection` had stopped reading when the
request was parsed, and what it had read beyond that is handed on.

At the end it gives the place back.  After frames the client may have some under way still:
they are dropped up to the first byte that can begin a line.
"""

import array
import asyncio
import fcntl
import logging
import os
import socket
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from ctld.connection import Connection
from ctld.errors import Cancelled, CommandFailed, LocalProtocolError, RemoteProtocolError
from ctld.sessions.state import ENDINGS, LastWord, Way
from ctld.stream import Stream, StreamOwner
from ctld.wire.frames import MAX_PAYLOAD, FrameReader, FrameType, encode_frame
from ctld.wire.jsontext import encode
from ctld.wire.messages import Continue, Failure, Reply, RequestId

__all__ = ["HijackedConnection", "check_way"]

logger = logging.getLogger("ctld.connection")

# How much of the client's bytes may wait for their owner; then reading pauses.
_MAX_UNREAD: Final = 256 * 1024

# How often to look whether the client has read everything: there is no event for it.
_LOOK_EVERY: Final = 0.001

# A client sends as many descriptors as it was asked for; a hundred is beyond all reason.
_FD_SIZE: Final = array.array("i").itemsize


def check_way(way: Way, transport: str) -> None:
    """Refuse a way that a transport cannot go.

    Raises:
        CommandFailed: It cannot; the message says why.
    """
    ending = ENDINGS[way]
    if transport not in ending.transports:
        raise CommandFailed(f"not over {transport}: {ending.obstacle}")


class HijackedConnection(Stream, asyncio.Protocol):
    """A connection while somebody else owns its bytes.

    Args:
        connection: The connection; it holds its parser.
        way: What for.

    Attributes:
        goes_on: Whether the connection takes requests again afterwards.
    """

    def __init__(self, connection: Connection, way: Way) -> None:
        self.transport = connection.kind
        self.way = way
        self.goes_on = ENDINGS[way].goes_on
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._owner: StreamOwner | None = None
        self._unread = bytearray()
        self._reading = self._congested = False
        self._ended = False
        self._end_told = False
        self._gone_told = False
        self._late: FrameReader | None = None
        self._drained: asyncio.Future[None] | None = None
        self._deferred: list[Callable[[], object]] = []

    def say_continue(self, session_id: str, request_id: RequestId | None) -> None:
        """Send "continue", and take over."""
        connection = self._connection
        connection.send(Continue(session_id), request_id)
        connection.flush()  # what follows goes another way
        connection.patience.suspended = True
        self._unread += connection.codec.trailing_data()
        self._congested = connection.congested
        connection.transport.set_protocol(self)

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._late is not None:
            self._drop_late_frames(data)
        elif self._owner is not None:
            self._owner.on_data(data)
        else:
            self._unread += data
            if len(self._unread) > _MAX_UNREAD:
                self.pause()

    def eof_received(self) -> bool:
        """The client sends no more."""
        self._ended = True
        if self._late is not None:
            self._give_place_back(b"")
            return self._connection.eof_received()
        self._tell_end()
        return self.transport != "tls"

    def pause_writing(self) -> None:
        """The client reads too slowly."""
        self._congested = True
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._congested = False
        self._wake_drained()
        self._connection.resume_writing()
        if self._owner is not None:
            self._owner.on_drained()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._ended = True
        self._connection.connection_lost(exc)
        self._tell_end()
        self.on_hangup()

    # What the conversation calls.

    def on_hangup(self) -> None:
        """Nobody reads what is sent.  What the client sent before is still read, where somebody reads."""
        self._wake_drained()
        if self._owner is not None and not self._gone_told and (not self._reading or self._connection.lost):
            self._gone_told = True
            self._owner.on_gone()

    def last_word(self, outcome: Reply | Failure) -> Reply | Failure | None:
        """Say at the end what is to be said; return what the conversation has to say itself."""
        self._owner = None
        word = ENDINGS[self.way].last_word
        if word is LastWord.EXIT_FRAME:
            self.write(encode_frame(FrameType.EXIT, self._exit_payload(outcome)))
        if word is LastWord.MESSAGE:
            if isinstance(outcome, Failure):
                # The ancestor's client looks into the response of an error, too.
                outcome = Failure(outcome.message, outcome.code, {**outcome.fields, "response": {}})
            return outcome
        return None

    def give_back(self) -> None:
        """Let the connection have its place again."""
        connection = self._connection
        connection.flush()  # before those who waited for the end see another sign of it
        while self._deferred:
            self._deferred.pop()()
        connection.patience.suspended = False
        if connection.lost:
            return
        self.pause()
        if not self.goes_on:  # it will be closed, and nothing more is understood
            connection.input_ended = connection.input_ended or self._ended
            connection.transport.set_protocol(connection)
            return
        if self.way is not Way.FRAMES:
            self._give_place_back(bytes(self._unread))
            connection.resume()
            if self._ended:
                connection.eof_received()
            return
        unread, self._unread = bytes(self._unread), bytearray()
        self._late = FrameReader()
        connection.resume()
        if unread:
            self._drop_late_frames(unread)
        if self._ended and self._late is not None:
            self._give_place_back(b"")
            connection.eof_received()

    # What the owner calls.

    @property
    def gone(self) -> bool:
        """Whether nobody reads what is sent."""
        return self._connection.gone

    @property
    def congested(self) -> bool:
        """Whether the client is behind with reading."""
        return self._congested and not self.gone

    @property
    def backlog(self) -> int:
        """How many bytes wait for the client on this side of the kernel."""
        return self._connection.unread_output

    def give_to(self, owner: StreamOwner, *, reading: bool = True) -> None:
        """Let somebody own the bytes, those that have been read already first."""
        self._owner = owner
        if reading:
            unread, self._unread = bytes(self._unread), bytearray()
            self.resume()
            if unread:
                owner.on_data(unread)
            if self._ended:
                self._tell_end()
        if self.gone:
            self.on_hangup()

    def pause(self) -> None:
        """Read nothing for now."""
        if self._reading:
            self._reading = False
            if not self._ended:
                self._connection.transport.pause_reading()
            if self.gone:
                self._loop.call_soon(self.on_hangup)

    def resume(self) -> None:
        """Read again."""
        if not self._reading:
            self._reading = True
            if not self._ended and not self._connection.transport.is_closing():
                self._connection.transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send."""
        if not (connection := self._connection).gone:
            connection.patience.written += len(data)
            connection.transport.write(data)

    def unread(self, data: bytes) -> None:
        """Give back bytes that the owner did not use."""
        self._unread[:0] = data

    def defer(self, callback: Callable[[], object]) -> None:
        """Have something called when the client has been told the end."""
        self._deferred.append(callback)

    async def flush(self) -> None:
        """Wait until everything sent is in the kernel's hands."""
        transport = self._connection.transport
        if not self.backlog or self.gone or self.transport == "tls":
            return
        low, high = transport.get_write_buffer_limits()
        transport.set_write_buffer_limits(high=0)
        try:
            while self.backlog and not self.gone:
                self._drained = self._loop.create_future()
                await self._drained
        finally:
            self._drained = None
            if not self.gone:
                transport.set_write_buffer_limits(high=high, low=low)

    async def consumed(self, timeout: float) -> None:
        """Wait until the client has read everything, at most so many seconds."""
        await self.flush()
        give_up = self._loop.time() + timeout
        count = array.array("i", [0])
        while not self.gone and self._loop.time() < give_up:
            fcntl.ioctl(self._connection.sock.fileno(), termios.TIOCOUTQ, count)
            if not count[0]:
                return
            await asyncio.sleep(_LOOK_EVERY)

    async def take_fds(self, count: int, timeout: float) -> list[int]:
        """Receive descriptors, with a reader of our own: a transport's would drop them."""
        self.goes_on = False  # until all are here, nobody knows where the next request begins
        if self._unread:
            raise RemoteProtocolError(f"expected {count} descriptors, got bytes without any")
        taken: list[int] = []
        try:
            with self._connection.sock.dup() as sock:
                sock.setblocking(False)
                async with asyncio.timeout(timeout):
                    while len(taken) < count:
                        await self._readable(sock)
                        _receive_fds(sock, taken, count)
        except BaseException as exc:
            _close_all(taken)
            if isinstance(exc, TimeoutError):
                raise RemoteProtocolError(f"expected {count} descriptors within {timeout:g} s") from None
            raise
        self.goes_on = True
        return taken

    def detach(self) -> tuple[socket.socket, bytes]:
        """Give the bare socket away."""
        connection = self._connection
        if self.gone:
            raise Cancelled("the client has gone")
        if self.backlog:
            raise LocalProtocolError("flush before you detach: the client has not been sent everything")
        self.pause()
        sock = connection.sock.dup()
        sock.setblocking(True)
        self._owner = None
        connection.gone = True  # for us; whoever has the socket now will see for himself
        connection.transport.abort()
        return sock, bytes(self._unread)

    # Inside.

    async def _readable(self, sock: socket.socket) -> None:
        readable = self._loop.create_future()
        self._loop.add_reader(sock.fileno(), _set_once, readable)
        try:
            await readable
        finally:
            self._loop.remove_reader(sock.fileno())

    def _exit_payload(self, outcome: Reply | Failure) -> bytes:
        """Return what the exit frame says of the outcome of the command."""
        if isinstance(outcome, Failure):
            payload: dict[str, object] = {**outcome.fields, "error": outcome.code, "message": outcome.message}
        else:
            payload = {} if self.exit_status is None else {"exitstatus": self.exit_status}
            response = msgspec.json.decode(encode(outcome.response))
            if isinstance(response, dict):
                payload |= response
            elif response is not None:
                payload["response"] = response
            payload.setdefault("exitstatus", 0)
        text = encode(payload)
        if len(text) > MAX_PAYLOAD:
            return encode({"error": "too-large", "message": f"the result exceeds {MAX_PAYLOAD} bytes"})
        return text

    def _drop_late_frames(self, data: bytes) -> None:
        reader = self._late
        assert reader is not None
        reader.feed(data)
        try:
            while reader.next_frame() is not None:
                pass
        except RemoteProtocolError as exc:
            logger.info("! after a session: %s", exc)
            self._connection.abort()
            return
        if reader.at_lines:
            self._give_place_back(reader.take_rest())

    def _give_place_back(self, data: bytes) -> None:
        self._late = None
        self._unread.clear()
        self._connection.transport.set_protocol(self._connection)
        if data:
            self._connection.data_received(data)

    def _tell_end(self) -> None:
        if self._owner is not None and self._reading and not self._end_told:
            self._end_told = True
            self._owner.on_end()

    def _wake_drained(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)


def _receive_fds(sock: socket.socket, taken: list[int], count: int) -> None:
    """Receive one message of one NUL byte with descriptors; take them if they are wanted."""
    try:
        # One byte at a time: what follows the last descriptor is the next request's.
        data, ancillary, flags, _ = sock.recvmsg(1, socket.CMSG_SPACE(count * _FD_SIZE), socket.MSG_CMSG_CLOEXEC)
    except BlockingIOError:
        return
    except OSError as exc:
        raise Cancelled("the client has gone") from exc
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % _FD_SIZE])
    taken += fds  # the caller closes them if anything is wrong
    if not data:
        raise Cancelled("the client has gone")
    if data != b"\0" or not fds:
        raise RemoteProtocolError(f"expected {count} descriptors, got bytes without any")
    if flags & socket.MSG_CTRUNC or len(taken) > count:
        raise RemoteProtocolError(f"expected {count} descriptors, got more")
    for fd in fds:
        os.set_blocking(fd, True)


def _set_once(future: asyncio.Future[None]) -> None:
    if not future.done():  # it is called again and again until the awaiting task has run
        future.set_result(None)


def _close_all(fds: list[int]) -> None:
    while fds:
        with suppress(OSError):  # closing tells of a file that could not be written, which is not ours
            os.close(fds.pop())
