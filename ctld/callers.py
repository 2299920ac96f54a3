"""What the kernel tells about the process behind a connection, for the audit log.

A socket vouches for the uid, gid and pid that the caller had when it connected.  The rest is
read from `/proc` and is only as good as the pid: the caller may have executed another program
meanwhile, may have handed the socket to a child, or may be gone and its pid in use by someone
else.  So this is asked once, at the first thing of a connection that is written down, as a hint
for people, and nothing is ever decided by it.
"""

import os
from typing import Final, NamedTuple

__all__ = ["CallerDetails", "caller_details"]

# What the kernel shows for a process that no login stands behind: (uid_t) -1.
_NO_LOGIN: Final = 2**32 - 1

# Ten digits and a newline; anything longer is no loginuid.
_MAX_LOGINUID: Final = 32


class CallerDetails(NamedTuple):
    """What is known about a caller's process beyond its credentials.

    Attributes:
        loginuid: The uid that the user logged in with, before any `su` or `sudo`; None where
            nobody did, or the kernel does not audit.
        executable: The path of the program, as printable text; empty where it may not be read.
    """

    loginuid: int | None = None
    executable: str = ""


def caller_details(pid: int | None) -> CallerDetails:
    """Read what `/proc` says about a process; what it does not say is left out.

    Both answers are about one process: its directory is opened once, and a process that ends
    takes its directory with it, whoever gets the pid next.

    Args:
        pid: The process; None, or 0 for one in a namespace we cannot see: nothing is known.
    """
    if not pid or pid < 0:
        return CallerDetails()
    try:
        directory = os.open(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return CallerDetails()  # gone already
    try:
        return CallerDetails(_loginuid(directory), _executable(directory))
    finally:
        os.close(directory)


def _loginuid(directory: int) -> int | None:
    try:
        descriptor = os.open("loginuid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return None
    try:
        text = os.read(descriptor, _MAX_LOGINUID)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    loginuid = int(text) if text.strip().isdigit() else _NO_LOGIN
    return None if loginuid == _NO_LOGIN else loginuid


def _executable(directory: int) -> str:
    try:
        return os.fsencode(os.readlink("exe", dir_fd=directory)).decode("utf-8", "backslashreplace")
    except OSError:
        return ""  # a kernel thread, or a process of somebody else while we are not root
