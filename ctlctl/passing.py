"""`exec` on a UNIX socket: the program gets this process's own descriptors, and nothing is relayed."""

from __future__ import annotations

import _socket
import os
import signal
import struct

from ctld.client.connecting import connect
from ctld.client.conversation import Conversation
from ctld.client.wire import (
    MAX_LINE,
    LineReader,
    classify,
    decode_line,
    encode_request,
    failure_to_error,
    is_banner,
)
from ctld.errors import ConnectionLost, CtldError, RemoteProtocolError

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType, TracebackType
    from typing import Any, Self

    from ctld.address import Address

__all__ = ["run_on_own_descriptors"]

# What a person or a supervisor sends to the program that they take this process for.
_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


def run_on_own_descriptors(
    address: Address, command: str, opts: Mapping[str, object], session: Mapping[str, object]
) -> int:
    """Run a program on the descriptors 0, 1 and 2, and return its exit status.

    Raises:
        CommandFailed: It was refused, or cannot be started.
        ConnectionFailed: There is no daemon, or it went away.
    """
    line = encode_request(command, opts, session={**session, "io": "fds"})
    sock = connect(address)
    try:
        with _Signals(address) as signals:
            exchange = _Exchange(sock, address)
            sock.settimeout(None)
            sock.sendall(line)
            answer = exchange.final()
            if answer.get("response") != "continue":
                raise RemoteProtocolError(f"{command} opens no session: this daemon has another command of that name")
            _send_descriptors(sock)
            signals.session_is(str(answer.get("session") or ""))
            status = exchange.final().get("response")
            code = status.get("exitstatus") if isinstance(status, dict) else None
            if type(code) is not int:
                raise RemoteProtocolError("the daemon did not tell the exit status")
            return code
    finally:
        sock.close()


class _Exchange:
    """The lines of one request."""

    def __init__(self, sock: _socket.socket, address: Address) -> None:
        self._sock = sock
        self._address = address
        self._reader = LineReader(MAX_LINE)
        self._first = True

    def final(self) -> dict[str, Any]:
        """Return the next message that is neither the banner nor progress."""
        while True:
            while (line := self._reader.next_line()) is None:
                self._read()
            message = decode_line(line)
            first, self._first = self._first, False
            if first and is_banner(message):
                continue
            kind = classify(message)
            if kind == "failure":
                raise failure_to_error(message)
            if kind == "response":
                return message

    def _read(self) -> None:
        try:
            data = self._sock.recv(65536)
        except OSError as error:
            raise ConnectionLost(f"the connection to {self._address} was lost: {error.strerror}") from error
        if not data:
            raise ConnectionLost(f"the daemon on {self._address} closed the connection before the program ended")
        self._reader.feed(data)


def _send_descriptors(sock: _socket.socket) -> None:
    for fd in (0, 1, 2):
        # One per message, as every server of this protocol takes them.
        sock.sendmsg([b"\0"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", fd))])


class _Signals:
    """What this process is sent, the program gets: by a second connection, as the first is taken."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._session = ""
        self._waiting: list[str] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for name in _FORWARDED:
            number = getattr(signal, name)
            # What is ignored stays so: a shell's background job, or nohup.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._on_signal)
        self._before[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, self._on_stop)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def session_is(self, session: str) -> None:
        """Learn whom to send signals to."""
        self._session = session
        for name in self._waiting:
            self._forward(name)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self._session:
            self._forward(name)
        elif name in self._waiting:
            raise KeyboardInterrupt  # twice, and there is still nothing to send it to
        else:
            self._waiting.append(name)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        # The kernel does not stop the program, which is in no session of a shell: so we do.
        self._forward("SIGSTOP")
        os.kill(os.getpid(), signal.SIGSTOP)
        self._forward("SIGCONT")

    def _forward(self, name: str) -> None:
        if not self._session:
            return
        conversation = Conversation(self._address)
        try:
            for _ in conversation.run("session_signal", {"id": self._session, "signal": name}, deadline=5.0):
                pass
        except CtldError:
            return  # it has just ended, or the daemon has: the first connection tells
        finally:
            conversation.close()
