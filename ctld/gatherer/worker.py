"""The gatherer: requests on stdin, prompts and returns on stdout, tokens on stderr.

Theory of operation.  The worker does one thing at a time and is in one of four phases: it
waits for a command, waits for parameters, executes, or writes what the request returns.
Returns are made in memory and written whole, so an interrupted request returns nothing.
Complete requests that have been read are executed before SIGINT is looked at again: a parent
that saw its request being read knows that a signal hits that request and no other.

Input is never executed in part: at its end, or at an unknown command, what is incomplete or
follows is thrown away, since nobody can tell parameters from commands in it.
"""

import os
import select
import signal

from ctld.errors import ConfigError, RemoteProtocolError
from ctld.gatherer.copy import Rules, copy, copy_matching
from ctld.gatherer.execute import execute
from ctld.gatherer.interrupts import Interrupted, Interrupts, ReaderGone, wait_writable, write_all
from ctld.gatherer.listing import matching
from ctld.gatherer.patterns import Pattern
from ctld.gatherer.protocol import (
    ALIVE,
    UNKNOWN_COMMAND,
    RequestReader,
    copy_returns,
    exec_returns,
    glob_returns,
    interrupted,
    prompt,
)

TYPE_CHECKING = False  # type checkers know the name; importing typing would double the start-up time
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

__all__ = ["USAGE", "Settings", "Worker", "main", "parse_arguments"]

USAGE: "Final" = "usage: ctld gatherer [--sigint=v1|v2] [--forbid PATTERN]... [--owner UID:GID] [--max-output BYTES]"

# The status of a worker that was told something it does not understand.
_CONFUSED: "Final" = 255
_CHUNK: "Final" = 64 * 1024  # what a pipe holds
_MAX_ID: "Final" = 2**32 - 2  # the highest number is no id: the kernel takes it for "unchanged"
_MAX_OUTPUT: "Final" = 2**40


class Settings:
    """How a worker was started.

    Attributes:
        rules: What may be copied, and for whom.
        max_output: How many bytes each output of a command may have.
        numbered: Whether SIGINT means what it means since revision 2.
    """

    __slots__ = ("max_output", "numbered", "rules")

    def __init__(self, rules: Rules, max_output: "int | None" = None, *, numbered: bool = False) -> None:
        self.rules = rules
        self.max_output = max_output
        self.numbered = numbered


class Worker:
    """One conversation with the parent, from the first prompt to the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._interrupts = Interrupts()
        self._requests = RequestReader()
        self._number = 0

    def run(self) -> int:
        """Serve until the parent says so or its input ends; return the exit status."""
        self._interrupts.install()
        self._commit(b"")
        while True:
            try:
                request = self._requests.next_request()
            except RemoteProtocolError:
                write_all(2, UNKNOWN_COMMAND)
                return _CONFUSED
            if request is not None:
                if request[0] == b"exit":
                    return 0
                self._serve(request)
            elif self._interrupts.pending:
                if not self._reset():
                    return 0
            elif not self._read():
                return 0 if self._requests.empty else _CONFUSED

    def _read(self) -> bool:
        """Wait for input or a signal; return False at the end of the input."""
        if 0 not in self._interrupts.wait(0) or self._interrupts.pending:
            return True
        try:
            data = os.read(0, _CHUNK)
        except BlockingIOError:
            return True
        self._requests.feed(data)
        return bool(data)

    def _reset(self) -> bool:
        """Deal with SIGINT outside of a request's execution; return False if it ends the worker."""
        if not (self._requests.in_parameters or self._settings.numbered):
            return False
        self._requests.drop()
        if os.isatty(0):
            _forget_typed_line()
        if self._settings.numbered:
            self._report_interrupt()
        self._commit(b"")
        return True

    def _serve(self, request: list[bytes]) -> None:
        try:
            self._interrupts.check()
            returns = self._execute(request)
            self._interrupts.check()
        except Interrupted:
            self._report_interrupt()
            returns = b""
        else:
            self._number += 1
        self._commit(returns)

    def _execute(self, request: list[bytes]) -> bytes:
        check, rules = self._interrupts.check, self._settings.rules
        match request:
            case [b"ping"]:
                write_all(2, ALIVE)
            case [b"glob", pattern]:
                return glob_returns(matching(pattern, check))
            case [b"exec", line]:
                return exec_returns(*execute(line, self._interrupts, self._settings.max_output))
            case [b"cp", source, root]:
                return copy_returns(copy(source, root, rules, check))
            case [b"globcp", pattern, root, limit]:
                return copy_returns(copy_matching(pattern, root, limit, rules, check))
        return b""

    def _report_interrupt(self) -> None:
        write_all(2, interrupted(self._number, numbered=self._settings.numbered))
        self._number += 1

    def _commit(self, returns: bytes) -> None:
        """Write what a request returns, and the next prompt; SIGINT until then came too late.

        It is forgotten at the last moment before the prompt, so that one that answers the prompt
        is not: the last piece is written at once when the pipe has room for it.
        """
        data = memoryview(returns + prompt(self._number))
        last = max(0, len(data) - select.PIPE_BUF)
        write_all(1, data[:last])
        wait_writable(1)
        self._interrupts.pending = False
        write_all(1, data[last:])


def _forget_typed_line() -> None:
    """Have a terminal forget the half of a line that it keeps until the line is complete."""
    import termios  # only people have a terminal, and they have the time

    termios.tcflush(0, termios.TCIFLUSH)


def parse_arguments(arguments: "Sequence[str]") -> Settings:
    """Read the start options; by hand, since argparse alone would take longer than all the rest.

    Raises:
        ConfigError: An option is unknown, or its value cannot be.
    """
    numbered = False
    owner: tuple[int, int] | None = None
    max_output: int | None = None
    forbidden: list[Pattern] = []
    rest = list(arguments)
    while rest:
        name, given, value = rest.pop(0).partition("=")
        if name not in ("--sigint", "--forbid", "--owner", "--max-output"):
            raise ConfigError(f"unknown option {name!r}")
        if not given:
            if not rest:
                raise ConfigError(f"{name} needs a value")
            value = rest.pop(0)
        if name == "--forbid":
            forbidden.append(Pattern(os.fsencode(value)))
        elif name == "--owner":
            uid, _, gid = value.partition(":")
            owner = _number(name, uid, _MAX_ID), _number(name, gid, _MAX_ID)
        elif name == "--max-output":
            max_output = _number(name, value, _MAX_OUTPUT)
        elif value in ("v1", "v2"):
            numbered = value == "v2"
        else:
            raise ConfigError(f"--sigint is v1 or v2, not {value!r}")
    return Settings(Rules(forbidden, owner), max_output, numbered=numbered)


def _number(option: str, digits: str, highest: int) -> int:
    # int() takes very long for very many digits, so their number is looked at first.
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(highest)) and int(digits) <= highest):
        raise ConfigError(f"{option}: {digits!r} is no number from 0 to {highest}")
    return int(digits)


def main(arguments: "Sequence[str]") -> int:
    """Run a worker on this process's standard streams.

    Args:
        arguments: The command line after `ctld gatherer`.

    Returns:
        The exit status.
    """
    try:
        settings = parse_arguments(arguments)
    except ConfigError as error:
        write_all(2, f"ctld gatherer: {error}\n{USAGE}\n".encode())
        return 2
    os.chdir("/")  # relative patterns start there
    try:
        return Worker(settings).run()
    except ReaderGone:
        # As writing to it would end: a command that ran has been killed, and nothing is left to say.
        os.kill(os.getpid(), signal.SIGPIPE)
        raise
