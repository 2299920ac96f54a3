"""Viewers: a session on one client's connection, as frames, as a console, or on its own descriptors.

A viewer lives as long as `async with` holds it: inside, `wait()` tells how it went.
"""

import asyncio
import signal as signals
from enum import Enum
from types import TracebackType
from typing import Final, Self

from ctld.errors import Busy, CommandFailed, InvalidOptions, RemoteProtocolError
from ctld.sessions.program import STDOUT
from ctld.sessions.session import Session
from ctld.stream import Stream
from ctld.wire.frames import Frame, FrameReader, FrameType, encode_frame, encode_head

__all__ = ["Departure", "DescriptorsViewer", "FramesViewer", "SessionViewer", "signal_number"]

# What may wait for a client that only watches; then it is let go, so that it holds up nobody
# and the daemon does not keep its backlog.  Four scroll-backs.
_WATCHER_BACKLOG: Final = 1024 * 1024

# Longer payloads are not joined to their heads: that would copy all that a program says, and
# uvloop sends what is written in one turn together.  (Not `writelines()`: asyncio's forgets, in
# some releases of Python 3.12 and 3.13, to tell that the client is behind.)
_JOIN_BELOW: Final = 4096

# Keep-alive of frames (N5): who has sent nothing for so long sends a ping; who has been
# silent for so long is taken for dead.
_PING_AFTER: Final = 15.0
_DEAD_AFTER: Final = 45.0
_SHORTEST_WAIT: Final = 1.0


class Departure(Enum):
    """How a client's view of a session ended."""

    ENDED = "the session ended"
    LEFT = "the client left it running"
    GONE = "the client is gone"


class SessionViewer:
    """What all viewers have in common: they join, and they leave.

    Args:
        session: What to look at.
        stream: The client's connection.
        may_type: Whether what the client types goes to the program.
    """

    def __init__(self, session: Session, stream: Stream, *, may_type: bool = True) -> None:
        self.session = session
        self.may_type = may_type
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._departure: asyncio.Future[Departure] = self._loop.create_future()
        self.refusal: CommandFailed | None = None

    async def __aenter__(self) -> Self:
        self.session.join(self)
        self._stream.give_to(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depart(Departure.GONE)
        self._stream.pause()

    async def wait(self) -> Departure:
        """Wait until the session ends, or the client leaves it.

        Raises:
            CommandFailed: The client was let go, for that reason.
        """
        departure = await asyncio.shield(self._departure)
        if self.refusal is not None:
            raise self.refusal
        return departure

    # What the session calls.

    @property
    def congested(self) -> bool:
        """Whether the client is behind with reading."""
        return self._stream.congested

    def on_output(self, stream: int, data: bytes) -> None:
        """Take output."""

    def on_output_end(self, stream: int) -> None:
        """That stream has ended."""

    def on_input_full(self, full: bool) -> None:
        """Read from the client as fast as the program reads."""
        if full:
            self._stream.pause()
        else:
            self._stream.resume()

    def on_ended(self) -> None:
        """The session has ended."""
        self._depart(Departure.ENDED)

    # What the connection calls.

    def on_data(self, data: bytes) -> None:
        """Take what the client sent."""

    def on_end(self) -> None:
        """The client sends no more: it has hung up."""
        self._depart(Departure.GONE)

    def on_gone(self) -> None:
        """The client is gone."""
        self._depart(Departure.GONE)

    def on_drained(self) -> None:
        """The client has caught up."""
        self.session.balance()

    def _depart(self, how: Departure) -> None:
        if not self._departure.done():
            self._departure.set_result(how)
        # The session keeps its viewers until they leave: they get what it still has to say.
        self.session.leave(self, on_purpose=how is Departure.LEFT)

    def _let_go(self, reason: CommandFailed) -> None:
        self.refusal = self.refusal or reason
        self._depart(Departure.GONE)

    def _is_too_slow(self) -> bool:
        """Let a client go that only watches, and is too far behind."""
        if not self.may_type and self._stream.backlog > _WATCHER_BACKLOG:
            self._let_go(Busy("you read too slowly to follow this session: attach again"))
            return True
        return False


class FramesViewer(SessionViewer):
    """A session as frames."""

    def __init__(self, session: Session, stream: Stream, *, may_type: bool = True) -> None:
        super().__init__(session, stream, may_type=may_type)
        self._reader = FrameReader()
        self._heard = self._said = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._keep_alive()
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        if self._timer is not None:
            self._timer.cancel()
        self._stream.unread(self._reader.take_rest())

    def on_output(self, stream: int, data: bytes) -> None:
        """Send output as a frame."""
        if not self._is_too_slow():
            self._send(FrameType.STDOUT if stream == STDOUT else FrameType.STDERR, data)

    def on_output_end(self, stream: int) -> None:
        """Send the frame that ends a stream."""
        self._send(FrameType.STDOUT if stream == STDOUT else FrameType.STDERR, b"")

    def on_data(self, data: bytes) -> None:
        """Do what the client's frames say."""
        self._heard = self._loop.time()
        reader = self._reader
        reader.feed(data)
        try:
            self._take_all(reader)
            if reader.at_lines and not self._departure.done():
                raise RemoteProtocolError("expected a frame")  # noqa: TRY301 - as the reader refuses others
        except RemoteProtocolError as exc:
            self._let_go(CommandFailed(str(exc)))
        except CommandFailed as exc:
            self._let_go(exc)

    def _take_all(self, reader: FrameReader) -> None:
        """Do what has come; what is typed goes to the program together."""
        typed: list[memoryview] = []
        try:
            while not self._departure.done() and (part := reader.next_part(FrameType.STDIN)) is not None:
                if isinstance(part, memoryview):
                    typed.append(part)
                else:
                    self._type(typed)  # what follows may be the end of it
                    self._take(part)
        finally:
            self._type(typed)

    def _type(self, typed: list[memoryview]) -> None:
        if typed and self.may_type:
            self.session.write(*typed)
        typed.clear()

    def _take(self, frame: Frame) -> None:
        type = frame.type
        if type is FrameType.PING:
            self._send(FrameType.PONG, frame.payload)
        elif type is FrameType.PONG:
            return
        elif type is FrameType.EXIT:
            self._depart(Departure.LEFT)
        elif type in (FrameType.STDOUT, FrameType.STDERR):
            raise RemoteProtocolError(f"a client sends no frame {type.name}")
        elif not self.may_type:
            return  # it only watches
        elif type is FrameType.STDIN:  # an empty one, as others come in parts
            self.session.end_input()
        elif type is FrameType.RESIZE:
            size = frame.object()
            self.session.resize(_whole(size.get("rows")), _whole(size.get("cols")))
        elif type is FrameType.SIGNAL:
            self.session.signal(signal_number(frame.object().get("signal")))

    def _send(self, type: FrameType, payload: bytes) -> None:
        self._said = self._loop.time()
        if len(payload) < _JOIN_BELOW:
            self._stream.write(encode_frame(type, payload))
        else:
            self._stream.write(encode_head(type, len(payload)))
            self._stream.write(payload)

    def _keep_alive(self) -> None:
        """Ping a client that has been told nothing for a while; give one up that says nothing."""
        now = self._loop.time()
        # A UNIX socket tells of a dead client by itself, and one that is only stopped must not
        # lose its session; and while we do not read, the silence is ours.
        paused = self._stream.transport == "unix" or self.session.input_full
        if paused:
            self._heard = now
        elif now - self._heard >= _DEAD_AFTER:
            self._depart(Departure.GONE)
            return
        if now - self._said >= _PING_AFTER:
            self._send(FrameType.PING, b"")
        self._timer = self._loop.call_later(max(_PING_AFTER - (now - self._said), _SHORTEST_WAIT), self._keep_alive)


class DescriptorsViewer(SessionViewer):
    """A session on the client's own descriptors: nothing passes through here, but its hang-up does."""

    async def __aenter__(self) -> Self:
        self.session.join(self)
        self._stream.give_to(self, reading=False)
        return self


def signal_number(name: object) -> int:
    """Return the number of a signal: `TERM`, `SIGTERM` or 15.

    Raises:
        InvalidOptions: There is no such signal.
    """
    if isinstance(name, int) and not isinstance(name, bool) and name in signals.valid_signals():
        return int(name)
    if isinstance(name, str):
        if name.isdecimal() and name.isascii() and len(name) < 3:
            return signal_number(int(name))
        found = getattr(signals.Signals, f"SIG{name.upper().removeprefix('SIG')}", None)
        if found is not None:
            return int(found)
    raise InvalidOptions(f"there is no signal {name!r}", path="signal")


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
