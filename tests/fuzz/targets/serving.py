"""A whole server, from its socket to its commands: every line gets its answer, and only one (native protocol, N2)."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any, Final

from ctld.client_handler import ClientHandler
from ctld.commands.context import Context
from ctld.commands.registry import CommandRegistry
from ctld.errors import CommandFailed
from ctld.limits import Limits
from ctld.peer import Peer
from ctld.server import Server
from ctld.wire.codec import END_OF_INPUT
from ctld.wire.messages import Cancel, Invalid, Request
from ctld.wire.native import NativeCodec
from tests.fuzz.targets.target import Target, ways_to_cut

__all__ = ["TARGETS"]

MAX_LINE: Final = 4096
_PATIENCE: Final = 20.0  # seconds for a round that takes milliseconds

_COMMANDS: Final = CommandRegistry[Any]()


@_COMMANDS.command("echo", role="anyone")
async def echo(ctx: Context, **opts: Any) -> dict[str, Any]:
    """Answer with the options."""
    return opts


@_COMMANDS.command("items", role="anyone")
async def items(ctx: Context, n: int = 3) -> AsyncIterator[int]:
    """Yield some numbers."""
    for number in range(min(n, 5)):
        yield number


@_COMMANDS.command("fail", role="anyone")
async def fail(ctx: Context) -> None:
    """Fail."""
    raise CommandFailed("it fails")


@_COMMANDS.command("rest", role="anyone")
async def rest(ctx: Context) -> str:
    """Let others have their turn."""
    await ctx.progress("resting", current=1, total=2)
    await asyncio.sleep(0)
    return "rested"


class _Handler(ClientHandler[Any]):
    """Takes everybody for a stranger: nothing that bytes can ask for does any harm."""

    async def on_connect(self) -> None:
        self.peer = Peer(role="anyone", uid=65534, gid=65534, transport="unix")


def fuzz_serving(data: bytes) -> None:
    """Every line has one final message, those without an id in order, however the bytes arrive; then comes the end."""
    for messages in asyncio.run(_serve(data)):
        _check(data, messages)


async def _serve(data: bytes) -> list[list[dict[str, Any]]]:
    """Return what is answered to the same bytes in one piece and in several."""
    address = f"@ctld-fuzz-{os.getpid()}"
    whole, _, *_, pieces = ways_to_cut(data)
    server = Server(_Handler, commands=_COMMANDS, listen=[f"unix:{address}"], limits=Limits(max_line=MAX_LINE))
    async with asyncio.timeout(_PATIENCE), server:
        return [await _converse(f"\0{address[1:]}", one) for one in (whole, pieces)]


async def _converse(address: str, pieces: list[bytes]) -> list[dict[str, Any]]:
    reader, writer = await asyncio.open_unix_connection(address)
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        writer.write_eof()
        told = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    return [json.loads(line) for line in told.splitlines()]


def _check(data: bytes, messages: list[dict[str, Any]]) -> None:
    codec = NativeCodec(MAX_LINE)
    codec.receive_data(data)
    codec.receive_eof()
    asked: list[Any] = []
    while (event := codec.next_event()) is not END_OF_INPUT:
        if type(event) is not Cancel:
            asked.append(event)
    assert "version" in messages[0]
    finals = [message for message in messages[1:] if "progress" not in message and "item" not in message]
    assert all(type(message["status"]) is bool for message in messages[1:])
    assert len(finals) == len(asked), f"{len(asked)} requests have {len(finals)} answers: {messages}"
    waiting = [event for event in asked if event.id is None]
    for event, final in zip(waiting, (final for final in finals if "id" not in final), strict=True):
        if type(event) is Invalid:
            assert final["code"] == event.code
        elif final["status"] and event.cmd == "echo" and not event.detach:
            assert type(event) is Request
            assert final["response"].keys() <= event.opts.keys()
        elif event.cmd == "fail" and not event.detach:
            assert final["status"] is False


TARGETS = (Target("serving", fuzz_serving, max_size=400),)
