"""A connection in the native protocol, by hand: what is sent and read when is the load's business."""

import json
import socket
import ssl
from collections import deque
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from benchmarks.soak.ledger import DETACHED, NOT_BEGUN, Key
from benchmarks.soak.notes import Notes

__all__ = ["NO_ROOM", "PATIENCE", "Gone", "Link", "Refused", "Transport", "Where", "dial"]

PATIENCE: Final = 30.0
"""Seconds in which the daemon has to say something to whoever waits; faults stop it for a few."""

NO_ROOM: Final = "the daemon is busy:"
"""How the sentence begins by which the daemon refuses a connection, in every dialect."""

_READ: Final = 64 * 1024

Transport: TypeAlias = Literal["unix", "tcp", "tls"]


class Where(NamedTuple):
    """The daemon's sockets: paths, ports on the loopback, and the certificate of the TLS one."""

    unix: str
    tcp: int
    tls: int
    taskmaster: int
    fss: str
    guest: str
    certificate: str


class Gone(Exception):
    """The connection has ended."""


class Refused(Gone):
    """The daemon has no room for the connection."""


def dial(where: Where, transport: str, timeout: float = PATIENCE) -> socket.socket:
    """Connect to one of the sockets, without anything that a protocol adds.

    Raises:
        Gone: It does not work.
    """
    target: Any = getattr(where, transport)
    sock = socket.socket(socket.AF_UNIX if isinstance(target, str) else socket.AF_INET)
    sock.settimeout(timeout)
    try:
        sock.connect(target if isinstance(target, str) else ("127.0.0.1", target))
    except OSError as exc:
        sock.close()
        raise Gone(str(exc)) from exc
    return sock


class Link:
    """One connection.

    Args:
        where: The daemon.
        transport: Over which of its native sockets.
        notes: Where requests and answers are noted.
    """

    def __init__(self, where: Where, transport: Transport, notes: Notes) -> None:
        self.transport = transport
        self.sock = dial(where, transport)
        self._notes = notes
        self._received = bytearray()
        self._begun = False
        self._in_order: deque[tuple[Key, bool]] = deque()
        self._by_id: dict[object, tuple[Key, bool]] = {}
        if transport == "tls":
            context = ssl.create_default_context(cafile=where.certificate)
            try:
                self.sock = context.wrap_socket(self.sock, server_hostname="localhost")
            except OSError as exc:
                self.sock.close()
                raise Gone(str(exc)) from exc

    @property
    def waiting(self) -> int:
        """How many requests have no answer yet."""
        return len(self._in_order) + len(self._by_id)

    def prepare(self, command: str, opts: dict[str, Any] | None = None, **members: Any) -> bytes:
        """Note a request, and return its line."""
        key = self._notes.tag(), command
        self._notes.sent(key)
        request = {"cmd": command, "opts": {**(opts or {}), "cli": key[0]}, **members}
        entry = key, bool(members.get("detach"))
        if "id" in members:
            self._by_id[members["id"]] = entry
        else:
            self._in_order.append(entry)
        return json.dumps(request).encode() + b"\n"

    def send(self, command: str, opts: dict[str, Any] | None = None, **members: Any) -> None:
        """Send a request."""
        self.write(self.prepare(command, opts, **members))

    def cancel(self, request_id: object) -> None:
        """Ask for the end of a request."""
        self.write(json.dumps({"cancel": request_id}).encode() + b"\n")

    def write(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            Gone: The connection is gone; what the daemon may have said before is read, and noted.
        """
        try:
            self.sock.sendall(data)
        except OSError as exc:
            raise self._broken(exc) from None

    def pass_descriptor(self, descriptor: int) -> None:
        """Send a descriptor with a byte of its own, as specification N5 has it."""
        try:
            socket.send_fds(self.sock, [b"\0"], [descriptor])
        except OSError as exc:
            raise self._broken(exc) from None

    def ask(self, command: str, opts: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
        """Send a request and return its final message."""
        self.send(command, opts, **members)
        return self.final()

    def final(self) -> dict[str, Any]:
        """Return the next final message of any request; what comes before is dropped."""
        while True:
            message = self.message()
            if "progress" not in message and "item" not in message:
                return message

    def message(self) -> dict[str, Any]:
        """Return the next message; if it is a request's final one, that is noted.

        Raises:
            Refused: It says that the daemon has no room.
            Gone: The connection has ended.
        """
        message = self.sentence()
        self._match(message)
        return message

    def sentence(self) -> dict[str, Any]:
        """Return the next message behind the banner, whosever it is."""
        while True:
            message = self._next()
            first, self._begun = not self._begun, True
            if "status" not in message:
                if not first:
                    raise self._lost(f"a second banner: {str(message)[:200]}", whatever=True)
                continue
            if message.get("code") == "busy" and str(message["message"]).startswith(NO_ROOM):
                self._note_all("refused")
                self.close()
                raise Refused(str(message["message"]))
            return message

    def read(self, size: int = _READ) -> bytes:
        """Return bytes as they come; nothing at the end."""
        if self._received:
            data = bytes(self._received[:size])
            del self._received[:size]
            return data
        return self._receive(size)

    def ended(self, slug: str) -> None:
        """Note the end of the request that has taken the connection."""
        key, _ = self._in_order.popleft()
        self._notes.answered(key, slug)

    def lost(self, what: str) -> Gone:
        """Note that nothing more will come, though something had to."""
        return self._lost(what)

    def forget(self) -> None:
        """Wait for no answer any more: what comes of the requests is the daemon's affair."""
        self._in_order.clear()
        self._by_id.clear()

    def close(self) -> None:
        """Hang up."""
        self.forget()
        self.sock.close()

    def _next(self) -> dict[str, Any]:
        while (end := self._received.find(b"\n")) < 0:
            data = self._receive(_READ)
            if not data:
                raise self._lost("hung up")
            self._received += data
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        message: dict[str, Any] = json.loads(line)
        return message

    def _receive(self, size: int) -> bytes:
        try:
            return self.sock.recv(size)
        except TimeoutError:
            raise self._lost("silence") from None
        except OSError as exc:
            raise self._lost(f"lost: {exc.strerror}") from None

    def _match(self, message: dict[str, Any]) -> None:
        if "progress" in message or "item" in message or message.get("response") in ("subscribed", "continue"):
            return
        if isinstance(message.get("response"), dict) and "seq" in message["response"]:
            return  # an event
        if "id" in message:
            entry = self._by_id.pop(message["id"], None)
        else:
            entry = self._in_order.popleft() if self._in_order else None
        if entry is None:
            raise self._lost(f"an answer that nobody asked for: {str(message)[:200]}", whatever=True)
        key, detached = entry
        self._notes.answered(key, _slug(message, detached=detached))

    def _broken(self, exc: OSError) -> Gone:
        """Read what was said before the connection broke, and note what was not."""
        if isinstance(exc, TimeoutError):
            return self._lost("silence")
        try:
            while self.waiting:
                self.message()
        except Gone as gone:
            return gone
        return self._lost(f"lost: {exc.strerror}")

    def _lost(self, what: str, *, whatever: bool = False) -> Gone:
        """Note what will not be answered; also where that is nothing, if it must not be at all."""
        if whatever and not self.waiting:
            self._notes.trouble(("nothing", "nobody"), what)
        self._note_all(what)
        self.close()
        return Gone(what)

    def _note_all(self, what: str) -> None:
        for key, _ in (*self._in_order, *self._by_id.values()):
            self._notes.trouble(key, what)
        self.forget()


def _slug(message: dict[str, Any], *, detached: bool) -> str:
    """Return what the notes say of a final message."""
    if message["status"]:
        return DETACHED if detached else ""
    if message.get("code") == "deadline" and str(message["message"]).endswith("had to wait too long"):
        return NOT_BEGUN
    return str(message.get("code"))
