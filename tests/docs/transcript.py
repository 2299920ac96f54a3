r"""A conversation in bytes, as a page shows it, and what it takes to hold it.

* `--> BYTES` is sent, `<-- BYTES` comes back: without a line break of its own, `\n`, `\xHH` and `\\` stand for
  what they do in Python, and `...` in what comes back for anything.  What one says in several lines is one thing.
* `--|` ends what is sent, and at `<-|` the other side has ended the connection.
* Lines that begin with `#` are for the eye.
"""

import re
import socket
from dataclasses import dataclass
from typing import Literal

PATIENCE = 20.0  # seconds for one answer: far more than any takes

Kind = Literal["-->", "<--", "--|", "<-|"]

_ESCAPE = re.compile(rb"\\(n|\\|x[0-9a-f]{2})|\\")


class Unexpected(AssertionError):
    """It went otherwise than the page says."""


@dataclass(frozen=True)
class Step:
    kind: Kind
    text: str = ""


def steps_of(code: str) -> list[Step]:
    """Read a conversation; lines that belong together become one step."""
    steps: list[Step] = []
    for line in code.splitlines():
        kind, _, text = line.partition(" ")
        if not line or line.startswith("#"):
            continue
        if kind not in ("-->", "<--", "--|", "<-|") or (kind.endswith("|") and text):
            raise Unexpected(f"a line of a conversation begins with --> or <--, or is --| or <-|, and not {line!r}")
        if steps and kind == steps[-1].kind:
            steps[-1] = Step(steps[-1].kind, steps[-1].text + text)
        else:
            steps.append(Step(kind, text))  # type: ignore[arg-type]  # looked at above
    return steps


def bytes_of(text: str) -> bytes:
    def meant(match: re.Match[bytes]) -> bytes:
        match match[1]:
            case None:
                raise Unexpected(f"a backslash stands before n, x and two digits, or another one: {text!r}")
            case b"n":
                return b"\n"
            case b"\\":
                return b"\\"
            case digits:
                return bytes([int(digits[1:], 16)])

    return _ESCAPE.sub(meant, text.encode())


def pattern_of(text: str) -> re.Pattern[bytes]:
    if text.endswith("..."):
        raise Unexpected(f"nobody could tell where this ends: {text!r}")
    return re.compile(b".*?".join(re.escape(bytes_of(part)) for part in text.split("...")), re.DOTALL)


def hold(steps: list[Step], where: str | tuple[str, int]) -> None:
    """Hold a conversation with who listens at a path, or at a host and port.

    Raises:
        Unexpected: Something else came back, or nothing.
    """
    with socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(where)
        for step in steps:
            match step.kind:
                case "-->":
                    connection.sendall(bytes_of(step.text))
                case "--|":
                    connection.shutdown(socket.SHUT_WR)
                case "<--":
                    _expect(connection, step.text)
                case "<-|":
                    _expect_end(connection)


def _expect(connection: socket.socket, text: str) -> None:
    pattern = pattern_of(text)
    answer = b""
    try:
        # Byte by byte: what comes after it belongs to the next answer.
        while not pattern.fullmatch(answer):
            part = connection.recv(1)
            if not part:
                raise Unexpected(f"{text}\nis not what came back before the end:\n{answer!r}")
            answer += part
    except TimeoutError:
        raise Unexpected(f"{text}\nis not what came back:\n{answer!r}") from None


def _expect_end(connection: socket.socket) -> None:
    try:
        rest = connection.recv(65536)
    except TimeoutError:
        raise Unexpected("the other side does not end the connection") from None
    if rest:
        raise Unexpected(f"instead of the end there came {rest!r}")
