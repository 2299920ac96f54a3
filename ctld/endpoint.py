"""Listen and Endpoint: where to listen, as configured, and a socket that does."""

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from ctld.address import Address
from ctld.peer import Role

__all__ = ["DEFAULT_MODE", "MODE_PATTERN", "Endpoint", "Listen", "Transport", "address_of", "close_all"]

Transport: TypeAlias = Literal["unix", "tcp", "tls"]

DEFAULT_MODE: Final = "0660"
MODE_PATTERN: Final = r"^0?[0-7]{3}$"  # the bits of set-uid and sticky mean nothing on a socket


class Listen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[listen]]` table: where to listen, and what a caller gets there.

    A dialect that needs more keys subclasses it.

    Attributes:
        address: Where, as `ctld.address` reads it.
        dialect: The language that is spoken there.
        mode: The permission bits of a UNIX socket's file, as octal text.
        user: The owner of that file, by name or number; empty: whoever runs the daemon.
        group: Its group, by name or number; empty: that of whoever runs the daemon.
        role: The role of callers whom no rule names.
        tls_certificate: The file with the server's certificate.
        tls_key: The file with its key.
        tls_ca: The file with the certificates of those who vouch for clients; with it every
            client must show a certificate.
        backlog: How many clients may wait to be accepted; the kernel has an upper bound of its own.
    """

    address: str
    dialect: str = "native"
    mode: Annotated[str, msgspec.Meta(pattern=MODE_PATTERN)] = DEFAULT_MODE
    user: str = ""
    group: str = ""
    role: Role = "anyone"
    tls_certificate: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    backlog: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1024


class Endpoint:
    """One listening socket; non-blocking and close-on-exec.

    Attributes:
        listen: What it was opened for.
        socket: The socket.
        address: Where clients reach it; of TCP with the real port.
        transport: `unix`, `tcp` or `tls`.
        ssl_context: Of `tls`: what connections are wrapped in.
    """

    __slots__ = ("_close", "address", "listen", "socket", "ssl_context", "transport")

    def __init__(
        self,
        listen: Listen,
        sock: socket.socket,
        address: Address,
        transport: Transport,
        *,
        ssl_context: ssl.SSLContext | None = None,
        close: Callable[[], None] | None = None,
    ) -> None:
        """Put an endpoint together.

        Args:
            listen: What it is opened for.
            sock: The listening socket; the endpoint owns it from now on.
            address: Where clients reach it.
            transport: What the bytes travel in.
            ssl_context: Of `tls`.
            close: How to close the socket, where that takes more than closing it.
        """
        self.listen = listen
        self.socket = sock
        self.address = address
        self.transport: Transport = transport
        self.ssl_context = ssl_context
        self._close = sock.close if close is None else close

    def __repr__(self) -> str:
        return f"<Endpoint {self.address}>"

    def close(self) -> None:
        """Stop listening, and remove what was made in the file system; once or more often."""
        self._close()


def address_of(sock: socket.socket, transport: Transport) -> Address:
    """Say where a bound socket can be reached."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        if isinstance(name, bytes):  # abstract: a NUL, then the name
            return Address("unix", path="@" + name[1:].decode("utf-8", "surrogateescape"))
        return Address("unix", path=name)
    return Address("tls" if transport == "tls" else "tcp", host=name[0], port=name[1])


def close_all(endpoints: list[Endpoint]) -> None:
    """Close several endpoints, every one even if one of them fails."""
    with contextlib.ExitStack() as stack:
        for endpoint in endpoints:
            stack.callback(endpoint.close)
