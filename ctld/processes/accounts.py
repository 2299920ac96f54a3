"""Users and groups by name or number, as a frozen value that a child can become."""

import grp
import os
import pwd
from dataclasses import dataclass

from ctld.errors import InvalidOptions, NotFound

__all__ = ["Account", "find_account"]


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a child runs as.

    Attributes:
        uid: The user; None: the daemon's own.
        gid: The primary group; None: the daemon's own.
        groups: The supplementary groups; None: the daemon's own.
        name: The user's name, or the number as text where it has none.
        home: The home directory; empty where there is no such entry.
        shell: The login shell; empty where there is no such entry.
    """

    uid: int | None
    gid: int | None
    groups: tuple[int, ...] | None
    name: str = ""
    home: str = ""
    shell: str = ""

    def environment(self) -> dict[str, str]:
        """Return the variables that tell a program who it is; they are not set by `spawn()`."""
        found = {"USER": self.name, "LOGNAME": self.name, "HOME": self.home, "SHELL": self.shell}
        return {name: value for name, value in found.items() if value}


def find_account(
    user: str | int | None, group: str | int | None = None, extra_groups: tuple[str | int, ...] | None = None
) -> Account:
    """Look up whom a child shall run as.

    For the daemon's own user nothing changes, as only root may change it; any other user gets
    its own supplementary groups and never the daemon's.

    Args:
        user: A name, or a number, which needs no entry; None: stay who we are.
        group: The primary group; None: the one of the user's entry.
        extra_groups: The supplementary groups; None: those of the user's entries.

    Raises:
        NotFound: There is no such user or group.
        InvalidOptions: The user is a number without an entry, and no group is given.
    """
    gid = None if group is None else _find_group(group)
    groups = None if extra_groups is None else tuple(_find_group(extra) for extra in extra_groups)
    if user is None:
        return Account(None, gid, groups)
    entry = _find_user(user)
    if entry is None:
        if gid is None:
            raise InvalidOptions(f"user {user} has no entry, so its group must be given", path="group")
        return Account(int(user), gid, () if groups is None else groups, str(user))
    uid: int | None = entry.pw_uid
    if uid == os.geteuid():
        uid = None
    else:
        gid = entry.pw_gid if gid is None else gid
        groups = tuple(os.getgrouplist(entry.pw_name, gid)) if groups is None else groups
    return Account(uid, gid, groups, entry.pw_name, entry.pw_dir, entry.pw_shell)


def _find_user(user: str | int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(user)
    except (KeyError, ValueError, OverflowError):
        if _is_id(user):
            return _find_user(int(user)) if isinstance(user, str) else None
        raise NotFound(f"there is no user {user!r}", kind="user", name=str(user)) from None


def _find_group(group: str | int) -> int:
    if _is_id(group):
        return int(group)
    try:
        return grp.getgrnam(str(group)).gr_gid
    except (KeyError, ValueError):
        raise NotFound(f"there is no group {group!r}", kind="group", name=str(group)) from None


def _is_id(value: str | int) -> bool:
    # The highest number means "unchanged" to setuid(): whoever asks for it must not become root.
    return str(value).isascii() and str(value).isdecimal() and int(value) < 0xFFFF_FFFF
