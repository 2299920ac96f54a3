"""Texts that settings are made of: addresses, rules, and what a service manager leaves in the environment."""

import dataclasses
import os
import socket
from typing import Any, Final

import msgspec

from ctld.address import default_address, parse_address
from ctld.errors import ConfigError, ListenFailed
from ctld.peer import Peer
from ctld.policy import ROLES, Policy, at_least
from ctld.systemd import Notifier, inherited_sockets, watchdog_interval
from tests.fuzz.targets.target import Target

__all__ = ["TARGETS"]


def fuzz_address(data: bytes) -> None:
    """What is an address parses to itself, and what is none is one line of error."""
    text = data.decode("utf-8", "surrogateescape")
    for parse in (parse_address, lambda text: default_address({"CTLD_SOCKET": text}, 1000), _below_runtime):
        try:
            address = parse(text)
        except ConfigError as error:
            assert str(error).isprintable()
            assert len(str(error)) < 2300
            continue
        assert parse_address(str(address)) == address
        assert 0 <= address.port < 2**31
        assert not address.host.startswith("-") or address.kind != "ssh"
        assert not address.name.startswith("-") or address.kind != "ssh"
        assert len(os.fsencode(address.path)) <= 108
        assert "\0" not in address.path + address.host + address.name
        if address.kind in ("unix", "tcp", "tls"):
            assert address.sockaddr


def _below_runtime(text: str) -> Any:
    return default_address({"XDG_RUNTIME_DIR": text}, 1000)


class _Accounts:
    """A machine with two users and two groups."""

    USERS: Final = {"root": 0, "alice": 1000}
    GROUPS: Final = {"wheel": 10, "users": 100}

    def uid_of(self, name: str) -> int | None:
        return self.USERS.get(name)

    def gid_of(self, name: str) -> int | None:
        return self.GROUPS.get(name)

    def user_name(self, uid: int) -> str:
        return {uid: name for name, uid in self.USERS.items()}.get(uid, "")

    def group_name(self, gid: int) -> str:
        return {gid: name for name, gid in self.GROUPS.items()}.get(gid, "")


_PEERS: Final = (
    Peer(uid=0, gid=0, transport="unix"),
    Peer(uid=1000, gid=100, groups=frozenset({10}), transport="unix"),
    Peer(uid=1001, gid=100, transport="unix"),
    Peer(uid=1002, gid=7, transport="unix"),
    Peer(uid=65534, gid=65534, transport="unix"),
    Peer(name="box", transport="tls"),
    Peer(name="box", transport="tcp"),
    Peer(transport="tcp"),
)


def fuzz_policy(data: bytes) -> None:
    """Rules are refused in one line, or give each caller what a slow reading of them gives, and never more."""
    try:
        roles = msgspec.json.decode(data, type=dict[str, list[str]])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return
    try:
        policy = Policy(roles, accounts=_Accounts(), own_uid=1001)
    except ConfigError as error:
        assert "\n" not in str(error)
        return
    for peer in _PEERS:
        grant = policy.role_of(peer)
        assert grant.role == _expected(roles, peer), f"{peer} is {grant}"
        known = dataclasses.replace(peer, role=grant.role)
        for needed in ROLES:
            decision = policy.decide(known, needed)
            assert decision.allowed == at_least(grant.role, needed)
            assert decision.allowed or decision.remedy


def _expected(roles: dict[str, list[str]], peer: Peer) -> str:
    """Look for the most specific rule (uid, user, group), the highest of equals."""

    def highest(*principals: str) -> str:
        found = [role for role in roles for text in roles[role] if _plain(text) in principals]
        return max(found, key=ROLES.index, default="")

    if peer.uid is None:
        return (highest(f"cert:{peer.name}") if peer.transport == "tls" else "") or "anyone"
    users = [f"user:{name}" for name, uid in _Accounts.USERS.items() if uid == peer.uid]
    unwritten = "admin" if peer.uid in (0, 1001) else ""
    gids = {peer.gid, *peer.groups}
    groups = [f"group:{name}" for name, gid in _Accounts.GROUPS.items() if gid in gids] + [f"gid:{gid}" for gid in gids]
    return highest(f"uid:{peer.uid}") or highest(*users) or unwritten or highest(*groups) or "anyone"


def _plain(text: str) -> str:
    kind, _, name = text.partition(":")
    return f"{kind}:{int(name)}" if kind in ("uid", "gid") else text


def fuzz_systemd(data: bytes) -> None:
    """What a service manager leaves in the environment is taken out of it, whatever it is; a status stays one line."""
    words = data.decode("utf-8", "surrogateescape").replace("\0", "").split("|")
    count, pid, names, usec, status = (words + [""] * 5)[:5]
    environ = {
        "LISTEN_FDS": count,
        "LISTEN_PID": pid,
        "LISTEN_FDNAMES": names,
        "WATCHDOG_USEC": usec,
        "WATCHDOG_PID": pid,
    }
    interval = watchdog_interval(environ, 42)
    assert interval is None or interval > 0
    try:
        # The descriptors of this process are no listening sockets, so there is never one to be had.
        assert inherited_sockets(environ, 42) == []
    except ListenFailed as error:
        assert str(error).isprintable() or "\n" not in str(error)
    assert not {"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} & environ.keys()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")  # an abstract name that the kernel chooses
        notifier = Notifier.from_environ({"NOTIFY_SOCKET": f"@{manager.getsockname()[1:].decode()}"})
        assert notifier.ready(status)
        told = manager.recv(65536).decode()
        notifier.close()
        assert not notifier.ready()
    lines = told.split("\n")
    assert lines[0] == "READY=1"
    assert len(lines) <= 2
    assert all(line.startswith("STATUS=") for line in lines[1:])


TARGETS = (
    Target("address", fuzz_address),
    Target("policy", fuzz_policy),
    Target("systemd", fuzz_systemd),
)
