"""The socket of a monitor: its folder, its mode and its group.

Folders that are missing are made, with exactly the mode that was asked for; what was there is
left as it is.  A folder in which anybody could put another socket in our place is refused.
"""

import contextlib
import grp
import logging
import os
import stat
from typing import Final

from ctld.endpoint import Endpoint, Listen
from ctld.errors import ListenFailed
from ctld.listeners import open_endpoints

__all__ = ["check_folder", "folder_mode", "make_folders", "more_permissive", "open_socket", "prepare_folder"]

logger = logging.getLogger("ctld.guest_agent")

_MAX_PATH: Final = 107  # sockaddr_un holds 108 bytes, one of them the final NUL
_BACKLOG: Final = 128


def more_permissive(mode: int, than: int) -> bool:
    """Whether a mode allows anything that another one does not."""
    return mode & ~than != 0


def folder_mode(mode: int) -> int:
    """Return the mode of a folder for sockets of that mode: who may connect may pass, others may not write."""
    return (mode | (mode & 0o444) >> 2) & ~0o002


def make_folders(path: str, mode: int) -> None:
    """Make a folder, and those above it that are missing, with exactly this mode.

    Raises:
        OSError: It cannot be made.
    """
    above = os.path.dirname(path)
    if above != path and not os.path.isdir(above):
        make_folders(above, mode)
    with contextlib.suppress(FileExistsError):  # somebody else makes it at the same moment: then it is theirs
        os.mkdir(path, 0o700)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(folder, mode)
        finally:
            os.close(folder)


def check_folder(path: str) -> None:
    """Refuse a folder in which others can replace our socket.

    Raises:
        ListenFailed: It is one.
        OSError: It cannot be looked at.
    """
    found = os.stat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise ListenFailed(f"cannot listen in {path!r}: it is no directory")
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise ListenFailed(f"cannot listen in {path!r}: anybody may write there (chmod o-w, or +t)")
    if found.st_uid not in (0, os.geteuid()):
        raise ListenFailed(f"cannot listen in {path!r}: it belongs to another user")


def prepare_folder(path: str, mode: int) -> None:
    """Make the folder of a socket if it is missing.

    Args:
        path: The socket.
        mode: Its permission bits.

    Raises:
        ListenFailed: It cannot be made, or others could put their sockets there.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if len(os.fsencode(os.path.abspath(path))) > _MAX_PATH:  # before anything is made for nothing
        raise ListenFailed(f"cannot listen on {path!r}: the path of a UNIX socket has at most {_MAX_PATH} bytes")
    try:
        if not os.path.isdir(folder):
            make_folders(folder, folder_mode(mode))
        check_folder(folder)
    except OSError as exc:
        raise ListenFailed(f"cannot listen on {path!r}: {exc.strerror}: {exc.filename}") from None


def open_socket(path: str, mode: int, group: str | int | None) -> Endpoint:
    """Make the socket of a monitor.

    Args:
        path: Where.
        mode: Its permission bits.
        group: Who it is given to; one that does not exist is told in the log, and nobody gets it.

    Raises:
        AddressInUse: Somebody listens there.
        ListenFailed: It cannot be made; the message says why.
    """
    path = os.path.abspath(path)
    prepare_folder(path, mode)
    listen = Listen(address=f"unix:{path}", mode=f"{mode & 0o777:04o}", group=_known_group(group), backlog=_BACKLOG)
    return open_endpoints(listen)[0]


def _known_group(group: str | int | None) -> str:
    """Return the number of a group; empty for none."""
    name = "" if group is None else str(group)
    if name.isascii() and name.isdigit():
        return name
    if name and name != "-1":
        try:
            return str(grp.getgrnam(name).gr_gid)
        except KeyError:
            logger.warning("! there is no group %r: the socket keeps its own", name)
    return ""
