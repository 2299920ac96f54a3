"""Opening listening sockets: what the configuration says, made real or refused in one line."""

import contextlib
import errno
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from ctld.accounts import Accounts
from ctld.address import Address, parse_address
from ctld.endpoint import DEFAULT_MODE, MODE_PATTERN, Endpoint, Listen, Transport, address_of, close_all
from ctld.errors import AddressInUse, ConfigError, ListenFailed
from ctld.policy import ROLES
from ctld.systemd import InheritedSocket, listening_socket
from ctld.tls import server_context
from ctld.unix_socket import ListeningSocket, bind_unix

__all__ = ["Listen", "mistakes_in", "open_endpoints"]

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
    accounts = accounts or Accounts()
    address = parse_address(listen.address)
    if address.kind == "ssh":
        raise ConfigError(f"listen {_shown(address)}: a daemon listens on this machine; ssh: is for clients")
    for key, reason in mistakes_in(listen, accounts):
        raise ConfigError(f"listen {_shown(address)}: {key}: {reason}")
    context = None
    if listen.tls_certificate:
        context = server_context(listen.tls_certificate, listen.tls_key, listen.tls_ca)
    if address.kind == "unix":
        return [_open_unix(listen, address, accounts)]
    if address.kind in ("tcp", "tls"):
        return _open_tcp(listen, address, context)
    return _adopt(listen, address, context, [] if inherited is None else inherited)


def mistakes_in(listen: Listen, accounts: Accounts | None = None) -> Iterator[tuple[str, str]]:
    """Find what is wrong with a `Listen`, as far as that can be told without opening anything.

    Yields:
        The mistaken key, and what is wrong with its value.
    """
    try:
        address = parse_address(listen.address)
    except ConfigError as error:
        yield "address", str(error)
        return
    if not re.fullmatch(MODE_PATTERN, listen.mode):  # decoding has checked only what came from a file
        yield "mode", f"{listen.mode!r} is no octal mode such as 0660"
    if listen.role not in ROLES:
        yield "role", f"there is no role {listen.role!r}: the roles are {', '.join(ROLES)}"
    yield from _mistaken_owners(listen, address, accounts or Accounts())
    yield from _mistaken_tls(listen, address)


def _mistaken_owners(listen: Listen, address: Address, accounts: Accounts) -> Iterator[tuple[str, str]]:
    if address.kind != "unix" or address.abstract:
        reason = "only a UNIX socket that the daemon makes in the file system has one"
        if listen.mode != DEFAULT_MODE:
            yield "mode", reason
        if listen.user:
            yield "user", reason
        if listen.group:
            yield "group", reason
        return
    if _number(listen.user, accounts.uid_of) is None:
        yield "user", f"there is no user {listen.user!r} on this machine"
    if _number(listen.group, accounts.gid_of) is None:
        yield "group", f"there is no group {listen.group!r} on this machine"


def _mistaken_tls(listen: Listen, address: Address) -> Iterator[tuple[str, str]]:
    keys = (("tls_certificate", listen.tls_certificate), ("tls_key", listen.tls_key), ("tls_ca", listen.tls_ca))
    given = [key for key, value in keys if value]
    if address.kind in ("unix", "tcp"):
        hint = "write tls: instead of tcp:" if address.kind == "tcp" else "the kernel protects and names its callers"
        for key in given:
            yield key, f"{address.kind} speaks no TLS; {hint}"
    elif given or address.kind == "tls":
        for key in ("tls_certificate", "tls_key"):
            if key not in given:
                yield key, "is missing"


def _open_unix(listen: Listen, address: Address, accounts: Accounts) -> Endpoint:
    if address.abstract:
        try:
            sock = _listening(socket.AF_UNIX, address.sockaddr, listen.backlog)
        except OSError as error:
            raise _explained(address, error) from None
        return Endpoint(listen, sock, address, "unix")
    uid, gid = _number(listen.user, accounts.uid_of), _number(listen.group, accounts.gid_of)
    assert uid is not None, "mistakes_in() has looked it up"
    assert gid is not None, "mistakes_in() has looked it up"
    made = bind_unix(address.path, mode=int(listen.mode, 8), uid=uid, gid=gid, backlog=listen.backlog)
    return Endpoint(listen, made.socket, Address("unix", path=made.path), "unix", close=made.close)


def _number(name: str, look_up: Callable[[str], int | None]) -> int | None:
    """Return the id that a name or number stands for: -1 for an empty one, None where there is none."""
    if not name:
        return -1
    if name.isascii() and name.isdigit() and len(name) <= len(str(_MAX_ID)):
        return int(name) if int(name) <= _MAX_ID else None
    return look_up(name)


def _open_tcp(listen: Listen, address: Address, context: ssl.SSLContext | None) -> list[Endpoint]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # UnicodeError: a host that IDNA cannot spell
        reason = getattr(error, "strerror", None) or "no such host"
        raise ListenFailed(f"cannot listen on {_shown(address)}: {reason}") from None
    # The same address can come more than once: /etc/hosts may name it twice.
    places: list[tuple[int, _SockAddr]] = list(dict.fromkeys((family, sockaddr) for family, _, _, _, sockaddr in found))
    if address.port == 0 and len(places) > 1:
        for _ in range(_PORT_ATTEMPTS - 1):
            with contextlib.suppress(AddressInUse):
                return _open_places(listen, address, places, context)
    return _open_places(listen, address, places, context)


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


def _listening(family: int, sockaddr: str | _SockAddr, backlog: int) -> socket.socket:
    kind = ListeningSocket if family == socket.AF_UNIX else socket.socket
    sock = kind(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family != socket.AF_UNIX:
            _prepare_tcp(sock)
        sock.bind(sockaddr)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _prepare_tcp(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # [::] must leave 0.0.0.0 to others
    # Accepted sockets inherit these.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_COUNT)


def _adopt(
    listen: Listen, address: Address, context: ssl.SSLContext | None, inherited: list[InheritedSocket]
) -> list[Endpoint]:
    """Take over sockets that somebody else has made, who also removes them."""
    if address.kind == "systemd":
        chosen = [entry for entry in inherited if address.name in ("", entry[0])]
        if not chosen:
            named = f" named {address.name!r}" if address.name else ""
            raise ListenFailed(f"cannot listen on {_shown(address)}: the service manager passed no socket{named}")
    else:
        chosen = [entry for entry in inherited if entry[1].fileno() == address.port]
        chosen = chosen or [("", listening_socket(address.port))]
    sockets = [sock for _, sock in chosen]
    inherited[:] = [entry for entry in inherited if entry[1] not in sockets]
    endpoints = [_adopted(listen, sock, context) for sock in sockets]
    if context is not None and any(endpoint.transport == "unix" for endpoint in endpoints):
        close_all(endpoints)
        raise ConfigError(f"listen {_shown(address)}: it has tls_ keys, but UNIX sockets speak no TLS")
    return endpoints


def _adopted(listen: Listen, sock: socket.socket, context: ssl.SSLContext | None) -> Endpoint:
    transport: Transport = "unix" if sock.family == socket.AF_UNIX else "tls" if context else "tcp"
    if transport == "unix":
        sock = ListeningSocket(sock.family, sock.type, sock.proto, sock.detach())
        sock.setblocking(False)
    return Endpoint(listen, sock, address_of(sock, transport), transport, ssl_context=context)


def _shown(address: Address) -> str:
    text = str(address)
    return text if text.isprintable() else ascii(text)


def _explained(address: Address, error: OSError) -> ListenFailed:
    if error.errno == errno.EADDRINUSE:
        return AddressInUse(f"cannot listen on {_shown(address)}: another program listens there")
    if error.errno == errno.EADDRNOTAVAIL:
        return ListenFailed(f"cannot listen on {_shown(address)}: this machine does not have that address")
    if error.errno == errno.EACCES and address.kind in ("tcp", "tls"):
        return ListenFailed(f"cannot listen on {_shown(address)}: ports below 1024 are root's")
    return ListenFailed(f"cannot listen on {_shown(address)}: {error.strerror or error}")
