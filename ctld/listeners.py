"""Opening listening sockets: what the configuration says, made real or refused in one line."""

import errno
import re
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from ctld.accounts import Accounts
from ctld.address import Address, parse_address
from ctld.endpoint import DEFAULT_MODE, MODE_PATTERN, Endpoint, Listen, Transport, address_of, close_all
from ctld.errors import AddressInUse, ConfigError, ListenFailed
from ctld.policy import ROLES
from ctld.systemd import InheritedSocket, listening_socket
from ctld.tls import server_context
from ctld.unix_socket import bind_unix

__all__ = ["Listen", "open_endpoints"]

# A host name may stand for several addresses, and `:0` then has to find a port that is free
# on all of them; that fails only if another program takes one in between.
_PORT_ATTEMPTS: Final = 8

# A peer whose machine vanished never says so.  The kernel asks after a minute of silence
# and gives the connection up a minute later.
_KEEPALIVE_IDLE: Final = 60
_KEEPALIVE_INTERVAL: Final = 15
_KEEPALIVE_COUNT: Final = 4

_MAX_ID: Final = 2**32 - 2  # the last number means "leave it as it is" to chown()

_SockAddr: TypeAlias = tuple[Any, ...]  # of IPv6 it has four elements


def open_endpoints(
    listen: str | Listen, inherited: list[InheritedSocket] | None = None, *, accounts: Accounts | None = None
) -> list[Endpoint]:
    """Open the sockets that one `Listen` stands for; all of them or none.

    Args:
        listen: What to open.
        inherited: The sockets that socket activation passed; those that are used are removed from the list.
        accounts: Where the names of users and groups are looked up.

    Returns:
        One endpoint, or several where a host has several addresses or `systemd:` stands for many sockets.

    Raises:
        ConfigError: The configuration is mistaken or contradicts itself.
        AddressInUse: Somebody else listens there.
        ListenFailed: It does not work for another reason.
    """
    listen = Listen(address=listen) if isinstance(listen, str) else listen
    address = parse_address(listen.address)
    _check(listen, address)
    context = _context(listen, address)
    if address.kind == "unix":
        return [_open_unix(listen, address, accounts or Accounts())]
    if address.kind in ("tcp", "tls"):
        return _open_tcp(listen, address, context)
    return _adopt(listen, address, context, [] if inherited is None else inherited)


def _check(listen: Listen, address: Address) -> None:
    """Refuse what cannot be meant; decoding has checked only what came from a file."""
    if not re.fullmatch(MODE_PATTERN, listen.mode):
        raise ConfigError(f"listen {address}: mode {listen.mode!r} is no octal mode such as 0660")
    if listen.role not in ROLES:
        raise ConfigError(f"listen {address}: there is no role {listen.role!r}: the roles are {', '.join(ROLES)}")
    if address.kind != "unix" or address.abstract:
        for key, value in (("mode", listen.mode != DEFAULT_MODE), ("user", listen.user), ("group", listen.group)):
            if value:
                raise ConfigError(
                    f"listen {address}: {key} is for UNIX sockets that the daemon makes in the file system"
                )


def _context(listen: Listen, address: Address) -> ssl.SSLContext | None:
    wanted = listen.tls_certificate or listen.tls_key or listen.tls_ca
    if wanted and address.kind in ("unix", "tcp"):
        hint = "; write tls: instead of tcp:" if address.kind == "tcp" else ""
        raise ConfigError(f"listen {address}: it speaks no TLS, but has tls_ keys{hint}")
    if not wanted and address.kind != "tls":
        return None
    for key, value in (("tls_certificate", listen.tls_certificate), ("tls_key", listen.tls_key)):
        if not value:
            raise ConfigError(f"listen {address}: {key} is missing")
    return server_context(listen.tls_certificate, listen.tls_key, listen.tls_ca)


def _open_unix(listen: Listen, address: Address, accounts: Accounts) -> Endpoint:
    if address.abstract:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.bind(address.sockaddr)
            sock.listen(listen.backlog)
        except OSError as error:
            sock.close()
            raise _explained(address, error) from None
        return Endpoint(listen, sock, address, "unix")
    uid = _number(listen.user, "user", accounts.uid_of, address)
    gid = _number(listen.group, "group", accounts.gid_of, address)
    made = bind_unix(address.path, mode=int(listen.mode, 8), uid=uid, gid=gid, backlog=listen.backlog)
    return Endpoint(listen, made.socket, Address("unix", path=made.path), "unix", close=made.close)


def _number(name: str, kind: str, look_up: Callable[[str], int | None], address: Address) -> int:
    if not name:
        return -1
    if name.isascii() and name.isdigit() and len(name) <= len(str(_MAX_ID)) and int(name) <= _MAX_ID:
        return int(name)
    number = look_up(name)
    if number is None:
        raise ConfigError(f"listen {address}: there is no {kind} {name!r} on this machine")
    return number


def _open_tcp(listen: Listen, address: Address, context: ssl.SSLContext | None) -> list[Endpoint]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # UnicodeError: a host that IDNA cannot spell
        reason = getattr(error, "strerror", None) or "no such host"
        raise ListenFailed(f"cannot listen on {address}: {reason}") from None
    # The same address can come more than once: /etc/hosts may name it twice.
    places: list[tuple[int, _SockAddr]] = list(dict.fromkeys((family, sockaddr) for family, _, _, _, sockaddr in found))
    attempts = _PORT_ATTEMPTS if address.port == 0 and len(places) > 1 else 1
    for attempt in range(1, attempts + 1):
        try:
            return _open_places(listen, address, places, context)
        except AddressInUse:
            if attempt == attempts:
                raise
    raise AssertionError("the last attempt returns or raises")


def _open_places(
    listen: Listen, address: Address, places: list[tuple[int, _SockAddr]], context: ssl.SSLContext | None
) -> list[Endpoint]:
    """Listen on every address of a host that this machine has, on the same port."""
    transport: Transport = "tls" if context else "tcp"
    endpoints: list[Endpoint] = []
    port = address.port
    missing: OSError | None = None
    try:
        for family, sockaddr in places:
            try:
                sock = _listening(family, (sockaddr[0], port, *sockaddr[2:]), listen.backlog)
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error  # localhost is ::1 too, even where there is no IPv6
                continue
            endpoints.append(Endpoint(listen, sock, address_of(sock, transport), transport, ssl_context=context))
            port = endpoints[0].address.port
    except OSError as error:
        close_all(endpoints)
        raise _explained(address, error) from None
    if missing is not None and not endpoints:
        raise _explained(address, missing)
    return endpoints


def _listening(family: int, sockaddr: tuple[object, ...], backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # [::] must leave 0.0.0.0 to others
        # Accepted sockets inherit these.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_COUNT)
        sock.bind(sockaddr)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _adopt(
    listen: Listen, address: Address, context: ssl.SSLContext | None, inherited: list[InheritedSocket]
) -> list[Endpoint]:
    """Take over sockets that somebody else has made, who also removes them."""
    if address.kind == "systemd":
        chosen = [entry for entry in inherited if address.name in ("", entry[0])]
        if not chosen:
            named = f" named {address.name!r}" if address.name else ""
            raise ListenFailed(f"cannot listen on {address}: the service manager passed no socket{named}")
    else:
        chosen = [entry for entry in inherited if entry[1].fileno() == address.port]
        chosen = chosen or [("", listening_socket(address.port))]
    sockets = [sock for _, sock in chosen]
    inherited[:] = [entry for entry in inherited if entry[1] not in sockets]
    endpoints = [_adopted(listen, sock, context) for sock in sockets]
    if context is not None and any(endpoint.transport == "unix" for endpoint in endpoints):
        close_all(endpoints)
        raise ConfigError(f"listen {address}: it has tls_ keys, but UNIX sockets speak no TLS")
    return endpoints


def _adopted(listen: Listen, sock: socket.socket, context: ssl.SSLContext | None) -> Endpoint:
    transport: Transport = "unix" if sock.family == socket.AF_UNIX else "tls" if context else "tcp"
    return Endpoint(listen, sock, address_of(sock, transport), transport, ssl_context=context)


def _explained(address: Address, error: OSError) -> ListenFailed:
    if error.errno == errno.EADDRINUSE:
        return AddressInUse(f"cannot listen on {address}: another program listens there")
    if error.errno == errno.EADDRNOTAVAIL:
        return ListenFailed(f"cannot listen on {address}: this machine does not have that address")
    if error.errno == errno.EACCES and address.kind in ("tcp", "tls"):
        return ListenFailed(f"cannot listen on {address}: ports below 1024 are root's")
    return ListenFailed(f"cannot listen on {address}: {error.strerror or error}")
