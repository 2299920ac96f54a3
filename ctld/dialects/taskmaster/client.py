"""Taskmaster's client (specification B2, B3, B9): a query out, its answer in; standard library only.

It understands the answers of the original daemon, of its published page, and of ctld.
"""

from __future__ import annotations

import base64
import binascii
import json
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from ctld.errors import ConnectFailed, ConnectionLost, RemoteProtocolError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["DEFAULT_HOST", "DEFAULT_PORT", "Base64Error", "JsonError", "Response", "TaskmasterClient", "read_response"]

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7777

_TERMINATOR = b";;"
_CONNECT_TIMEOUT = 10.0

# Four times the longest query: a list of more jobs than anybody has.
_MAX_ANSWER = 4 * 1024 * 1024


class JsonError(RemoteProtocolError):
    """The daemon's answer is no JSON, or not of the shape that it should have."""


class Base64Error(RemoteProtocolError):
    """What should be base64 in the daemon's answer is none."""


class Response(NamedTuple):
    """An answer.

    Attributes:
        kind: What kind it is: `success`, `fail`...
        error: The sentence of a `fail`.
        data: The text of a `status`, the bytes of a `file`.
        names: The jobs of a `list`.
    """

    kind: str
    error: str = ""
    data: bytes = b""
    names: tuple[str, ...] = ()


class TaskmasterClient:
    """A connection to a daemon; made when first needed, and again after it was lost.

    Args:
        host: Where the daemon is.
        port: On which port.
    """

    def __init__(self, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT) -> None:
        self._where = (host, port)
        self._sock: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def connect(self) -> socket.socket:
        """Return the connection.

        Raises:
            ConnectFailed: There is no daemon.
        """
        if self._sock is None:
            try:
                self._sock = socket.create_connection(self._where, _CONNECT_TIMEOUT)
            except (OSError, UnicodeError, OverflowError) as error:
                raise ConnectFailed(f"cannot connect to {self._where[0]}:{self._where[1]}: {error}") from error
            self._sock.settimeout(None)  # some answers come when a job has stopped
        return self._sock

    def ask(self, cmd: str, job: str = "", data: bytes = b"") -> Response:
        """Send a query and return its answer.

        Raises:
            ConnectFailed: There is no daemon.
            ConnectionLost: It went away.
            JsonError: The answer is no JSON.
            Base64Error: What should be base64 in it is none.
        """
        query = {"cmd": cmd, "job": _pack(job.encode(errors="surrogateescape")), "data": _pack(data)}
        sock = self.connect()
        try:
            sock.sendall(json.dumps(query, separators=(",", ":")).encode() + _TERMINATOR)
            answer = self._receive(sock)
        except OSError as error:
            self.close()
            raise ConnectionLost(f"the connection was lost: {error.strerror or error}") from error
        except BaseException:
            self.close()  # what is still to come is no answer to the next query
            raise
        return read_response(answer)

    def _receive(self, sock: socket.socket) -> bytes:
        received = bytearray()
        while _TERMINATOR not in received:
            if len(received) > _MAX_ANSWER:
                raise JsonError(f"the answer exceeds {_MAX_ANSWER} bytes")
            data = sock.recv(64 * 1024)
            if not data:
                raise ConnectionLost("the daemon has closed the connection")
            received += data
        return bytes(received.partition(_TERMINATOR)[0])


def read_response(answer: bytes) -> Response:
    """Make sense of an answer; keys may be missing, and a list may have either shape.

    Raises:
        JsonError: It is no JSON.
        Base64Error: What should be base64 in it is none.
    """
    fields = _object(answer)
    kind = fields.get("response")
    if not isinstance(kind, str):
        raise JsonError("the answer does not say of what kind it is")
    error = _unpack(fields.get("error", "")).decode(errors="replace")
    data = _unpack(fields.get("data", ""))
    names = _names(data or _unpack(fields.get("list", ""))) if kind == "list" else ()
    return Response(kind, error, data, names)


def _names(payload: bytes) -> tuple[str, ...]:
    listed = _object(payload)
    jobs = listed.get("processes", listed.get("jobs"))
    if not isinstance(jobs, list) or not all(
        isinstance(job, dict) and isinstance(job.get("name"), str) for job in jobs
    ):
        raise JsonError("the list of jobs is none")
    return tuple(job["name"] for job in jobs)


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise JsonError("it is no JSON") from error
    if not isinstance(value, dict):
        raise JsonError("it is no JSON object")
    return value


def _pack(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unpack(value: object) -> bytes:
    if not isinstance(value, str):
        raise JsonError("a field is no text")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Base64Error("a field is no base64") from error
