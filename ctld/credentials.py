"""Who is at the other end of an accepted socket, as far as the kernel or a certificate says."""

import socket
import struct
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from ctld.accounts import Accounts
from ctld.endpoint import Transport
from ctld.peer import Peer, Role
from ctld.policy import Policy

__all__ = ["Credentials", "certificate_name", "peer_with_certificate"]

_UCRED: Final = struct.Struct("iII")  # pid, uid, gid, each as the kernel translates it for us
_SO_PEERGROUPS: Final = getattr(socket, "SO_PEERGROUPS", 59)  # Linux 4.13; the socket module does not name it
_PEERGROUPS_SPACE: Final = 1024  # the most that socket.getsockopt() takes: 256 groups
_NO_ID: Final = 2**32 - 1

# Sets of groups that are shared by connections; callers choose them (setgroups() in a user
# namespace of their own), so they are bounded.
_MAX_SHARED: Final = 1024

_MAX_NAME: Final = 255  # of a certificate; longer ones are no names of people or machines


class Credentials:
    """Makes the `Peer` of accepted sockets; what peers have in common is held once."""

    __slots__ = ("_accounts", "_shared")

    def __init__(self, accounts: Accounts | None = None) -> None:
        self._accounts = Accounts() if accounts is None else accounts
        self._shared: dict[bytes, frozenset[int]] = {}

    def peer_of(self, sock: socket.socket, transport: Transport, policy: Policy, fallback: Role = "anyone") -> Peer:
        """Identify the peer of a connected socket.

        The credentials are those of the process that connected, at the time it did.

        Args:
            sock: The socket.
            transport: What the bytes travel in.
            policy: Says who has which role.
            fallback: The role of the listener it came through.
        """
        if transport != "unix":
            return _unknown(transport, policy, fallback)
        try:
            pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        except OSError:
            return _unknown(transport, policy, fallback)  # gone again already
        if uid == _NO_ID or gid == _NO_ID:
            return _unknown(transport, policy, fallback)
        groups = self._groups(sock, uid, gid)
        # Made once, with its role: one is made for every client, and a frozen value takes its time.
        return Peer(
            self._accounts.user_name(uid),
            policy.role_of_user(uid, gid, groups, fallback).role,
            uid,
            gid,
            groups,
            pid or None,  # 0: a process outside of our pid namespace
            transport,
        )

    def _groups(self, sock: socket.socket, uid: int, gid: int) -> frozenset[int]:
        try:
            raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _PEERGROUPS_SPACE)
        except OSError:
            # An old kernel, or more groups than fit: what the databases say is the next best thing.
            return self._accounts.groups_of(uid, gid)
        groups = self._shared.get(raw)
        if groups is None:
            if len(self._shared) >= _MAX_SHARED:
                del self._shared[next(iter(self._shared))]
            groups = self._shared[raw] = frozenset(memoryview(raw).cast("I"))
        return groups


def _unknown(transport: Transport, policy: Policy, fallback: Role) -> Peer:
    """Make the peer of a connection whose transport does not say who is at the other end."""
    return Peer(role=policy.role_of(Peer(transport=transport), fallback).role, transport=transport)


def peer_with_certificate(peer: Peer, certificate: Mapping[str, Any] | None) -> Peer:
    """Name a TLS peer after the certificate that it showed.

    Args:
        peer: The peer as it was accepted.
        certificate: What `SSLObject.getpeercert()` returns: only of a verified certificate it is more than empty.
    """
    name = certificate_name(certificate or {})
    return replace(peer, name=name) if name else peer


def certificate_name(certificate: Mapping[str, Any]) -> str:
    """Return the name that a certificate is about.

    That is the common name, else the first alternative one.  Rules of the policy compare it
    and terminals show it, so one that is ambiguous or not printable is as good as none.
    """
    names = [value for parts in certificate.get("subject", ()) for key, value in parts if key == "commonName"]
    if not names:
        kinds = ("DNS", "email", "URI")
        names = [value for kind, value in certificate.get("subjectAltName", ()) if kind in kinds][:1]
    if len(names) != 1:
        return ""
    name: str = names[0]
    return name if name.isprintable() and name == name.strip() and len(name) <= _MAX_NAME else ""
