"""A client of sessions by hand: frames over a `RawClient`'s connection."""

import struct
from typing import Any

import msgspec

from tests.native import RawClient

STDIN, STDOUT, STDERR, RESIZE, SIGNAL, EXIT, PING, PONG = range(8)


def frame(kind: int, payload: bytes | dict[str, Any] = b"") -> bytes:
    body = msgspec.json.encode(payload) if isinstance(payload, dict) else payload
    return struct.pack(">BI", kind, len(body)) + body


async def read_frame(client: RawClient) -> tuple[int, bytes]:
    kind, size = struct.unpack(">BI", await client.reader.readexactly(5))
    return kind, await client.reader.readexactly(size)


async def begin(client: RawClient, cmd: str, opts: dict[str, Any] | None = None, **session: Any) -> str:
    """Ask for a session, and return its id once "continue" has come."""
    answer = await client.ask(cmd, opts or {}, session=session)
    assert answer["status"] is True, answer
    assert answer["response"] == "continue"
    return str(answer["session"])


class Outcome:
    """What came of a session: the bytes of each stream, and the exit frame."""

    def __init__(self) -> None:
        self.stdout = b""
        self.stderr = b""
        self.ended: list[int] = []
        self.exit: dict[str, Any] = {}

    @property
    def status(self) -> Any:
        return self.exit.get("exitstatus")


async def to_the_end(client: RawClient) -> Outcome:
    """Read frames up to the exit frame."""
    outcome = Outcome()
    while True:
        kind, payload = await read_frame(client)
        if kind == EXIT:
            outcome.exit = msgspec.json.decode(payload)
            return outcome
        if kind == PING:
            client.write(frame(PONG, payload))
        elif not payload:
            outcome.ended.append(kind)
        elif kind == STDOUT:
            outcome.stdout += payload
        elif kind == STDERR:
            outcome.stderr += payload
        else:
            raise AssertionError((kind, payload))
