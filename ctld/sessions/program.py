"""Program: what a session is about, with the descriptors that lead to it.

Either a child of ours with a terminal, pipes, or descriptors that do not pass through us; or a
descriptor that somebody else drives.
"""

import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from ctld.errors import CommandFailed
from ctld.processes import Child, ExitStatus, Spawn, Terminal, spawn
from ctld.sessions.pumps import InputPump, OutputPump

__all__ = ["STDERR", "STDOUT", "Program", "ProgramUser"]

logger = logging.getLogger("ctld.sessions")

STDOUT: Final = 1
STDERR: Final = 2


class ProgramUser(Protocol):
    """Who hears of a program."""

    def on_output(self, stream: int, data: bytes) -> None:
        """It has written."""
        ...

    def on_output_end(self, stream: int) -> None:
        """It will write no more there."""
        ...

    def on_input_full(self, full: bool) -> None:
        """It is, or is no longer, behind with reading."""
        ...

    def on_exit(self, status: ExitStatus) -> None:
        """It has ended; there may still be output."""
        ...


class Program:
    """A program that runs, and the way to it.

    Args:
        user: Who hears of it.
    """

    def __init__(self, user: ProgramUser) -> None:
        self._user = user
        self._child: Child | None = None
        self._terminal: Terminal | None = None
        self._on_resize: Callable[[int, int], None] | None = None
        self._input: InputPump | None = None
        self._outputs: dict[int, OutputPump] = {}
        self._held = False

    async def start(self, spec: Spawn, terminal: Terminal | None = None) -> None:
        """Start it.

        Args:
            spec: What to start; it says which streams are pipes to us.
            terminal: Its terminal, which this owns from now on.

        Raises:
            CommandFailed: It cannot be started; the terminal stays the caller's.
        """
        self._child = child = await spawn(spec)
        self._terminal = terminal
        if terminal is not None:
            self._input = InputPump(os.dup(terminal.master), self._user.on_input_full)
            self._read(STDOUT, os.dup(terminal.master))
        if child.stdin is not None:
            self._input = InputPump(child.take("stdin"), self._user.on_input_full)
        if child.stdout is not None:
            self._read(STDOUT, child.take("stdout"))
        if child.stderr is not None:
            self._read(STDERR, child.take("stderr"))
        child.on_exit(self._user.on_exit)

    def drive(self, fd: int, on_resize: Callable[[int, int], None] | None = None) -> None:
        """Be about a terminal or socket that somebody else drives, and own it.

        Args:
            fd: The descriptor.
            on_resize: Told the rows and columns that it should have.
        """
        self._on_resize = on_resize
        os.set_blocking(fd, False)
        self._input = InputPump(os.dup(fd), self._user.on_input_full)
        self._read(STDOUT, fd)

    @property
    def is_child(self) -> bool:
        """Whether it is a process of ours."""
        return self._child is not None

    @property
    def pid(self) -> int | None:
        """Its process id, while it runs."""
        return None if self._child is None or self._child.status is not None else self._child.pid

    @property
    def input_full(self) -> bool:
        """Whether it is behind with reading."""
        return self._input is not None and self._input.full

    @property
    def drained(self) -> bool:
        """Whether all it will ever write has been read."""
        return not any(output.open for output in self._outputs.values())

    @property
    def paused(self) -> bool:
        """Whether it is kept from writing."""
        return any(output.paused for output in self._outputs.values())

    def was_silent(self) -> bool:
        """Tell whether nothing was written since this was last asked."""
        silent = all(output.silent for output in self._outputs.values())
        for output in self._outputs.values():
            output.silent = True
        return silent

    def write(self, *pieces: bytes | memoryview) -> None:
        """Have it read something, one piece after the other."""
        if self._input is not None:
            self._input.write(*pieces)

    def end_input(self) -> None:
        """Let it see the end of its input; a terminal gets its character for that."""
        if self._terminal is not None:
            self.write(b"\x04")
        elif self._input is not None:
            self._input.end()

    def hold(self, held: bool) -> None:
        """Keep it from writing, or let it write again."""
        if held is self._held:
            return
        self._held = held
        for output in self._outputs.values():
            if held:
                output.pause()
            else:
                output.resume()

    def resize(self, rows: int, cols: int) -> None:
        """Set the size of its terminal; without one nothing happens.

        Raises:
            InvalidOptions: No terminal has such a size.
        """
        if self._terminal is not None and self._terminal.master >= 0:
            self._terminal.resize(rows, cols)
        elif self._on_resize is not None:
            self._on_resize(rows, cols)

    def signal(self, number: int) -> bool:
        """Send a signal to its group; False if there is none any more.

        Raises:
            CommandFailed: It is not permitted.
        """
        return self._child is not None and self._child.signal(number)

    def end_by(self, *numbers: int) -> None:
        """Send signals that shall end it, and leave nothing of its group behind when it has."""
        if self._child is None:
            self.close()
            self._user.on_exit(ExitStatus(0))
            return
        self._child.kill_group = True
        try:
            for number in numbers:
                self._child.signal(number)
        except CommandFailed as exc:
            logger.warning("! %s", exc)

    def close_input(self) -> None:
        """Let it read no more; what is left is dropped."""
        if self._input is not None:
            self._input.close()

    def close(self) -> None:
        """Let go of everything that leads to it."""
        self.close_input()
        for output in self._outputs.values():
            output.close()
        if self._terminal is not None:
            self._terminal.close()

    def _read(self, stream: int, fd: int) -> None:
        user = self._user
        self._outputs[stream] = OutputPump(fd, partial(user.on_output, stream), partial(user.on_output_end, stream))
