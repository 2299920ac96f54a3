"""What a service manager and its service tell each other: readiness, the watchdog, inherited sockets.

Both protocols are small and stable (sd_notify(3), sd_listen_fds(3)), so they are spoken here
without a library.  The environment is always an explicit argument, and what was meant for
this process alone is removed from it: a daemon that starts children must not let them
announce themselves in its name, or take its listening sockets for theirs.
"""

import asyncio
import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from typing import Final, TypeAlias

from ctld.errors import ListenFailed

__all__ = [
    "FIRST_INHERITED",
    "InheritedSocket",
    "Notifier",
    "feed_watchdog",
    "inherited_sockets",
    "listening_socket",
    "watchdog_interval",
]

FIRST_INHERITED: Final = 3  # SD_LISTEN_FDS_START: after stdin, stdout and stderr

# A socket unit may pass many sockets, but the number comes from the environment: a typing
# error there must not make us look at a billion descriptors.
_MAX_INHERITED: Final = 4096

InheritedSocket: TypeAlias = tuple[str, socket.socket]


class Notifier:
    """Tells the service manager how the daemon is; without one, every call does nothing.

    Sending never blocks and never raises: a manager that is gone, restarts or does not read
    must not hold up the daemon.  Each method returns whether the message was handed over.
    """

    __slots__ = ("_address", "_socket")

    def __init__(self, address: str = "") -> None:
        """Remember where to send.

        Args:
            address: A path or `@abstract` name, as in `NOTIFY_SOCKET`; anything else is as good as none.
        """
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address.startswith(("/", "@")) and len(address) > 1:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> "Notifier":
        """Take `NOTIFY_SOCKET` out of an environment."""
        return cls(environ.pop("NOTIFY_SOCKET", ""))

    def ready(self, status: str = "") -> bool:
        """The daemon serves now."""
        return self._send("READY=1", *_status(status))

    def reloading(self) -> bool:
        """The daemon reads its configuration again; `ready()` must follow."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, status: str = "") -> bool:
        """The daemon is going down."""
        return self._send("STOPPING=1", *_status(status))

    def status(self, text: str) -> bool:
        """Say in one line what the daemon is doing, for `systemctl status`."""
        return self._send(*_status(text, always=True))

    def watchdog(self) -> bool:
        """The daemon is alive; due at least once per watchdog period."""
        return self._send("WATCHDOG=1")

    def close(self) -> None:
        """Give the descriptor back; later calls do nothing."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> bool:
        if self._socket is None:
            return False
        try:
            self._socket.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except (OSError, ValueError):  # ValueError: a NUL in the path, which no manager ever wrote
            return False
        return True


def _status(text: str, *, always: bool = False) -> list[str]:
    # Lines are the syntax of the message: a line break in a status would be read as another assignment.
    return ["STATUS=" + " ".join(text.split())] if text or always else []


def watchdog_interval(environ: Mapping[str, str], pid: int | None = None) -> float | None:
    """Return how often to call `Notifier.watchdog()`: half the period that the manager allows.

    Args:
        environ: Holds `WATCHDOG_USEC` and perhaps `WATCHDOG_PID`.
        pid: The process that asks; this one by default.

    Returns:
        Seconds, or None where no watchdog waits for this process.
    """
    period = _number(environ.get("WATCHDOG_USEC", ""))
    wanted = environ.get("WATCHDOG_PID", "")
    if not period or (wanted and _number(wanted) != (os.getpid() if pid is None else pid)):
        return None
    return period / 2 / 1_000_000


def _number(text: str) -> int | None:
    # int() takes signs, blanks and underscores, and refuses thousands of digits with an error of its own.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def inherited_sockets(environ: MutableMapping[str, str], pid: int) -> list[InheritedSocket]:
    """Take over the listening sockets that socket activation passed to this process.

    Args:
        environ: Holds `LISTEN_FDS`, `LISTEN_PID` and `LISTEN_FDNAMES`, which are removed in any case.
        pid: The id of this process: sockets meant for another one are left alone.

    Returns:
        Name and socket of each, in the order in which they were passed; close-on-exec and non-blocking.

    Raises:
        ListenFailed: The variables make no sense, or a descriptor is no listening stream socket.
    """
    count_text = environ.pop("LISTEN_FDS", "")
    pid_text = environ.pop("LISTEN_PID", "")
    names_text = environ.pop("LISTEN_FDNAMES", "")
    if not count_text or _number(pid_text) != pid:
        return []
    count = _number(count_text)
    if count is None or count > _MAX_INHERITED:
        raise ListenFailed(f"LISTEN_FDS={count_text[:20]!r} is no number of sockets")
    names = names_text.split(":") if names_text else []
    if names and len(names) != count:
        raise ListenFailed(f"LISTEN_FDNAMES has {len(names)} names for {count} sockets")
    found: list[InheritedSocket] = []
    try:
        for index, name in enumerate(names or ["unknown"] * count):
            found.append((name, listening_socket(FIRST_INHERITED + index)))
    except ListenFailed:
        for _, sock in found:
            sock.close()
        raise
    return found


def listening_socket(descriptor: int) -> socket.socket:
    """Take over a descriptor that somebody else has bound and made listen.

    Returns:
        The socket, which owns the descriptor from now on; close-on-exec and non-blocking.

    Raises:
        ListenFailed: It is none; the descriptor is left as it was.
    """
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ListenFailed(f"descriptor {descriptor} cannot be listened on: {error.strerror}") from None
    if sock.type != socket.SOCK_STREAM:
        problem = "it is no stream socket"
    elif sock.family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        problem = "it is neither a UNIX nor a TCP socket"
    elif not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        problem = "it is not listening (a socket unit needs Accept=no)"
    else:
        sock.set_inheritable(False)
        sock.setblocking(False)
        return sock
    sock.detach()  # not ours: closing it could take a descriptor from whoever opened it
    raise ListenFailed(f"descriptor {descriptor} cannot be listened on: {problem}")


async def feed_watchdog(notifier: Notifier, interval: float) -> None:
    """Tell the service manager that the loop turns, for as long as it does; cancel it to end."""
    while True:
        notifier.watchdog()
        await asyncio.sleep(interval)
