"""The parent's side of the worker's wire: requests to bytes, bytes to results.  Pure.

Returns are read by their counts and lengths; a prompt is looked for only where one is due.
One that comes where a count is due says that the request was interrupted: a count never
begins with `#`.
"""

from collections.abc import Callable, Generator
from typing import Final, Generic, Literal, TypeAlias, TypeVar

import msgspec

from ctld.errors import InvalidOptions, RemoteProtocolError
from ctld.gatherer.protocol import MAX_LINE, prompt
from ctld.wire.buffer import ReceiveBuffer

__all__ = [
    "Answer",
    "Copied",
    "Executed",
    "Outcome",
    "ReplyReader",
    "Request",
    "copy_matching_request",
    "copy_request",
    "exec_request",
    "glob_request",
    "noop_request",
    "ping_request",
]

T = TypeVar("T")

Outcome: TypeAlias = Literal["FILE", "TAIL", "DIR", "LINK", "SKIP", "FAIL"]

_OUTCOMES: Final[dict[bytes, Outcome]] = {
    b"FILE": "FILE",
    b"TAIL": "TAIL",
    b"DIR": "DIR",
    b"LINK": "LINK",
    b"SKIP": "SKIP",
    b"FAIL": "FAIL",
}

# More digits than any count, length or status has.
_MAX_DIGITS: Final = 19


class Executed(msgspec.Struct, frozen=True):
    """What became of a command.

    Attributes:
        status: Its exit status, or minus the signal that killed it; 127: it could not be started.
        output: Its standard output.
        errors: Its standard error.
    """

    status: int
    output: bytes
    errors: bytes


class Copied(msgspec.Struct, frozen=True):
    """What became of one path.

    Attributes:
        outcome: `FILE` copied, `TAIL` only its end, `DIR` or `LINK` made, `SKIP` nothing done on
            purpose, `FAIL` nothing done against our will.
        detail: Why, for `SKIP` and `FAIL`; else the number of bytes written.
        path: The source.
    """

    outcome: Outcome
    detail: str
    path: bytes

    @property
    def written(self) -> int:
        """How many bytes were written."""
        return int(self.detail) if self.outcome in ("FILE", "TAIL") else 0


class Answer(msgspec.Struct, Generic[T], frozen=True):
    """What a worker makes of a request.

    Attributes:
        value: What it returned; None if it was interrupted.
        interrupted: The next prompt came instead of returns.
    """

    value: T | None
    interrupted: bool = False


class _Cursor:
    """Takes elements from what has arrived; its generators yield while they need more."""

    def __init__(self, limit: int) -> None:
        self.buffer = ReceiveBuffer()
        self._left = limit

    def line(self) -> Generator[None, None, bytes]:
        while (line := self.buffer.take_line()) is None:
            if len(self.buffer) > self._left:
                raise RemoteProtocolError("the returns are too long")
            yield
        self._spend(len(line) + 1)
        return bytes(line)

    def number(self) -> Generator[None, None, int]:
        return _number((yield from self.line()))

    def blob(self) -> Generator[None, None, bytes]:
        r"""Take a length, that many bytes, and their `\n`."""
        size = yield from self.number()
        if size < 0:
            raise RemoteProtocolError("a negative length")
        self._spend(size + 1)
        while (blob := self.buffer.take_exactly(size + 1)) is None:
            yield
        if blob[-1:] != b"\n":
            raise RemoteProtocolError("no end of line where one is due")
        return bytes(blob[:-1])

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise RemoteProtocolError("the returns are too long")


class Request(Generic[T]):
    """One request, ready to be sent.

    Attributes:
        command: Its command.
        wire: Its bytes.
        repeatable: Asking twice does what asking once does.
        parse: Reads what it returns after the first number; None: it returns nothing.
    """

    __slots__ = ("command", "parse", "repeatable", "wire")

    def __init__(
        self,
        command: str,
        parameters: tuple[bytes, ...],
        parse: Callable[[_Cursor, int], Generator[None, None, T]] | None,
        *,
        repeatable: bool,
    ) -> None:
        """Encode a request.

        Raises:
            InvalidOptions: A parameter cannot go over the wire.
        """
        for parameter in parameters:
            if b"\n" in parameter or b"\0" in parameter:
                raise InvalidOptions("the gatherer takes no line break and no NUL in a parameter", path=command)
            if len(parameter) > MAX_LINE:
                raise InvalidOptions(f"the gatherer takes no parameter of more than {MAX_LINE} bytes", path=command)
        self.command = command
        self.wire = b"".join(line + b"\n" for line in (command.encode(), *parameters))
        self.parse = parse
        self.repeatable = repeatable

    @property
    def silent(self) -> bool:
        """Whether it returns nothing, so that an answer does not tell whether it was interrupted."""
        return self.parse is None


class ReplyReader(Generic[T]):
    """Reads what one request returns."""

    def __init__(self, request: Request[T], number: int, limit: int) -> None:
        """Prepare for the answer.

        Args:
            request: What was asked.
            number: The number that the next prompt has to have.
            limit: How many bytes the returns may have.
        """
        self._next = prompt(number).removesuffix(b"\n")
        self._cursor = _Cursor(limit)
        self._steps = self._read(request)

    def feed(self, data: bytes) -> Answer[T] | None:
        """Take bytes; return the answer when it is complete.

        Raises:
            RemoteProtocolError: These are no returns of this request.
        """
        self._cursor.buffer.feed(data)
        try:
            next(self._steps)
        except StopIteration as done:
            if self._cursor.buffer:
                raise RemoteProtocolError("something follows the prompt") from None
            answer: Answer[T] = done.value
            return answer
        return None

    def _read(self, request: Request[T]) -> Generator[None, None, Answer[T]]:
        line = yield from self._cursor.line()
        if line == self._next:
            return Answer(None, interrupted=not request.silent)
        if request.parse is None:
            raise RemoteProtocolError("a prompt was due")
        value = yield from request.parse(self._cursor, _number(line))
        if (yield from self._cursor.line()) != self._next:
            raise RemoteProtocolError("another prompt was due")
        return Answer(value)


def noop_request() -> Request[None]:
    """Ask for nothing: the worker is there, and between two requests."""
    return Request("noop", (), None, repeatable=True)


def ping_request() -> Request[None]:
    """Ask for a sign of life."""
    return Request("ping", (), None, repeatable=True)


def glob_request(pattern: bytes) -> Request[tuple[bytes, ...]]:
    """Ask for the paths that match."""
    return Request("glob", (pattern,), _parse_glob, repeatable=True)


def exec_request(line: bytes) -> Request[Executed]:
    """Ask for a shell command."""
    return Request("exec", (line,), _parse_exec, repeatable=False)


def copy_request(source: bytes, root: bytes) -> Request[tuple[Copied, ...]]:
    """Ask for a copy of one path below a root."""
    return Request("cp", (source, root), _parse_copies, repeatable=False)


def copy_matching_request(pattern: bytes, root: bytes, limit: int) -> Request[tuple[Copied, ...]]:
    """Ask for copies of all paths that match, up to a limit on their bytes; 0: no limit."""
    return Request("globcp", (pattern, root, b"%d" % limit), _parse_copies, repeatable=False)


def _parse_glob(cursor: _Cursor, count: int) -> Generator[None, None, tuple[bytes, ...]]:
    names = []
    for _ in range(count):
        name = yield from cursor.line()
        names.append(name)
    return tuple(names)


def _parse_exec(cursor: _Cursor, status: int) -> Generator[None, None, Executed]:
    output = yield from cursor.blob()
    errors = yield from cursor.blob()
    return Executed(status, output, errors)


def _parse_copies(cursor: _Cursor, count: int) -> Generator[None, None, tuple[Copied, ...]]:
    results = []
    for _ in range(count):
        head, _, detail = (yield from cursor.line()).partition(b" ")
        if (outcome := _OUTCOMES.get(head)) is None:
            raise RemoteProtocolError("an unknown outcome")
        if outcome in ("FILE", "TAIL"):
            _number(detail)
        results.append(Copied(outcome, detail.decode(errors="replace"), (yield from cursor.blob())))
    return tuple(results)


def _number(text: bytes) -> int:
    digits = text.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > _MAX_DIGITS:
        raise RemoteProtocolError("no number where one is due")
    return int(text)
