"""Users and groups of this machine, asked for by number or by name.

A look-up may go to a directory server and block for as long as that takes, so every answer
is kept for a minute, the answer "there is none" too.
"""

import grp
import os
import pwd
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

__all__ = ["FRESH", "Accounts"]

_K = TypeVar("_K")
_V = TypeVar("_V")

FRESH: Final = 60.0  # how long, in seconds, a user who was renamed or left a group may go unnoticed

# Callers choose the uids that are looked up, within what the machine lets them have: user
# namespaces hand out 65,536 at a time.  An entry takes some 200 bytes.
_MAX_ENTRIES: Final = 1024


class Accounts:
    """A small cache over the user and group databases; one per daemon."""

    __slots__ = ("_gids", "_group_names", "_groups", "_uids", "_user_names")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._user_names = _Cache(_user_name, clock)
        self._uids = _Cache(_uid_of, clock)
        self._gids = _Cache(_gid_of, clock)
        self._group_names = _Cache(_group_name, clock)
        self._groups = _Cache(_groups_of, clock)

    def user_name(self, uid: int) -> str:
        """Return a user's name; empty where nobody has that uid."""
        return self._user_names.get(uid)

    def group_name(self, gid: int) -> str:
        """Return a group's name; empty where none has that gid."""
        return self._group_names.get(gid)

    def uid_of(self, name: str) -> int | None:
        """Return a user's uid; None where nobody has that name."""
        return self._uids.get(name)

    def gid_of(self, name: str) -> int | None:
        """Return a group's gid; None where none has that name."""
        return self._gids.get(name)

    def groups_of(self, uid: int, gid: int) -> frozenset[int]:
        """Return the groups that the databases give a user, beside his primary one."""
        return self._groups.get((uid, gid))


class _Cache(Generic[_K, _V]):
    """The newest answers of one function, each for a minute."""

    __slots__ = ("_ask", "_clock", "_entries")

    def __init__(self, ask: Callable[[_K], _V], clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._entries: dict[_K, tuple[float, _V]] = {}

    def get(self, key: _K) -> _V:
        now = self._clock()
        entry = self._entries.get(key)
        if entry is not None and now - entry[0] < FRESH:
            return entry[1]
        value = self._ask(key)
        self._entries.pop(key, None)  # so that a renewed entry stands last, and the first is the oldest
        if len(self._entries) >= _MAX_ENTRIES:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (now, value)
        return value


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return ""


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except (KeyError, OverflowError):
        return ""


def _uid_of(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):  # ValueError: a NUL or a lone surrogate, which no name has
        return None


def _gid_of(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        return None


def _groups_of(account: tuple[int, int]) -> frozenset[int]:
    uid, gid = account
    name = _user_name(uid)
    return frozenset(os.getgrouplist(name, gid)) - {gid} if name else frozenset()
