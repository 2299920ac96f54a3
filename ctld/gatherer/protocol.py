"""The worker's wire: requests in, returns and tokens out.  Pure.

A request is a command line and a fixed number of parameter lines.  What comes back is
framed by counts and byte lengths only, never by looking for the next prompt, because
everything that is returned may contain anything, a line like `#5#` included.

The worker loads this module, so it imports next to nothing: neither `typing` nor `enum`.
"""

from ctld.errors import RemoteProtocolError
from ctld.wire.buffer import ReceiveBuffer

TYPE_CHECKING = False  # type checkers know the name; importing typing would double the start-up time
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Final, TypeAlias

    Result: TypeAlias = tuple[str, str, bytes]
    """One line of what `cp` and `globcp` return: outcome, detail, path."""

__all__ = [
    "ALIVE",
    "MAX_LINE",
    "PARAMETERS",
    "UNKNOWN_COMMAND",
    "RequestReader",
    "copy_returns",
    "exec_returns",
    "glob_returns",
    "interrupted",
    "prompt",
]

PARAMETERS: "Final[dict[bytes, int]]" = {
    b"noop": 0,
    b"ping": 0,
    b"exit": 0,
    b"glob": 1,
    b"exec": 1,
    b"cp": 2,
    b"globcp": 3,
}
"""How many parameter lines follow each command."""

# What a line that never ends can make us hold.  Linux takes no argument of a program beyond
# 128 KiB and no path beyond 4 KiB, so nothing useful comes near it.
MAX_LINE: "Final" = 16 * 1024 * 1024

ALIVE: "Final" = b"ALIVE\n"
UNKNOWN_COMMAND: "Final" = b"UNKNOWN COMMAND\n"


class RequestReader:
    """Cuts the input into requests; keeps what is not complete yet."""

    __slots__ = ("_buffer", "_request", "_wanted")

    def __init__(self) -> None:
        self._buffer = ReceiveBuffer()
        self._request: list[bytes] = []  # the command and the parameters that have come so far
        self._wanted = 0

    @property
    def in_parameters(self) -> bool:
        """Whether a command has been read and its parameters have not."""
        return bool(self._request)

    @property
    def empty(self) -> bool:
        """Whether nothing is left, not even the beginning of a line."""
        return not self._request and not self._buffer

    def feed(self, data: bytes) -> None:
        """Append what arrived."""
        self._buffer.feed(data)

    def next_request(self) -> "list[bytes] | None":
        r"""Return the next request: the command, then its parameters; None while it is incomplete.

        White space around a command is not part of it.  A parameter is its line exactly, less
        the `\n`: the name of a file can end in a space.

        Raises:
            RemoteProtocolError: The command is unknown, so nobody can tell how many of the lines
                that follow belong to it; or a line is longer than `MAX_LINE`.
        """
        while (line := self._buffer.take_line()) is not None:
            if not self._request:
                command = bytes(line.strip())
                if command not in PARAMETERS:
                    raise RemoteProtocolError("unknown command")
                self._request.append(command)
                self._wanted = PARAMETERS[command]
            else:
                self._request.append(bytes(line))
                self._wanted -= 1
            if not self._wanted:
                request, self._request = self._request, []
                return request
        if len(self._buffer) > MAX_LINE:
            raise RemoteProtocolError("line too long")
        return None

    def drop(self) -> None:
        """Forget the incomplete request and the incomplete line."""
        self._request.clear()
        self._buffer.take_all()


def prompt(number: int) -> bytes:
    """Return the line that says: the request of this number is expected."""
    return b"#%d#\n" % number


def interrupted(number: int, *, numbered: bool) -> bytes:
    """Return the token for a request that SIGINT ended; `numbered` since revision 2."""
    return b"#%d# INTERRUPTED\n" % number if numbered else b"INTERRUPTED\n"


def glob_returns(names: "Sequence[bytes]") -> bytes:
    r"""Return what `glob` returns.

    A name with a `\n` in it cannot be told from two names and could forge a prompt: it is left out.
    """
    listed = [name for name in names if b"\n" not in name]
    return b"%d\n" % len(listed) + b"".join([name + b"\n" for name in listed])


def exec_returns(status: int, output: bytes, errors: bytes) -> bytes:
    """Return what `exec` returns: the status, and both outputs with their lengths in bytes."""
    return b"%d\n%d\n%b\n%d\n%b\n" % (status, len(output), output, len(errors), errors)


def copy_returns(results: "Iterable[Result]") -> bytes:
    """Return what `cp` and `globcp` return: a count, then a line and a sized path for each result."""
    lines = [
        b"%b %b\n%d\n%b\n" % (outcome.encode(), detail.encode(), len(path), path) for outcome, detail, path in results
    ]
    return b"%d\n" % len(lines) + b"".join(lines)
