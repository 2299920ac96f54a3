"""A listening UNIX socket in the file system: made, guarded and removed without a race.

Theory of operation.

*Mode.*  The file's mode is that of the socket's own inode at `bind()`, masked by the umask.
So the descriptor gets 0600 before it is bound, and owner and mode are set afterwards: at no
moment is the file wider than it will be in the end, whatever the umask, and the umask,
which belongs to all threads, is never touched.  Changes go through a descriptor of the
very file that was bound, so that nobody can slip another file under the path between two
steps.  `listen()` comes last: before it, connecting is refused.

*Ownership of the path.*  Whoever holds an exclusive flock on `PATH.lock` may replace or remove
`PATH`.  The lock is held for the life of the socket and dies with the process; what it guards
is then stale, and the next one replaces it.  A lock file is removed only by the process
that holds its lock, so one that has just got a lock checks that the file it locked still is
the one at the path, and starts over if not.

*Removal.*  Only our own inode is unlinked.  The bound socket keeps its inode alive, so the
number cannot come back on another file as long as the socket is open: first the path is
removed, then the socket closed, then the lock given up.
"""

import contextlib
import errno
import fcntl
import logging
import os
import socket
import stat
from typing import Any, Final

from ctld.errors import AddressInUse, ListenFailed

__all__ = ["ClientSocket", "ListeningSocket", "UnixSocket", "bind_unix"]

_LOG: Final = logging.getLogger(__name__)

# Each round of the race for a lock file is lost to a process that has just stopped; losing
# this many in a row means that something else goes on.
_LOCK_ATTEMPTS: Final = 100

_PRIVATE: Final = 0o600


class ClientSocket(socket.socket):
    """An accepted UNIX stream socket, which knows what it is.

    `socket.socket` makes a member of an enumeration whenever it is asked for its family or
    type, and whoever accepts it or makes a transport of it asks for both: a tenth of all that
    the server does for a client who connects, asks once and leaves.
    """

    __slots__ = ()

    family = socket.AF_UNIX
    type = socket.SOCK_STREAM


class ListeningSocket(socket.socket):
    """A UNIX stream socket whose clients are `ClientSocket`s."""

    __slots__ = ()

    def accept(self) -> tuple[ClientSocket, Any]:
        """Take a client."""
        descriptor, address = self._accept()  # type: ignore[attr-defined]  # as socket.accept() does; its stub lacks it
        return ClientSocket(socket.AF_UNIX, socket.SOCK_STREAM, 0, descriptor), address


class UnixSocket:
    """A bound socket, its path and the lock that guards it.

    Attributes:
        socket: The socket.
        path: Its absolute path.
    """

    __slots__ = ("_identity", "_lock", "path", "socket")

    def __init__(self, sock: socket.socket, path: str, identity: tuple[int, int], lock: int) -> None:
        self.socket = sock
        self.path = path
        self._identity = identity
        self._lock = lock

    def close(self) -> None:
        """Remove the path, if it still leads to this socket, and close; once or more often."""
        if self._lock < 0:
            return
        try:
            _unlink_own(self.path, self._identity)
        finally:
            self.socket.close()
            lock, self._lock = self._lock, -1
            _unlock(lock, self.path)


def bind_unix(path: str, *, mode: int, uid: int = -1, gid: int = -1, backlog: int) -> UnixSocket:
    """Make a listening UNIX socket.

    Args:
        path: Where; the directory must exist.
        mode: The permission bits of the file.
        uid: Its owner; -1 leaves it as it is made.
        gid: Its group; -1 leaves it as it is made.
        backlog: How many clients may wait to be accepted.

    Raises:
        AddressInUse: Somebody else listens there.
        ListenFailed: Something else stands in the way; the message says what.
    """
    path = os.path.abspath(path)  # whoever changes the directory later must still find it
    with contextlib.ExitStack() as undo:
        try:
            _warn_of_folder(os.path.dirname(path))
            lock = _lock(path)
            undo.callback(_unlock, lock, path)
            _remove_stale(path)
            sock = ListeningSocket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            undo.callback(sock.close)
            os.fchmod(sock.fileno(), _PRIVATE)
            sock.bind(path)
            identity = _settle(path, mode, uid, gid, undo)
            sock.listen(backlog)
        except OSError as error:
            raise _explained(path, error) from None
        undo.pop_all()
        return UnixSocket(sock, path, identity, lock)


def _settle(path: str, mode: int, uid: int, gid: int, undo: contextlib.ExitStack) -> tuple[int, int]:
    """Give the bound file its owner, group and mode; return its identity."""
    file = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(file)
        if not stat.S_ISSOCK(found.st_mode):
            raise ListenFailed(f"cannot listen on {_shown(path)}: it was replaced while it was made")
        identity = found.st_dev, found.st_ino
        undo.callback(_unlink_own, path, identity)
        # An O_PATH descriptor can only be changed by way of its name below /proc.
        handle = f"/proc/self/fd/{file}"
        if (uid, gid) != (-1, -1):
            try:
                os.chown(handle, uid, gid)
            except PermissionError:
                who = " and ".join(
                    f"{what} {number}" for what, number in (("user", uid), ("group", gid)) if number >= 0
                )
                raise ListenFailed(f"cannot give {_shown(path)} to {who}: only root may give files away") from None
        os.chmod(handle, mode)
        return identity
    finally:
        os.close(file)


def _warn_of_folder(path: str) -> None:
    """Say so where somebody else can put a socket of his own into the place of ours, and be asked instead of us."""
    with contextlib.suppress(OSError):  # which the next step tells
        found = os.stat(path)
        if found.st_uid not in (0, os.geteuid()):
            _LOG.warning("! %s belongs to user %d, who can put another socket there", _shown(path), found.st_uid)
        elif found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
            _LOG.warning("! anybody may put another socket into %s (chmod o-w, or +t)", _shown(path))


def _lock(path: str) -> int:
    name = f"{path}.lock"
    for _ in range(_LOCK_ATTEMPTS):
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _PRIVATE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.stat(name, follow_symlinks=False)
            if os.path.samestat(found, os.fstat(lock)):
                return lock
        except FileNotFoundError:
            pass  # its last holder stopped between our open() and our flock()
        except BlockingIOError:
            os.close(lock)
            raise AddressInUse(
                f"cannot listen on {_shown(path)}: another daemon listens there, or is about to"
            ) from None
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
    raise AddressInUse(f"cannot listen on {_shown(path)}: its lock file keeps changing hands")


def _unlock(lock: int, path: str) -> None:
    name = f"{path}.lock"
    found = os.fstat(lock)
    try:
        _unlink_own(name, (found.st_dev, found.st_ino))
    finally:
        os.close(lock)


def _unlink_own(path: str, identity: tuple[int, int]) -> None:
    try:
        found = os.stat(path, follow_symlinks=False)
        if (found.st_dev, found.st_ino) == identity:
            os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # for instance after the daemon has given up its privileges
        _LOG.warning("cannot remove %s: %s", _shown(path), error.strerror)


def _remove_stale(path: str) -> None:
    """Make room at the path, which the lock lets us do, unless something alive or foreign is there."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ListenFailed(f"cannot listen on {_shown(path)}: {_kind(found.st_mode)} is in the way")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as probe:
        result = probe.connect_ex(path)
    if result == errno.ECONNREFUSED:
        _unlink_own(path, (found.st_dev, found.st_ino))
    elif result in (errno.EACCES, errno.EPERM):
        raise ListenFailed(f"cannot listen on {_shown(path)}: another user's socket is in the way")
    elif result != errno.ENOENT:
        # Accepted; or EAGAIN, a full backlog; or EPROTOTYPE, a socket of another type: somebody is there.
        raise AddressInUse(f"cannot listen on {_shown(path)}: another program listens there")


def _shown(path: str) -> str:
    return path if path.isprintable() else ascii(path)  # an error is one line, whatever a directory is called


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a file that is no socket"


def _explained(path: str, error: OSError) -> ListenFailed:
    directory = os.path.dirname(path)
    if isinstance(error, FileNotFoundError) and not os.path.isdir(directory):
        return ListenFailed(f"cannot listen on {_shown(path)}: there is no directory {_shown(directory)}")
    if isinstance(error, NotADirectoryError):
        return ListenFailed(f"cannot listen on {_shown(path)}: {_shown(directory)} is no directory")
    if error.errno == errno.ELOOP:
        return ListenFailed(f"cannot listen on {_shown(path)}: {_shown(path)}.lock is a symbolic link")
    if error.errno == errno.EADDRINUSE:
        return AddressInUse(f"cannot listen on {_shown(path)}: somebody else has just taken it")
    if isinstance(error, PermissionError) and error.filename == f"{path}.lock" and os.path.lexists(error.filename):
        return ListenFailed(f"cannot listen on {_shown(path)}: {_shown(path)}.lock belongs to another user")
    if isinstance(error, PermissionError):
        return ListenFailed(f"cannot listen on {_shown(path)}: no permission to make it in {_shown(directory)}")
    return ListenFailed(f"cannot listen on {_shown(path)}: {error.strerror or error}")
