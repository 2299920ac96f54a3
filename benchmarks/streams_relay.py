"""What a relay is measured beside: the same program behind a UNIX socket, relayed by asyncio's streams.

The first line names the program.  Its output goes to the client, what the client sends to its
input, each in a task of its own, with backpressure; there are no frames and no scroll-back.
"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

__all__ = ["PIECE"]

# What is read at once; the limit of a stream is made as large.
PIECE = 64 * 1024


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Run the program that the client names, until it ends."""
    command = json.loads(await reader.readline())
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=PIECE)
    assert process.stdin is not None
    assert process.stdout is not None
    typing = asyncio.create_task(_relay(reader, process.stdin))
    await _relay(process.stdout, writer)
    await process.wait()
    typing.cancel()
    writer.close()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PIECE):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def main(path: str) -> None:
    """Serve on a UNIX socket until killed."""
    server = await asyncio.start_unix_server(serve, path, limit=PIECE)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    run: Callable[[Coroutine[Any, Any, None]], object] = uvloop.run if sys.argv[2] == "uvloop" else asyncio.run
    run(main(sys.argv[1]))
