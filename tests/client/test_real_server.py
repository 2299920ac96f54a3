"""Both clients against the framework's own server, over every transport."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import ctld
from ctld.client import AsyncClient, Client, Update, tls_context
from tests.certificates import Authority

commands = ctld.CommandRegistry()
cleaned_up: list[str] = []


@commands.command("copy", role="anyone")
async def copy(ctx: ctld.Context, name: str, chunks: int = 3) -> dict[str, int]:
    """Copy in chunks."""
    for number in range(chunks):
        await ctx.progress(f"copied {number + 1}", current=number + 1, total=chunks, unit="chunks")
    return {"copied": chunks}


@commands.command("hang", role="anyone")
async def hang(ctx: ctld.Context) -> None:
    """Run until cancelled."""
    try:
        await ctx.progress("started")
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        cleaned_up.append("hang")


@commands.command("count", role="anyone")
async def count(ctx: ctld.Context, to: int, size: int = 0, fail: bool = False) -> AsyncIterator[str]:
    """Yield numbers."""
    for number in range(to):
        yield f"{number}{'x' * size}"
    if fail:
        raise ctld.CommandFailed("enough")


@commands.command("secret", role="admin")
async def secret(ctx: ctld.Context) -> None:
    """Never runs."""


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[ctld.Server]:
    cleaned_up.clear()
    listen = ctld.Listen(address=f"unix:{tmp_path}/s", role="operate")
    limits = ctld.Limits(stop_grace=0.05)
    async with ctld.Server(commands=commands, listen=[listen], limits=limits) as running:
        yield running


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/s"


@pytest_asyncio.fixture
async def client(server: ctld.Server, address: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(address) as connected:
        yield connected


async def test_a_call(client: AsyncClient) -> None:
    call = client.call("copy", {"name": "a"}, result=dict[str, int])
    news = [(update.message, update.current, update.total, update.unit) async for update in call]
    assert news == [(f"copied {n}", n, 3, "chunks") for n in (1, 2, 3)]
    assert await call == {"copied": 3}
    assert client.protocol == 2


async def test_many_calls(client: AsyncClient) -> None:
    calls = [client.call("copy", {"name": "a", "chunks": number}) for number in range(50)]
    assert [result["copied"] for result in await asyncio.gather(*calls)] == list(range(50))


async def test_n4_a_cancelled_task_finds_the_command_stopped(client: AsyncClient) -> None:
    call = client.call("hang")
    await anext(call)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await call
    assert cleaned_up == ["hang"]
    with pytest.raises(ctld.Cancelled):
        await call


async def test_n4_cancel_and_deadline(client: AsyncClient) -> None:
    call = client.call("hang")
    await anext(call)
    call.cancel()
    with pytest.raises(ctld.Cancelled):
        await call
    with pytest.raises(ctld.DeadlineExceeded):
        await client.call("hang", deadline=0.02)


async def test_n3_errors_are_the_classes_of_the_server(client: AsyncClient) -> None:
    with pytest.raises(ctld.UnknownCommand):
        await client.call("nope")
    with pytest.raises(ctld.InvalidOptions) as caught:
        await client.call("copy", {"name": 5})
    assert caught.value.fields["path"] == "$.name"
    assert await client.call("ping") == "pong"


@pytest.mark.parametrize("size", [0, 100_000])
async def test_n4_streams(client: AsyncClient, size: int) -> None:
    seen = 0
    async for item in client.stream("count", {"to": 100, "size": size}):
        assert item.rstrip("x") == str(seen)
        seen += 1
        assert await client.call("ping") == "pong"
    assert seen == 100


async def test_a_stream_that_fails_or_is_left(client: AsyncClient) -> None:
    failing = client.stream("count", {"to": 2, "fail": True}, result=str)
    assert [await anext(failing), await anext(failing)] == ["0", "1"]
    with pytest.raises(ctld.CommandFailed, match="enough"):
        await anext(failing)
    async with contextlib.aclosing(client.stream("count", {"to": 1_000_000})) as stream:
        assert await anext(stream) == "0"
    assert await client.call("ping") == "pong"


async def test_n4_detach(client: AsyncClient) -> None:
    operation = (await client.call("copy", {"name": "a"}, detach=True))["operation"]
    assert await client.call("op_wait", {"id": operation}) == {"copied": 3}


async def test_a_server_that_stops_answers_first(client: AsyncClient, server: ctld.Server) -> None:
    call = client.call("hang")
    await anext(call)
    server.close()
    with pytest.raises((ctld.ShuttingDown, ctld.Cancelled)):
        await call
    with pytest.raises(ctld.ConnectionLost):
        await client.wait_closed()


async def test_the_blocking_client(server: ctld.Server, address: str) -> None:
    def talk() -> list[Any]:
        said: list[Any] = []
        with Client(address) as client:
            said.append(client.call("ping"))
            said.append(client.call("copy", {"name": "a"}, on_progress=lambda update: said.append(update.current)))
            said.append(client.call("copy", {"name": "a", "chunks": 0}, result=dict[str, int]))
            said.append(list(client.stream("count", {"to": 3})))
            for item in client.stream("count", {"to": 1_000_000}):
                said.append(item)
                break
            for command, options in (("nope", {}), ("hang", {"deadline": 0.02})):
                try:
                    client.call(command, **options)
                except ctld.CommandFailed as error:
                    said.append(type(error))

            def stop(update: Update) -> None:
                assert client.cancel()

            try:
                client.call("hang", on_progress=stop)
            except ctld.CommandFailed as error:
                said.append(type(error))
        return said

    assert await asyncio.to_thread(talk) == [
        "pong",
        1,
        2,
        3,
        {"copied": 3},
        {"copied": 0},
        ["0", "1", "2"],
        "0",
        ctld.UnknownCommand,
        ctld.DeadlineExceeded,
        ctld.Cancelled,
    ]


async def test_denied_says_what_is_missing(tmp_path: Path) -> None:
    listen = ctld.Listen(address="tcp:127.0.0.1:0", role="operate")
    async with ctld.Server(commands=commands) as server:
        listener = await server.listen(listen)
        async with AsyncClient(listener.address) as client:
            with pytest.raises(ctld.Denied) as caught:
                await client.call("secret")
            assert caught.value.fields["role"] == "admin"
            assert caught.value.fields["remedy"]


async def test_tls_both_ways(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("localhost")
    listen = ctld.Listen(
        address="tls:127.0.0.1:0", role="operate", tls_certificate=certificate, tls_key=key, tls_ca=str(authority.file)
    )
    context = tls_context(str(authority.file), *authority.issue("me"), environ={})
    async with ctld.Server(commands=commands) as server:
        address = (await server.listen(listen)).address
        async with AsyncClient(address, tls=context) as client:
            assert await client.call("ping") == "pong"

        def talk() -> Any:
            with Client(address, tls=context) as client:
                with contextlib.closing(client.run("hang")) as news:
                    next(news)
                    client.cancel()
                    with pytest.raises(ctld.Cancelled):
                        next(news)
                return client.call("ping")

        assert await asyncio.to_thread(talk) == "pong"

        def stranger() -> None:
            with Client(address, tls=tls_context(str(authority.file), environ={})) as client:
                client.call("ping")

        with pytest.raises(ctld.ConnectionFailed):
            await asyncio.to_thread(stranger)
        with pytest.raises(ctld.ConnectionFailed):
            async with AsyncClient(address, tls=tls_context(str(authority.file), environ={})) as client:
                await client.call("ping")


async def test_too_many_clients_are_told_so(tmp_path: Path, address: str) -> None:
    limits = ctld.Limits(max_connections=2)
    async with ctld.Server(commands=commands, listen=[address], limits=limits), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(AsyncClient(address)) for _ in range(3)]
        answers = await asyncio.gather(*[client.call("ping") for client in clients], return_exceptions=True)
        refusals = [answer for answer in answers if answer != "pong"]
        assert refusals
        assert all(isinstance(refusal, ctld.Busy) for refusal in refusals)
