"""An asyncio connection for an address, or one clear error; the same on asyncio and uvloop.

The sockets are made here and not by the loop: a UNIX connect that meets a full backlog is
taken for a success by asyncio's `sock_connect`, abstract names are refused by uvloop, and
with several addresses both hide the `errno` that the advice is drawn from.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, TypeVar

from ctld.client.advice import connect_failed
from ctld.client.connecting import CONNECT_PAUSE, CONNECT_TIMEOUT
from ctld.client.tls import tls_context

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

    from ctld.address import Address

__all__ = ["dial"]

P = TypeVar("P", bound=asyncio.Protocol)


async def dial(address: Address, factory: Callable[[], P], tls: SSLContext | None = None) -> P:
    """Connect, and return the protocol that the factory made for the connection.

    Args:
        address: Where to: `unix`, `tcp` or `tls`.
        factory: Makes the protocol.
        tls: For `tls`; None: what the environment says.

    Raises:
        ConnectFailed: It did not work; the message says what to do about it.
        ConfigError: The TLS files cannot be used.
    """
    if address.kind != "tls":
        tls = None
    elif tls is None:
        tls = tls_context()
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            sock = await (_unix_socket(address) if address.kind == "unix" else _tcp_socket(address))
            try:
                host = address.host if tls else None
                _, protocol = await loop.create_connection(factory, sock=sock, ssl=tls, server_hostname=host)
            except BaseException:
                sock.close()
                raise
    except OSError as error:
        raise connect_failed(address, error) from error
    return protocol


async def _unix_socket(address: Address) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while True:
            try:
                sock.connect(address.sockaddr)
            except BlockingIOError:  # the backlog is full, and no event will tell when it is not
                await asyncio.sleep(CONNECT_PAUSE)
            else:
                return sock
    except BaseException:
        sock.close()
        raise


async def _tcp_socket(address: Address) -> socket.socket:
    loop = asyncio.get_running_loop()
    refused: OSError = OSError("the name of the host has no address")
    for family, kind, number, _, where in await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, number)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, where)
        except OSError as error:
            sock.close()
            refused = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise refused
