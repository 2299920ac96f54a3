"""Pseudo-terminals: the pair, its size, who owns it."""

import os
import termios
from types import TracebackType
from typing import Final

from ctld.errors import CommandFailed, InvalidOptions

__all__ = ["Terminal", "open_terminal"]

# What the kernel stores for a size: an unsigned short.
_LARGEST: Final = 0xFFFF


class Terminal:
    """A pseudo-terminal: programs sit on the slave, who drives them on the master.

    The master does not block.  Once no process has the slave open, reading the master
    raises EIO: that is the end of its output.

    Attributes:
        path: The name of the slave, such as `/dev/pts/3`.
    """

    def __init__(self, master: int, slave: int) -> None:
        self._master = master
        self._slave = slave
        self.path = os.readlink(f"/proc/self/fd/{slave}")
        os.set_blocking(master, False)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def master(self) -> int:
        """The descriptor that drives the terminal; -1 once it is closed or taken."""
        return self._master

    @property
    def slave(self) -> int:
        """The descriptor that a child gets; -1 once it is closed."""
        return self._slave

    def resize(self, rows: int, cols: int) -> None:
        """Set the size; the foreground programs get SIGWINCH if it changed.

        Raises:
            InvalidOptions: No terminal has such a size.
        """
        if not (0 < rows <= _LARGEST and 0 < cols <= _LARGEST):
            raise InvalidOptions(f"a terminal cannot have {rows} rows and {cols} columns", path="rows")
        termios.tcsetwinsize(self._master, (rows, cols))

    def give_to(self, uid: int) -> None:
        """Make a user own the slave: programs open their terminal anew by its name."""
        os.fchown(self._slave, uid, -1)
        os.fchmod(self._slave, 0o600)

    def close_slave(self) -> None:
        """Let go of the slave, once the child has it: while we hold it there is no end of output."""
        slave, self._slave = self._slave, -1
        if slave >= 0:
            os.close(slave)

    def take_master(self) -> int:
        """Return the master; the caller owns it from now on."""
        master, self._master = self._master, -1
        return master

    def close(self) -> None:
        """Close both ends; the kernel sends SIGHUP to the session on the slave."""
        self.close_slave()
        if (master := self.take_master()) >= 0:
            os.close(master)


def open_terminal(rows: int = 24, cols: int = 80) -> Terminal:
    """Open a pseudo-terminal that has its size from the first byte on.

    Raises:
        InvalidOptions: No terminal has such a size.
        CommandFailed: There is no terminal, or no descriptor, left.
    """
    try:
        terminal = Terminal(*os.openpty())
    except OSError as error:
        raise CommandFailed(f"cannot open a terminal: {error.strerror}") from error
    try:
        terminal.resize(rows, cols)
    except BaseException:
        terminal.close()
        raise
    return terminal
