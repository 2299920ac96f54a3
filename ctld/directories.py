"""Directories of the daemon's own: made for it alone, and refused where others could put something into them.

What lies in the state directory is believed by the next daemon: commands to be run with the roles that they
name, processes that are jobs.  A directory in `/tmp` that somebody else has made beforehand would
let him choose them.
"""

import os
import stat

from ctld.errors import ConfigError

__all__ = ["claim_state_directory", "make_directory"]


def make_directory(path: str, mode: int = 0o700) -> None:
    """Make a directory, and those above it that are missing, unless it is there.

    `os.makedirs()` leaves those above to the umask, and with an umask of 0 anybody could put
    another directory into the place of ours.

    Raises:
        OSError: It cannot be made.
    """
    above = os.path.dirname(os.path.abspath(path))
    if not os.path.exists(above):
        make_directory(above, 0o755)
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def claim_state_directory(path: str) -> None:
    """Make the directory if it is missing; whoever needs one that cannot be made says so.

    Raises:
        ConfigError: Somebody else could write there.
    """
    try:
        make_directory(path)
        found = os.stat(path)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return
    if found.st_uid not in (0, os.geteuid()):
        reason = f"it belongs to user {found.st_uid}"
    elif found.st_mode & stat.S_IWOTH:
        reason = "anybody may write there"
    elif found.st_mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid()):
        reason = f"members of group {found.st_gid} may write there"
    else:
        return
    raise ConfigError(f"the state directory {path!r} is not used: {reason} (make it the daemon's own, mode 0700)")
