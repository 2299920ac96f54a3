"""LIMIT-B, the yardstick: the least that a JSON line server in Python can do, on uvloop.

It greets, splits on newlines, looks a synchronous handler up in a dict and writes once per
read; it has no options, policy, locks, events or ids.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Any, cast

import orjson
import uvloop

HANDLERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "ping": lambda opts: "pong",
    "echo": lambda opts: opts["text"],
}

# A stream is written in pieces of this size.
PIECE = 16 * 1024


class LimitB(asyncio.Protocol):
    """One connection of the yardstick."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send a banner."""
        self.transport = cast("asyncio.Transport", transport)
        self.rest = b""
        self.transport.write(b'{"version":"1"}\n')

    def data_received(self, data: bytes) -> None:
        """Answer every whole line."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        out = bytearray()
        for line in lines:
            request = orjson.loads(line)
            response = HANDLERS[request["cmd"]](request.get("opts", {}))
            out += orjson.dumps({"status": True, "response": response}) + b"\n"
        if out:
            self.transport.write(bytes(out))


class LimitStream(LimitB):
    """The yardstick of streams: every request is answered with messages of progress, and then the reply."""

    def data_received(self, data: bytes) -> None:
        """Answer the one request that is in flight."""
        count = orjson.loads(data)["opts"]["count"]
        out = bytearray()
        for number in range(count):
            out += orjson.dumps({"status": True, "progress": f"step {number}"}) + b"\n"
            if len(out) >= PIECE:
                self.transport.write(bytes(out))
                out.clear()
        out += orjson.dumps({"status": True, "response": count}) + b"\n"
        self.transport.write(bytes(out))


async def main(path: str, kind: str = "requests") -> None:
    """Serve on a UNIX socket until killed."""
    protocol = LimitStream if kind == "stream" else LimitB
    server = await asyncio.get_running_loop().create_unix_server(protocol, path)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
