"""Where a daemon listens and a client connects: text in, a frozen value out.

    unix:/path   /path   ./path   ../path      a UNIX socket in the file system
    unix:@name                                 an abstract UNIX socket
    tcp:HOST:PORT   tcp:[::1]:PORT             TCP
    tls:HOST:PORT   tls:[::1]:PORT             TLS over TCP
    ssh://[USER@]HOST[:PORT][/path]            a daemon elsewhere, through ssh
    fd:N                                       a listening descriptor that was inherited
    systemd:   systemd:NAME                    those that socket activation passed

The last two only mean something to a server, and `ssh:` only to a client.  This module is on the path of every
`ctlctl` call, so it imports nothing but `os` (which start-up has loaded) and the errors.
"""

from __future__ import annotations

import os

from ctld.errors import ConfigError

TYPE_CHECKING = False  # typing costs a millisecond at start-up
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal, NoReturn, TypeAlias

    Kind: TypeAlias = Literal["unix", "tcp", "tls", "ssh", "fd", "systemd"]

__all__ = ["Address", "default_address", "parse_address"]

_MAX_UNIX_PATH = 107  # sockaddr_un holds 108 bytes, one of them the final NUL
_MAX_HOST = 255  # the longest name that DNS can carry
_MAX_NAME = 255  # the longest FileDescriptorName= of systemd
_MAX_FD = 2**31 - 1  # descriptors are C ints
_MAX_PORT = 65535
_MAX_SHOWN = 200  # of a text that is refused, so that an error stays one line

_IPV6_LETTERS = frozenset("0123456789abcdefABCDEF:.")


class Address:
    """One parsed address; immutable, comparable, and `str()` of it parses to itself.

    Attributes:
        kind: `unix`, `tcp`, `tls`, `ssh`, `fd` or `systemd`.
        path: Of `unix`: the path, or `@name` for an abstract socket; of `ssh`: the path of the
            socket over there, empty for the default.
        host: Of `tcp`, `tls` and `ssh`: a name or address, without brackets.
        port: Of `tcp` and `tls`: the port; of `ssh`: the port, 0 for what its configuration
            says; of `fd`: the descriptor.
        name: Of `ssh`: the user, empty for what its configuration says; of `systemd`: the
            FileDescriptorName, empty for all that were passed.
    """

    __slots__ = ("host", "kind", "name", "path", "port")

    kind: Kind
    path: str
    host: str
    port: int
    name: str

    def __init__(self, kind: Kind, path: str = "", host: str = "", port: int = 0, name: str = "") -> None:
        for field, value in zip(("kind", "path", "host", "port", "name"), (kind, path, host, port, name), strict=True):
            object.__setattr__(self, field, value)

    def __setattr__(self, field: str, value: object) -> NoReturn:
        raise AttributeError(f"an Address cannot be changed: {field}")

    def __delattr__(self, field: str) -> NoReturn:
        raise AttributeError(f"an Address cannot be changed: {field}")

    def _values(self) -> tuple[str, str, str, int, str]:
        return self.kind, self.path, self.host, self.port, self.name

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, Address) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __reduce__(self) -> tuple[object, ...]:
        return Address, self._values()

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.path}"
        if self.kind == "fd":
            return f"fd:{self.port}"
        if self.kind == "systemd":
            return f"systemd:{self.name}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        if self.kind == "ssh":
            user, port = self.name and f"{self.name}@", f":{self.port}" if self.port else ""
            return f"ssh://{user}{host}{port}{self.path}"
        return f"{self.kind}:{host}:{self.port}"

    @property
    def abstract(self) -> bool:
        """Whether this UNIX socket lives outside of the file system."""
        return self.path.startswith("@")

    @property
    def sockaddr(self) -> str | tuple[str, int]:
        """What `bind()` and `connect()` take; of `unix`, `tcp` and `tls` only."""
        if self.kind == "unix":
            return f"\0{self.path[1:]}" if self.abstract else self.path
        return self.host, self.port


def parse_address(text: str) -> Address:
    """Parse the text of an address.

    Raises:
        ConfigError: It is none; the message says what is wrong with it.
    """
    if text.startswith(("/", "./", "../")):
        return _unix(text, text)
    kind, colon, rest = text.partition(":")
    if colon:
        if kind == "unix":
            return _unix(rest, text)
        if kind in ("tcp", "tls"):
            host, port = _host_port(kind, rest, text)
            return Address("tcp" if kind == "tcp" else "tls", host=host, port=port)
        if kind == "ssh":
            return _ssh(rest, text)
        if kind == "fd":
            return Address("fd", port=_number(rest, _MAX_FD, "descriptor", text))
        if kind == "systemd":
            return _systemd(rest, text)
    raise _error(text, "write unix:PATH, a path with a slash, tcp:HOST:PORT, tls:HOST:PORT or ssh://HOST")


def default_address(environ: Mapping[str, str], uid: int) -> Address:
    """Return the address that is used where none is given.

    `CTLD_SOCKET` wins; root's daemon lives in `/run/ctld`, a user's below `XDG_RUNTIME_DIR`.

    Raises:
        ConfigError: Nothing says where; or `CTLD_SOCKET` is no address.
    """
    if text := environ.get("CTLD_SOCKET"):
        try:
            return parse_address(text)
        except ConfigError as error:
            raise ConfigError(f"CTLD_SOCKET: {error}") from None
    if uid == 0:
        return Address("unix", path="/run/ctld/ctld.sock")
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if not runtime.startswith("/"):  # the XDG rules: a relative one is as good as none
        raise ConfigError("no address: set CTLD_SOCKET (XDG_RUNTIME_DIR is not set either)")
    return parse_address(f"{runtime.rstrip('/')}/ctld/ctld.sock")


def _error(text: str, reason: str) -> ConfigError:
    shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
    return ConfigError(f"{shown!r} is no address: {reason}")


def _unix(path: str, text: str) -> Address:
    name = path.removeprefix("@")  # the NUL that stands for the @ takes the place of the final one
    if not name:
        raise _error(text, "the path is missing")
    if "\0" in name:
        raise _error(text, "a path holds no NUL")
    try:
        size = len(os.fsencode(name))
    except UnicodeEncodeError:
        raise _error(text, "the path cannot be encoded") from None
    if size > _MAX_UNIX_PATH:
        raise _error(text, f"a UNIX socket's path has at most {_MAX_UNIX_PATH} bytes, this one has {size}")
    return Address("unix", path=path)


def _host_port(kind: str, rest: str, text: str) -> tuple[str, int]:
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        raise _error(text, "the port is missing")
    if host.startswith("[") and host.endswith("]"):
        host = _bracketed(host, text)
    elif ":" in host:
        raise _error(text, f"an IPv6 address stands in brackets: {kind}:[::1]:PORT")
    if not host:
        raise _error(text, "the host is missing (0.0.0.0 or [::] for every interface)")
    if len(host) > _MAX_HOST or not _plain(host):
        raise _error(text, "no host has such a name")
    return host, _number(port, _MAX_PORT, "port", text)


def _bracketed(host: str, text: str) -> str:
    host = host[1:-1]
    literal, _, zone = host.partition("%")
    if ":" not in literal or not _IPV6_LETTERS.issuperset(literal) or not _plain(zone):
        raise _error(text, "no IPv6 address stands in the brackets")
    return host


def _ssh(rest: str, text: str) -> Address:
    if not rest.startswith("//"):
        raise _error(text, "write ssh://[USER@]HOST[:PORT][/PATH]")
    authority, slash, path = rest[2:].partition("/")
    user, at, host = authority.rpartition("@")
    port = 0
    if not host.endswith("]") and ":" in host:
        host, _, digits = host.rpartition(":")
        port = _number(digits, _MAX_PORT, "port", text)
    if host.startswith("[") and host.endswith("]"):
        host = _bracketed(host, text)
    elif ":" in host:
        raise _error(text, "an IPv6 address stands in brackets: ssh://[::1]")
    # What begins with a dash would be an option of ssh.
    if not host or len(host) > _MAX_HOST or not _plain(host) or host.startswith("-") or "@" in host:
        raise _error(text, "no host has such a name" if host else "the host is missing")
    if at and (not user or not _plain(user) or user.startswith("-") or "@" in user):
        raise _error(text, "no user has such a name")
    if path:
        path = _unix(slash + path, text).path
    return Address("ssh", path=path, host=host, port=port, name=user)


def _plain(name: str) -> bool:
    return name.isprintable() and not any(letter in name for letter in " /[]")


def _number(digits: str, most: int, what: str, text: str) -> int:
    # The length goes first: int() refuses thousands of digits with an error of its own.
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(most)) and int(digits) <= most):
        raise _error(text, f"the {what} is a number from 0 to {most}")
    return int(digits)


def _systemd(name: str, text: str) -> Address:
    if len(name) > _MAX_NAME or not name.isascii() or not name.isprintable() or ":" in name:
        raise _error(text, "systemd never names a descriptor so")
    return Address("systemd", name=name)
