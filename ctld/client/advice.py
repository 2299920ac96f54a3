"""Why no connection could be made, in one line that says what to do about it.

Loaded only when something went wrong, so that a call that works does not pay for it.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import socket
import stat
from typing import TYPE_CHECKING

from ctld.errors import ConnectFailed

if TYPE_CHECKING:
    from ctld.address import Address

__all__ = ["connect_failed"]

_NOBODY_THERE = frozenset((errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR))
_FORBIDDEN = frozenset((errno.EACCES, errno.EPERM))


def connect_failed(address: Address, error: OSError) -> ConnectFailed:
    """Return the error that tells a person what an OSError of a connection attempt means."""
    return ConnectFailed(_explain(address, error))


def _explain(address: Address, error: OSError) -> str:
    if type(error).__module__ == "ssl":
        return f"TLS with {address} failed: {_tls_reason(error)}"
    if isinstance(error, socket.gaierror):
        return f"cannot find the host {address.host!r}: {error.strerror}"
    if isinstance(error, TimeoutError | BlockingIOError):
        return f"no daemon takes connections on {address}: is it stuck?"
    if error.errno in _NOBODY_THERE:
        return f"no daemon listens on {address}: is it running?"
    if error.errno in _FORBIDDEN and address.kind == "unix" and not address.abstract:
        return f"permission denied on {address.path}: {_remedy(address.path)}"
    return f"cannot connect to {address}: {error.strerror or error}"


def _tls_reason(error: OSError) -> str:
    # The attributes of ssl.SSLError, without the names of OpenSSL's source files.
    reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or error.strerror
    return str(reason or error).replace("_", " ").lower()


def _remedy(path: str) -> str:
    """Say who may connect: the group that the mode lets in, or the owner, or root."""
    status = _denying(path)
    if status is None:
        return "run as root"
    needed = stat.S_IXGRP if stat.S_ISDIR(status.st_mode) else stat.S_IWGRP
    if status.st_mode & needed and status.st_gid != 0:
        return f"join the group {_group_name(status.st_gid)}, or run as root"
    if status.st_uid != 0:
        return f"run as {_user_name(status.st_uid)}, or as root"
    return "run as root"


def _denying(path: str) -> os.stat_result | None:
    """Return the status of what denies: the socket, or the first folder that cannot be searched."""
    if status := _status(path):
        return status
    here = os.path.abspath(path)
    while here != "/":
        here = os.path.dirname(here)
        if status := _status(here):
            return status
    return None


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
