"""A connected, blocking socket for an address, or one clear error.

A UNIX connection uses `_socket`, on which `socket` is built: the latter costs two
milliseconds of enums that nothing here looks at, a tenth of a whole `ctlctl ping`.
"""

from __future__ import annotations

import _socket
import time

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from ssl import SSLContext

    from ctld.address import Address

__all__ = ["CONNECT_PAUSE", "CONNECT_TIMEOUT", "connect"]

# Seconds until a daemon must have taken the connection: a stuck one is told from a busy one.
CONNECT_TIMEOUT = 10.0

# Seconds between two attempts while the backlog of a UNIX socket is full: there is no event
# to wait for, the kernel refuses such a connect at once.
CONNECT_PAUSE = 0.05


def connect(
    address: Address, tls: SSLContext | None = None, timeout: float = CONNECT_TIMEOUT, *, remote: str = "ctlctl"
) -> _socket.socket:
    """Connect.

    Args:
        address: Where to: `unix`, `tcp`, `tls` or `ssh`.
        tls: For `tls`; None: what the environment says (`ctld.client.tls`).
        timeout: Seconds for each step; ssh has its own.
        remote: For `ssh`: the program to start over there.

    Raises:
        ConnectFailed: It did not work; the message says what to do about it.
        ConfigError: The TLS files cannot be used.
    """
    try:
        if address.kind == "unix":
            return _connect_unix(address, timeout)
        if address.kind == "ssh":
            from ctld.client.ssh import connect_ssh

            return connect_ssh(address, remote)
        return _connect_tcp(address, tls, timeout)
    except OSError as error:
        from ctld.client.advice import connect_failed

        raise connect_failed(address, error) from error


def _connect_unix(address: Address, timeout: float) -> _socket.socket:
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    give_up = time.monotonic() + timeout
    try:
        sock.settimeout(timeout)
        while True:
            try:
                sock.connect(address.sockaddr)
            except BlockingIOError:  # the backlog is full
                if time.monotonic() >= give_up:
                    raise
                time.sleep(CONNECT_PAUSE)
            else:
                return sock
    except BaseException:
        sock.close()
        raise


def _connect_tcp(address: Address, tls: SSLContext | None, timeout: float) -> _socket.socket:
    import socket

    if address.kind == "tls" and tls is None:
        from ctld.client.tls import tls_context

        tls = tls_context()
    sock = socket.create_connection((address.host, address.port), timeout)
    try:
        # A request is one write, and its answer is awaited: nothing is gained by delaying it.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is None or address.kind != "tls":
            return sock
        return tls.wrap_socket(sock, server_hostname=address.host)
    except BaseException:
        sock.close()
        raise
