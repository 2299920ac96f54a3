import asyncio
import os

import pytest

import ctld
from ctld.testing import serving

commands = ctld.CommandRegistry[list]()


@commands.command("append", role="operate")
async def append(ctx: ctld.Context[list], value: int) -> int:
    await ctx.progress("appending")
    ctx.app.append(value)
    return len(ctx.app)


@commands.command("who", role="anyone")
async def who(ctx: ctld.Context[list]) -> str:
    return f"{ctx.peer} {ctx.peer.role} {ctx.peer.transport}"


class Handler(ctld.ClientHandler[list]):
    connected = 0

    def server_version(self):
        return "7.0"

    async def on_connect(self):
        Handler.connected += 1


def path_of(client):
    return str(client.address).removeprefix("unix:")


async def test_commands_are_served_over_a_socket():
    app = []
    async with serving(commands, app=app) as client:
        call = client.call("append", {"value": 7})
        assert await call == 1
        assert await client.call("ping") == "pong"
        path = path_of(client)
        assert os.path.exists(path)
    assert app == [7]
    assert not os.path.exists(os.path.dirname(path))


async def test_the_builtins_alone():
    async with serving() as client:
        assert await client.call("ping") == "pong"


async def test_a_handler_and_a_peer():
    eve = ctld.Peer(name="eve", role="observe", transport="tcp")
    before = Handler.connected
    async with serving(commands, app=[], handler=Handler, peer=eve) as client:
        assert await client.call("who") == "eve observe tcp"
        assert client.banner["version"] == "7.0"
        with pytest.raises(ctld.Denied) as refused:
            await client.call("append", {"value": 1})
        assert refused.value.fields["role"] == "operate"
    assert Handler.connected == before + 1


async def test_without_a_peer_it_is_who_runs_the_test():
    async with serving(commands, app=[]) as client:
        assert (await client.call("who")).endswith("admin unix")


async def test_more_clients_connect_to_the_same_address():
    async with serving(commands, app=[]) as client, ctld.AsyncClient(client.address) as other:
        assert await asyncio.gather(client.call("append", {"value": 1}), other.call("append", {"value": 2})) == [1, 2]


async def test_limits():
    async with serving(limits=ctld.Limits(max_line=200)) as client:
        with pytest.raises(ctld.CtldError):
            await client.call("ping", {"padding": "x" * 300})


async def test_a_failing_block_leaves_nothing_behind():
    paths = []

    async def fail():
        async with serving() as client:
            paths.append(path_of(client))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert not os.path.exists(paths[0])
