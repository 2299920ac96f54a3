"""ctld.client.asynchronous: many calls under way, and one clear end of the connection."""

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ctld.client import AsyncClient
from ctld.client import asynchronous as module
from ctld.errors import (
    Cancelled,
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    LocalProtocolError,
    RemoteProtocolError,
)
from tests.client.scripted import BANNER, Peer, Scripted, Serve


class Asked(msgspec.Struct):
    cmd: str
    opts: dict[str, int]


async def test_calls_streams_and_types(ponging: Scripted) -> None:
    async with AsyncClient(ponging.address) as client:
        assert await client.call("x", {"a": 1}) == {"cmd": "x", "opts": {"a": 1}, "id": 1}
        assert await client.call("x", {"a": 1}, result=Asked, deadline=5) == Asked("x", {"a": 1})
        assert (await client.call("x", detach=True))["detach"] is True
        assert [value["stream"] async for value in client.stream("x")] == [True]
        assert [value async for value in client.stream("y", result=Asked)] == [Asked("y", {})]
        assert client.banner == BANNER
        assert client.protocol == 2
    assert ponging.connections == 1


async def test_n4_a_thousand_calls_are_under_way_at_once(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.send(BANNER)
        requests = [peer.receive() for _ in range(1000)]
        for request in reversed(requests):
            peer.send({"status": True, "response": request["opts"]["n"], "id": request["id"]})

    async with AsyncClient(serve(script).address) as client:
        calls = [client.call("x", {"n": number}) for number in range(1000)]
        assert await asyncio.gather(*calls) == list(range(1000))


async def test_progress_of_two_calls_is_not_mixed(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.send(BANNER)
        ids = [peer.receive()["id"], peer.receive()["id"]]
        for number in range(3):
            for own in ids:
                peer.send({"status": True, "progress": f"{own}:{number}", "id": own})
        for own in ids:
            peer.send({"status": True, "response": own, "id": own})

    async with AsyncClient(serve(script).address) as client:
        for call in [client.call("a"), client.call("b")]:
            messages = [update.message async for update in call]
            own = await call
            assert messages == [f"{own}:{number}" for number in range(3)]


async def test_a_cancelled_task_cancels_the_command_and_waits_for_its_end(serve: Serve) -> None:
    order: list[str] = []

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        own = peer.receive()["id"]
        peer.send({"status": True, "progress": "started", "id": own})
        assert peer.receive() == {"cancel": own}
        order.append("cleaned up")
        peer.send({"status": False, "message": "stopped", "code": "cancelled", "id": own})
        peer.until_closed()

    async with AsyncClient(serve(script).address) as client:
        call = client.call("backup")
        started = asyncio.Event()

        async def wait() -> None:
            async for _ in call:
                started.set()

        task = asyncio.create_task(wait())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        order.append("gone on")
        with pytest.raises(Cancelled, match="stopped"):
            await call
    assert order == ["cleaned up", "gone on"]


async def test_calls_within_the_loop_over_a_large_stream(serve: Serve) -> None:
    """Reading stops for neither, however much the stream sends."""

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        own = peer.receive()["id"]
        for number in range(200):
            peer.send({"status": True, "item": [number, "x" * 20_000], "id": own})
        peer.send({"status": True, "response": None, "id": own})
        while (request := peer.receive()) is not None:
            peer.send({"status": True, "response": request["opts"]["n"], "id": request["id"]})

    async with AsyncClient(serve(script).address) as client:
        seen = [await client.call("start", {"n": number}) async for number, _ in client.stream("list")]
    assert seen == list(range(200))


@pytest.mark.parametrize("after", range(5))
async def test_b34_a_server_that_dies_at_each_stage(serve: Serve, after: int) -> None:
    steps = [
        lambda peer: peer.send(BANNER),
        lambda peer: peer.receive(),
        lambda peer: peer.send({"status": True, "progress": "p", "id": 1}),
        lambda peer: peer.send(b'{"status":true,"resp'),
    ]

    def script(peer: Peer) -> None:
        for step in steps[:after]:
            step(peer)

    async with AsyncClient(serve(script).address) as client:
        with pytest.raises(ConnectionLost):
            await client.call("x")
        with pytest.raises(ConnectionLost):
            await client.wait_closed()


async def test_wait_closed_tells_whose_wish_it_was(ponging: Scripted, serve: Serve) -> None:
    client = AsyncClient(ponging.address)
    client.close()
    await client.wait_closed()
    await client.connect()
    client.close()
    await client.wait_closed()
    async with AsyncClient(serve(lambda peer: peer.send(b"garbage\n")).address) as other:
        for _ in range(2):
            with pytest.raises(RemoteProtocolError):
                await other.wait_closed()


async def test_connecting_again(ponging: Scripted) -> None:
    client = AsyncClient(ponging.address)
    with pytest.raises(LocalProtocolError, match="not connected"):
        client.call("x")
    assert (client.banner, client.protocol) == (None, 0)
    await client.connect()
    await client.connect()
    assert await client.call("x")
    client.close()
    with pytest.raises(ConnectionLost):
        await client.call("x")
    async with client:
        assert await client.call("x")
    assert ponging.connections == 2


async def test_leaving_ends_what_is_under_way(serve: Serve) -> None:
    async with AsyncClient(serve(lambda peer: peer.until_closed()).address) as client:
        call = client.call("x")
    with pytest.raises(ConnectionLost, match="was closed"):
        await call


async def test_leaving_a_server_that_reads_nothing(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_WAIT", 0.02)
    release = threading.Event()
    try:
        async with AsyncClient(serve(lambda peer: release.wait(10)).address) as client:
            call = client.call("x", {"a": "y" * 10_000_000})
        with pytest.raises(ConnectionLost):
            await call
    finally:
        release.set()


async def test_the_body_of_async_with_may_fail_to_start(tmp_path: Path) -> None:
    client = AsyncClient(f"{tmp_path}/none")
    with pytest.raises(ConnectFailed, match="is it running"):
        await client.__aenter__()
    await client.__aexit__(None, None, None)


async def test_a_stream_that_is_left(serve: Serve) -> None:
    rest: list[Any] = []

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        own = peer.receive()["id"]
        peer.send({"status": True, "item": 0, "id": own})
        rest.extend(peer.until_closed())

    server = serve(script)
    async with AsyncClient(server.address) as client, contextlib.aclosing(client.stream("x")) as items:
        assert await anext(items) == 0
    server.stop_peers()
    assert rest == [{"cancel": 1}]


@pytest.mark.parametrize("address", ["fd:3", "nonsense"])
def test_addresses_are_checked_early(address: str) -> None:
    with pytest.raises(ConfigError):
        AsyncClient(address)


def test_the_default_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTLD_SOCKET", "unix:@x")
    client = AsyncClient()
    assert str(client.address) == "unix:@x"
    assert AsyncClient(client.address).address is client.address
