"""Who may do what: roles, rules about callers, and decisions that explain themselves.

Each command needs one of four roles, each caller has one, and a role includes those below
it.  Rules give roles to callers; the most specific rule that matches a caller decides, even
where a broader one would give him more:

    uid:N      the user with that number
    user:NAME  the user of that name; for root and for the daemon's own user, whom no such
               rule names, an unwritten rule stands here that says `admin`
    gid:N      members of a group; of several such rules the highest role counts
    group:NAME
    cert:NAME  whoever showed a certificate of that name (TLS)

Whom no rule names gets the role of the listener he came through.

A role is looked up once, when a caller connects.  A decision, asked for on every request,
is one look-up in a table; only a denial takes time, to find a remedy that is true.

A caller from a user namespace whose users are not ours appears as the overflow uid, mostly
65534 (`nobody`), so a rule about that user is about all of these.

Names become numbers when the policy is made, so a user or group that is added to the
machine later counts from the next reload on.
"""

import json
import os
from collections.abc import Collection, Mapping
from typing import Final, get_args

import msgspec

from ctld.accounts import Accounts
from ctld.errors import ConfigError
from ctld.peer import Peer, Role

__all__ = ["ROLES", "Decision", "Grant", "Policy", "at_least"]

ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""The roles, lowest first."""

_RANK: Final[dict[Role, int]] = {role: rank for rank, role in enumerate(ROLES)}
_KINDS: Final = ("uid", "user", "gid", "group", "cert")
_MAX_ID: Final = 2**32 - 2  # the last 32-bit number means "nobody at all" to the kernel
_MAX_SHOWN: Final = 100  # characters of a mistaken principal that an error message repeats

_LISTENER: Final = "the listener's role"
_ROOT: Final = "root is admin"
_CONNECTION: Final = "the daemon gave this connection its role"
_OWN_USER: Final = "the daemon's own user is admin"


class Grant(msgspec.Struct, frozen=True, gc=False):
    """The role that a caller has, and why.

    Attributes:
        role: The role.
        rule: The principal that the deciding rule names (`group:wheel`), or a few words.
    """

    role: Role
    rule: str


class Decision(msgspec.Struct, frozen=True, gc=False):
    """Whether a caller may do something.

    Attributes:
        allowed: The answer.
        role: The role that the caller has.
        needed: The role that it takes.
        rule: Of a denial: what gave the caller his role.
        remedy: Of a denial: one sentence on how to get the role.
    """

    allowed: bool
    role: Role
    needed: Role
    rule: str = ""
    remedy: str = ""


def at_least(role: Role, needed: Role) -> bool:
    """Tell whether a role includes another one."""
    return _RANK[role] >= _RANK[needed]


# The hot path.  What is not in the table is denied.
_ALLOWED: Final[dict[Role, dict[Role, Decision]]] = {
    role: {needed: Decision(True, role, needed) for needed in ROLES if at_least(role, needed)} for role in ROLES
}


class Policy:
    """The rules of one daemon; immutable: a reload makes another.

    Attributes:
        warnings: One line for each rule that matches nobody, because this machine does not know the name.
    """

    def __init__(
        self,
        roles: Mapping[Role, Collection[str]] | None = None,
        *,
        accounts: Accounts | None = None,
        own_uid: int | None = None,
    ) -> None:
        """Read the rules.

        Args:
            roles: The principals that have each role.
            accounts: Where names are looked up.
            own_uid: The uid that the daemon runs as; that of this process by default.

        Raises:
            ConfigError: A role or principal is mistaken; the message names it.
        """
        self._accounts = Accounts() if accounts is None else accounts
        self._own_uid = os.geteuid() if own_uid is None else own_uid
        self._users: dict[int, Grant] = {}
        self._groups: dict[int, Grant] = {}
        self._certificates: dict[str, Grant] = {}
        self._callers: dict[Role, list[str]] = {role: list((roles or {}).get(role, ())) for role in ROLES}
        warnings: list[str] = []
        rules = _rules(roles or {})
        # The less specific of two rules about one number is read first, and overwritten.
        for principal, role in sorted(rules.items(), key=lambda rule: -_KINDS.index(rule[0].partition(":")[0])):
            kind, _, name = principal.partition(":")
            grant = Grant(role, principal)
            if kind == "cert":
                self._certificates[name] = grant
                continue
            number = self._number_of(kind, name)
            if number is None:
                warnings.append(f"{principal!r} in {role} matches nobody: there is no such {kind} on this machine")
            elif kind == "uid":
                self._users[number] = grant
            elif kind == "user":
                self._users[number] = _higher(grant, self._users.get(number))
            else:
                self._groups[number] = _higher(grant, self._groups.get(number))
        self._callers["admin"] += [f"uid:{uid}" for uid in sorted({0, self._own_uid} - self._users.keys())]
        self.warnings: tuple[str, ...] = tuple(warnings)

    def role_of(self, peer: Peer, fallback: Role = "anyone") -> Grant:
        """Find the role of a caller who has just connected.

        Args:
            peer: The caller, as its transport vouches for it.
            fallback: The role of the listener it came through.
        """
        if peer.transport == "internal":
            return Grant(peer.role, "the daemon itself")
        if peer.uid is None:
            # Only a certificate that the listener has verified gives a TLS peer its name.
            named = self._certificates.get(peer.name) if peer.transport == "tls" and peer.name else None
            return named or Grant(fallback, _LISTENER)
        return self.role_of_user(peer.uid, peer.gid, peer.groups, fallback)

    def role_of_user(self, uid: int, gid: int | None, groups: frozenset[int], fallback: Role = "anyone") -> Grant:
        """Find the role of a caller whom the kernel vouches for.

        Args:
            uid: His user id.
            gid: His primary group.
            groups: His other groups.
            fallback: The role of the listener he came through.
        """
        if (exact := self._users.get(uid)) is not None:
            return exact
        if uid == 0:
            return Grant("admin", _ROOT)
        if uid == self._own_uid:
            return Grant("admin", _OWN_USER)
        best: Grant | None = None
        for member, grant in self._groups.items():
            if member == gid or member in groups:
                best = _higher(grant, best)
        return best or Grant(fallback, _LISTENER)

    def callers(self, role: Role) -> list[str]:
        """List who has a role by a rule, written or unwritten; a rule may match nobody (see `warnings`)."""
        return list(self._callers[role])

    def decide(self, peer: Peer, needed: Role) -> Decision:
        """Decide whether a caller, who has his role already, may do what needs another one."""
        return _ALLOWED[peer.role].get(needed) or self._denied(peer, needed)

    def _number_of(self, kind: str, name: str) -> int | None:
        if kind == "user":
            return self._accounts.uid_of(name)
        if kind == "group":
            return self._accounts.gid_of(name)
        return int(name)

    def _denied(self, peer: Peer, needed: Role) -> Decision:
        grant = self.role_of(peer, fallback=peer.role)
        if grant.role == peer.role:
            return Decision(False, peer.role, needed, grant.rule, self._remedy(peer, grant, needed))
        # A login command or a reload came in between: what helps is what the rules say now.
        remedy = "connect again" if at_least(grant.role, needed) else self._remedy(peer, grant, needed)
        return Decision(False, peer.role, needed, _CONNECTION, remedy)

    def _remedy(self, peer: Peer, grant: Grant, needed: Role) -> str:
        principal = self._principal(peer)
        if not principal:
            where = peer.transport or "this transport"
            return f'{where} does not tell who asks: use a UNIX socket, or a listener with role = "{needed}"'
        if grant.rule.startswith(("uid:", "user:")) or (grant.rule == principal and peer.uid is None):
            # His own rule wins over any group he could join.
            remedy = f"move {_quoted(grant.rule)} from {grant.role} to {needed} under [roles]"
        elif peer.uid is not None and (group := self._group_giving(needed)):
            remedy = f"join the group {group} and log in again"
        else:
            remedy = f"add {_quoted(principal)} to {needed} under [roles]"
        root = Peer(uid=0, gid=0, transport="unix")
        if peer.uid and at_least(self.role_of(root).role, needed):
            remedy += ", or run it as root"
        return remedy

    def _principal(self, peer: Peer) -> str:
        """Name a caller in a rule; empty where no rule can."""
        if peer.uid is None:
            return f"cert:{peer.name}" if peer.transport == "tls" and peer.name else ""
        name = self._accounts.user_name(peer.uid)
        # Two names may share a uid, and the look-up back then finds the other one: the number is never wrong.
        return f"user:{name}" if name and self._accounts.uid_of(name) == peer.uid else f"uid:{peer.uid}"

    def _group_giving(self, needed: Role) -> str:
        """Find the least powerful group that would help a caller whom no rule of his own pins down."""
        for role in ROLES[_RANK[needed] :]:
            for gid, grant in self._groups.items():
                if grant.role == role and (name := self._accounts.group_name(gid)):
                    return name
        return ""


def _higher(grant: Grant, other: Grant | None) -> Grant:
    return grant if other is None or not at_least(other.role, grant.role) else other


def _rules(roles: Mapping[Role, Collection[str]]) -> dict[str, Role]:
    rules: dict[str, Role] = {}
    for role, principals in roles.items():
        if role not in _RANK:
            raise ConfigError(f"roles: there is no role {_shown(role)}: the roles are {', '.join(ROLES)}")
        if isinstance(principals, str) or not all(isinstance(principal, str) for principal in principals):
            raise ConfigError(f"roles: {role} needs a list of texts")
        for text in principals:
            principal = _principal(text)
            if (other := rules.setdefault(principal, role)) != role:
                raise ConfigError(f"roles: {_shown(principal)} stands under both {other} and {role}")
    return rules


def _principal(text: str) -> str:
    kind, colon, name = text.partition(":")
    if not colon and text:
        short = text.isprintable() and len(text) <= _MAX_SHOWN
        hint = f': write "user:{text}", "group:{text}" or "cert:{text}"' if short else ""
        raise ConfigError(f"roles: {_shown(text)} does not say what it is{hint}")
    if kind not in _KINDS or not name:
        raise ConfigError(
            f"roles: {_shown(text)} is no principal: write uid:N, user:NAME, gid:N, group:NAME or cert:NAME"
        )
    if kind in ("uid", "gid"):
        if not (name.isascii() and name.isdigit() and len(name) <= len(str(_MAX_ID)) and int(name) <= _MAX_ID):
            other = "user" if kind == "uid" else "group"
            raise ConfigError(f"roles: {_shown(text)} needs a number: a name goes with {other}:")
        return f"{kind}:{int(name)}"
    return text


def _shown(text: object) -> str:
    shown = str(text)
    return _quoted(shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}...")


def _quoted(text: str) -> str:
    # As TOML has it.  Escapes only for what would harm a terminal: TOML knows no surrogate pairs.
    return json.dumps(text, ensure_ascii=not text.isprintable())
