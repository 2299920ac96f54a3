"""The least client: a socket, lines, no options; what it costs is not what is measured."""

import json
import resource
import socket
from pathlib import Path
from typing import Any

__all__ = ["LineClient", "raise_descriptors"]


# What is read at once; a megabyte takes in any answer but the very large.
_AHEAD = 1 << 20


class LineClient:
    """One connection to a server that greets and answers in lines."""

    __slots__ = ("_rest", "socket")

    def __init__(self, path: Path | str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self._rest = b""
        try:
            self.socket.connect(str(path))
            self.take()
        except OSError:
            self.socket.close()
            raise

    def ask(self, line: bytes) -> bytes:
        """Send a request, which ends with a newline, and return the line that answers it."""
        self.socket.sendall(line)
        return self.take()

    def response(self, line: bytes, *, greedy: bool = True) -> Any:
        """Ask, and return what the answer says; `message` of a failure.

        Args:
            line: The request.
            greedy: Whether what follows the answer may be read ahead.
        """
        self.socket.sendall(line)
        answer = json.loads(self.take(greedy=greedy))
        return answer["response" if answer["status"] else "message"]

    def take(self, *, greedy: bool = True) -> bytes:
        """Return the next line.

        Args:
            greedy: Whether what follows it may be read ahead.

        Raises:
            ConnectionError: There is none.
        """
        pieces = [self._rest]
        while b"\n" not in pieces[-1]:
            piece = self.socket.recv(_AHEAD if greedy else 1)
            if not piece:
                raise ConnectionError("the server has hung up")
            pieces.append(piece)
        line, _, self._rest = b"".join(pieces).partition(b"\n")
        return line

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


def raise_descriptors(wanted: int) -> int:
    """Let this process, and those it starts, have so many descriptors; return how many it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < wanted:
        soft = wanted if hard == unlimited else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == unlimited else soft
