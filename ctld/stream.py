"""What a hijacked connection can do, and what it asks of whoever owns its bytes (N5).

Sessions and commands see a connection only as this: they know no transport, no parser and no
order of requests.
"""

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

__all__ = ["Stream", "StreamOwner"]


class StreamOwner(Protocol):
    """Who owns the bytes of a hijacked connection; its methods must not block."""

    def on_data(self, data: bytes) -> None:
        """Take what the client sent."""
        ...

    def on_end(self) -> None:
        """The client sends no more; told once, after the last data."""
        ...

    def on_gone(self) -> None:
        """Nobody reads any more what is sent; told once, and `on_end` may never come then."""
        ...

    def on_drained(self) -> None:
        """The client has caught up with what is sent to it."""
        ...


class Stream(ABC):
    """A hijacked connection; reading is paused until somebody owns it.

    Attributes:
        transport: `unix`, `tcp` or `tls`.
        exit_status: What the program of the session ended with, once it has.
    """

    transport: str
    exit_status: int | None = None

    @property
    @abstractmethod
    def gone(self) -> bool:
        """Whether nobody reads what is sent."""

    @property
    @abstractmethod
    def congested(self) -> bool:
        """Whether the client is behind with reading, so that nothing more should be sent."""

    @property
    @abstractmethod
    def backlog(self) -> int:
        """How many bytes wait for the client on this side of the kernel."""

    @abstractmethod
    def give_to(self, owner: StreamOwner, *, reading: bool = True) -> None:
        """Let somebody own the bytes, those that have been read already first.

        Args:
            owner: Who gets them.
            reading: Whether to read; without it the owner only learns that the client is gone.
        """

    @abstractmethod
    def pause(self) -> None:
        """Read nothing for now."""

    @abstractmethod
    def resume(self) -> None:
        """Read again after `pause()`."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send; a client that is gone is no error."""

    @abstractmethod
    def unread(self, data: bytes) -> None:
        """Give back bytes that the owner did not use: whoever comes next gets them first."""

    @abstractmethod
    def defer(self, callback: Callable[[], object]) -> None:
        """Have something called when the client has been told the end, or cannot be told any more."""

    @abstractmethod
    async def flush(self) -> None:
        """Wait until everything sent is in the kernel's hands."""

    @abstractmethod
    async def consumed(self, timeout: float) -> None:
        """Wait until the client has read everything, at most so many seconds; on a UNIX socket."""

    @abstractmethod
    async def take_fds(self, count: int, timeout: float) -> list[int]:
        """Receive descriptors; the caller owns them.  They do not survive an exec, and block.

        Raises:
            RemoteProtocolError: The client sent something else, or not in time.
            Cancelled: It is gone.
        """

    @abstractmethod
    def detach(self) -> tuple[socket.socket, bytes]:
        """Give the bare socket away, and what was read from it and not used.

        Raises:
            LocalProtocolError: Something sent is not in the kernel's hands yet.
        """
