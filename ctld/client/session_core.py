"""What a server says of a session, from the request to the exit frame; pure, for both clients.

Before "continue" the connection speaks in lines, after it in frames (native protocol, N5).  A
connection that ends before the exit frame is an error: output is never cut off in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ctld.client.wire import LineReader, Update, classify, decode_line, failure_to_error, is_banner
from ctld.errors import CommandFailed, ConnectionLost, RemoteProtocolError, error_from_wire
from ctld.wire.frames import MAX_PAYLOAD, FrameReader, FrameType, encode_frame, encode_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["STDERR", "STDOUT", "Output", "SessionCore", "session_member"]

STDOUT: Final = 1
STDERR: Final = 2


class Output(NamedTuple):
    """A piece of output; an empty one is the end of its stream.

    Attributes:
        stream: 1 is stdout, or the terminal; 2 is stderr.
        data: The bytes.
    """

    stream: int
    data: bytes


def session_member(
    *,
    tty: bool = False,
    rows: int | None = None,
    cols: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    on_disconnect: str | None = None,
) -> dict[str, object]:
    """Return the `session` member of a request."""
    wanted: dict[str, object] = {"io": "frames", "tty": tty, "rows": rows, "cols": cols, "cwd": cwd}
    wanted |= {"env": dict(env) if env else None, "on_disconnect": on_disconnect}
    return {name: value for name, value in wanted.items() if value is not None}


class SessionCore:
    """One session's bytes, both ways.

    Args:
        where: The address, for errors.
        max_line: The longest line to take, in bytes.

    Attributes:
        id: The session's id, once it has begun.
        begun: Whether the server has said "continue".
        exit: What the exit frame said, once it has come.
        news: Progress messages that came before "continue".
    """

    def __init__(self, where: str, max_line: int) -> None:
        self.id = ""
        self.begun = False
        self.exit: dict[str, Any] | None = None
        self.news: list[Update] = []
        self._where = where
        self._lines = LineReader(max_line)
        self._frames = FrameReader()
        self._answers = bytearray()
        self._first = True

    @property
    def over(self) -> bool:
        """Whether the exit frame has come."""
        return self.exit is not None

    def feed(self, data: bytes) -> Iterator[Output]:
        """Take what the server sent, and yield the output in it.

        Raises:
            CommandFailed: The session was refused.
            RemoteProtocolError: The server sent what it must not.
        """
        if not self.begun:
            self._lines.feed(data)
            self._read_lines()
            data = self._lines.take_rest() if self.begun else b""
        if self.begun:
            self._frames.feed(data)
            yield from self._read_frames()

    def answers(self) -> bytes:
        """Return, and forget, what is to be sent without being asked."""
        data = bytes(self._answers)
        self._answers.clear()
        return data

    def lost(self, reason: str = "") -> ConnectionLost:
        """Return the error for a connection that ended before its session did."""
        how = f": {reason}" if reason else ""
        what = "while the session ran" if self.begun else "before it answered"
        return ConnectionLost(f"the connection to {self._where} was lost {what}{how}")

    def status(self) -> int:
        """Return the exit status.

        Raises:
            CommandFailed: The session did not end by itself: it was refused, cancelled, or
                its server shuts down; or the client has left it.
        """
        assert self.exit is not None, "only once it is over"
        if "error" in self.exit:
            raise self.error(self.exit)
        status = self.exit.get("exitstatus")
        if type(status) is not int:
            raise CommandFailed("the session goes on without this client", session=self.id)
        return status

    def error(self, said: Mapping[str, Any]) -> CommandFailed:
        """Return the error that an exit frame stands for."""
        code, message = said.get("error"), said.get("message")
        fields = {key: value for key, value in said.items() if key not in ("error", "message")}
        text = message if isinstance(message, str) and message else "the session failed"
        return error_from_wire(text, code if isinstance(code, str) and code else "failed", fields)

    @staticmethod
    def stdin(data: bytes) -> bytes:
        """Return the frames for something typed; for the end of input, if it is empty."""
        if not data:
            return encode_frame(FrameType.STDIN)
        pieces = (data[start : start + MAX_PAYLOAD] for start in range(0, len(data), MAX_PAYLOAD))
        return b"".join(encode_frame(FrameType.STDIN, piece) for piece in pieces)

    @staticmethod
    def resize(rows: int, cols: int) -> bytes:
        """Return the frame for a new size of the window."""
        return encode_object(FrameType.RESIZE, {"rows": rows, "cols": cols})

    @staticmethod
    def signal(name: str) -> bytes:
        """Return the frame that sends a signal to the program."""
        return encode_object(FrameType.SIGNAL, {"signal": name})

    @staticmethod
    def ping() -> bytes:
        """Return the frame that shows that this side is alive."""
        return encode_frame(FrameType.PING)

    @staticmethod
    def leave() -> bytes:
        """Return the frame that leaves the session running."""
        return encode_frame(FrameType.EXIT)

    def _read_lines(self) -> None:
        while not self.begun and (line := self._lines.next_line()) is not None:
            message = decode_line(line)
            first, self._first = self._first, False
            if first and is_banner(message):
                continue
            kind = classify(message)
            if kind == "failure":
                raise failure_to_error(message)
            if kind == "progress":
                self.news.append(Update(message))
            elif kind == "response" and message["response"] == "continue":
                self.begun = True
                self.id = str(message.get("session") or "")
            else:
                raise RemoteProtocolError("this command opens no session: call it")

    def _read_frames(self) -> Iterator[Output]:
        while self.exit is None and (frame := self._frames.next_frame()) is not None:
            if frame.type is FrameType.STDOUT:
                yield Output(STDOUT, frame.payload)
            elif frame.type is FrameType.STDERR:
                yield Output(STDERR, frame.payload)
            elif frame.type is FrameType.PING:
                self._answers += encode_frame(FrameType.PONG, frame.payload)
            elif frame.type is FrameType.EXIT:
                self.exit = frame.object()
            elif frame.type is not FrameType.PONG:
                raise RemoteProtocolError(f"a server sends no frame {frame.type.name}")
        if self._frames.at_lines and self.exit is None:
            raise RemoteProtocolError("expected a frame of the session")
