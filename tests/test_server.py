"""The server as its author sees it: sockets, limits, background work, launched commands, status."""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import ctld
from ctld.limits import Limits
from tests.certificates import Authority
from tests.native import RawClient, Served, serving, until


def trivial() -> ctld.CommandRegistry[Any]:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("who", role="anyone")
    async def who(ctx: ctld.Context) -> dict[str, Any]:
        return {"name": ctx.peer.name, "role": ctx.peer.role, "transport": ctx.peer.transport, "uid": ctx.peer.uid}

    @commands.command("last", role="anyone")
    async def last(ctx: ctld.Context) -> None:
        await asyncio.Event().wait()

    return commands


@asynccontextmanager
async def connected(host: str, port: int, **options: Any) -> AsyncIterator[RawClient]:
    reader, writer = await asyncio.open_connection(host, port, **options)
    client = RawClient(reader, writer)
    try:
        client.banner = await client.receive()
        yield client
    finally:
        client.close()
        with suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


async def test_a_server_listens_on_several_addresses(tmp_path: Path) -> None:
    async with serving(tmp_path, trivial()) as served:
        listener = await served.server.listen("tcp:127.0.0.1:0")
        assert (await (await served.connect()).ask("who"))["response"]["transport"] == "unix"
        async with connected("127.0.0.1", port_of(listener.address)) as client:
            assert (await client.ask("who"))["response"] == {
                "name": "",
                "role": "anyone",
                "transport": "tcp",
                "uid": None,
            }
        assert served.server.status()["listeners"] == [f"unix:{served.path}", listener.address]


async def test_over_tcp_a_half_close_is_answered_too(tmp_path: Path) -> None:
    async with serving(tmp_path, trivial()) as served:
        listener = await served.server.listen("tcp:127.0.0.1:0")
        async with connected("127.0.0.1", port_of(listener.address)) as client:
            client.write(b'{"cmd":"ping"}')
            client.half_close()
            assert await client.receive_all() == [{"status": True, "response": "pong"}]


async def test_tls_with_client_certificates_names_the_peer_and_gives_it_a_role(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    mine, my_key = authority.issue("alice")
    roles: Any = {"operate": ["cert:alice"]}
    async with serving(tmp_path, trivial(), roles=roles) as served:
        where = ctld.Listen(
            address="tls:127.0.0.1:0", tls_certificate=certificate, tls_key=key, tls_ca=str(authority.file)
        )
        listener = await served.server.listen(where)
        context = ssl.create_default_context(cafile=str(authority.file))
        context.load_cert_chain(mine, my_key)
        async with connected("127.0.0.1", port_of(listener.address), ssl=context) as client:
            answer = (await client.ask("who"))["response"]
            assert answer == {"name": "alice", "role": "operate", "transport": "tls", "uid": None}
            served.server.close()
            assert await client.receive_all() == []


async def test_tls_without_the_certificate_that_is_required_is_no_conversation(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    async with serving(tmp_path, trivial()) as served:
        where = ctld.Listen(
            address="tls:127.0.0.1:0", tls_certificate=certificate, tls_key=key, tls_ca=str(authority.file)
        )
        listener = await served.server.listen(where)
        context = ssl.create_default_context(cafile=str(authority.file))
        with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
            async with connected("127.0.0.1", port_of(listener.address), ssl=context):
                pass
        await until(lambda: not served.server.connections())
        assert (await (await served.connect()).ask("ping"))["response"] == "pong"


async def test_n2_a_tls_handshake_is_bounded_in_time(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    async with serving(tmp_path, limits=Limits(handshake_timeout=0.1)) as served:
        where = ctld.Listen(address="tls:127.0.0.1:0", tls_certificate=certificate, tls_key=key)
        listener = await served.server.listen(where)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(listener.address))
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await until(lambda: not served.server.connections())


async def test_listen_adds_sockets_with_other_handlers_and_commands_at_run_time(tmp_path: Path) -> None:
    class Other(ctld.ClientHandler):
        def server_version(self) -> str:
            return f"other for {self.opts}"

    special: ctld.CommandRegistry[Any] = ctld.CommandRegistry(builtins=["ping"])

    @special.command("special", role="anyone")
    async def special_command(ctx: ctld.Context) -> str:
        return "only here"

    async with serving(tmp_path, trivial()) as served:
        listener = await served.server.listen(f"unix:{tmp_path}/other", handler=Other, commands=special, opts="user 7")
        other = Served(served.server, f"{tmp_path}/other")
        client = await other.connect()
        assert client.banner["version"] == "other for user 7"
        assert (await client.ask("special"))["response"] == "only here"
        assert (await client.ask("who"))["code"] == "unknown-command"
        assert (await client.ask("status"))["code"] == "unknown-command"
        assert (await (await served.connect()).ask("special"))["code"] == "unknown-command"

        await listener.close()
        assert await client.at_end()
        assert not os.path.exists(f"{tmp_path}/other")
        assert (await (await served.connect()).ask("ping"))["response"] == "pong"
        await other.close_clients()


async def test_a_second_server_on_the_same_path_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        second: ctld.Server[Any] = ctld.Server(listen=[f"unix:{served.path}"])
        with pytest.raises(ctld.ListenFailed, match=r"another|listens"):
            await second.start()
        assert (await (await served.connect()).ask("ping"))["response"] == "pong"


async def test_if_one_address_fails_none_is_listened_on(tmp_path: Path) -> None:
    path = tmp_path / "a"
    server: ctld.Server[Any] = ctld.Server(listen=[f"unix:{path}", f"unix:{tmp_path}/no/such/directory/b"])
    with pytest.raises(ctld.ListenFailed):
        await server.start()
    assert not path.exists()


async def test_the_socket_has_the_mode_that_was_asked_for_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with ctld.Server(listen=[ctld.Listen(address=f"unix:{path}", mode="0600")]):
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


async def test_n2_over_max_connections_one_busy_message_then_close(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(max_connections=8)) as served:
        for _ in range(4):
            await served.connect()
        refused = await served.connect()
        refused.send({"cmd": "ping"})
        [failure] = await refused.receive_all()
        assert failure["code"] == "busy"
        assert "too many connections" in failure["message"]
        assert served.server.status()["refused"] == 1
        await served.close_clients()
        await until(lambda: not served.server.connections())
        assert (await (await served.connect()).ask("ping"))["response"] == "pong"


async def test_create_task_a_crash_stops_the_daemon_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def crash() -> None:
        await asyncio.sleep(0)
        raise RuntimeError("the scheduler died")

    async with serving(tmp_path) as served:
        served.server.create_task(crash(), name="scheduler")
        with pytest.raises(RuntimeError, match="the scheduler died"):
            await served.server.wait_closed()
    assert "background task scheduler crashed" in caplog.text


async def test_create_task_that_ends_is_no_crash(tmp_path: Path) -> None:
    async def short() -> str:
        return "done"

    async with serving(tmp_path) as served:
        assert await served.server.create_task(short(), name="short") == "done"
        assert served.server.status()["background"] == []
        assert (await (await served.connect()).ask("ping"))["response"] == "pong"


async def test_launch_runs_a_command_as_the_daemon(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("add", role="admin")
    async def add(ctx: ctld.Context, a: int, b: int = 1) -> tuple[str, int]:
        return (ctx.peer.name, a + b)

    async with serving(tmp_path, commands) as served:
        operation = served.server.launch(add, 2, b=3)
        assert await operation.wait() == ("daemon", 5)
        assert operation.state == "done"


async def test_launch_from_a_command_keeps_the_peer_and_outlives_the_command(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()
    release = asyncio.Event()

    @commands.command("inner", role="operate")
    async def inner(ctx: ctld.Context, x: int) -> str:
        await release.wait()
        await ctx.progress("half")
        return f"{ctx.peer.uid} {x}"

    @commands.command("forbidden", role="admin")
    async def forbidden(ctx: ctld.Context) -> None:
        return None

    @commands.command("outer", role="operate")
    async def outer(ctx: ctld.Context) -> str:
        return ctx.launch(inner, 5).id

    @commands.command("follower", role="operate")
    async def follower(ctx: ctld.Context, id: str) -> Any:
        return await ctx.follow(ctx.runtime.operations.find(id))

    @commands.command("sneaky", role="operate")
    async def sneaky(ctx: ctld.Context) -> str:
        return ctx.launch(forbidden).id

    class Operator(ctld.ClientHandler):
        async def on_connect(self) -> None:
            self.peer = ctld.Peer("op", "operate", 4242, transport="unix")

    async with serving(tmp_path, commands, handler=Operator) as served:
        client = await served.connect()
        operation = (await client.ask("outer"))["response"]
        client.send({"cmd": "follower", "opts": {"id": operation}})
        release.set()
        assert (await client.receive())["progress"] == "half"
        assert (await client.receive())["response"] == "4242 5"
        assert (await client.ask("sneaky"))["code"] == "denied"


async def test_call_runs_another_command_as_a_part_of_this_one(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("inner", role="admin")
    async def inner(ctx: ctld.Context, x: int) -> int:
        assert ctx.parent is not None
        assert ctx.operation is ctx.parent.operation
        await ctx.progress(f"inner {x}")
        return x * 2

    @commands.command("outer", role="anyone")
    async def outer(ctx: ctld.Context) -> list[Any]:
        return [await ctx.call(inner, 1), await ctx.call("inner", x=2), await ctx.call("ping")]

    @commands.command("wrong", role="anyone")
    async def wrong(ctx: ctld.Context) -> Any:
        return await ctx.call("inner", x="two")

    class Guest(ctld.ClientHandler):
        async def on_connect(self) -> None:
            self.peer = ctld.Peer(transport="unix")

    async with serving(tmp_path, commands, handler=Guest) as served:
        client = await served.connect()
        client.send({"cmd": "outer"})
        assert [(await client.receive()).get("progress") for _ in range(2)] == ["inner 1", "inner 2"]
        assert (await client.receive())["response"] == [2, 4, "pong"]
        assert (await client.ask("inner", {"x": 1}))["code"] == "denied"
        assert (await client.ask("wrong"))["code"] == "invalid-options"


async def test_the_shutdown_command_stops_the_daemon_and_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        assert (await client.ask("shutdown"))["response"] == "shutting down"
        await served.server.wait_closed()


async def test_shutdown_needs_admin(tmp_path: Path) -> None:
    roles: Any = {"operate": [f"uid:{os.getuid()}"]}
    async with serving(tmp_path, roles=roles) as served:
        client = await served.connect()
        answer = await client.ask("shutdown")
        assert (answer["code"], answer["role"]) == ("denied", "admin")
        assert answer["remedy"] in answer["message"]
        permission = (await client.ask("can_i", {"cmd": "shutdown"}))["response"]
        assert permission == {"allowed": False, "role": "admin", "remedy": answer["remedy"]}


async def test_status_connection_list_and_task_list_are_for_observers(tmp_path: Path) -> None:
    async with serving(tmp_path, trivial()) as served:
        client = await served.connect()
        status = (await client.ask("status"))["response"]
        assert status["state"] == "running"
        assert status["pid"] == os.getpid()
        assert status["connections"] == 1
        assert status["version"] == ctld.__version__
        [connection] = (await client.ask("connection_list"))["response"]
        assert connection["pid"] == os.getpid()
        assert connection["requests"] == 1
        assert connection["listener"] == f"unix:{served.path}"
        tasks = (await client.ask("task_list"))["response"]
        assert any(task["name"] == "client 1" for task in tasks)
        assert not any("/" in task["where"] for task in tasks)


async def test_the_constructor_only_stores(tmp_path: Path) -> None:
    server: ctld.Server[Any] = ctld.Server(listen=[f"unix:{tmp_path}/s"])
    assert not os.path.exists(f"{tmp_path}/s")
    del server


def test_mistakes_are_found_by_the_constructor() -> None:
    with pytest.raises(ctld.ConfigError):
        ctld.Server(roles={"king": ["uid:0"]})  # type: ignore[dict-item]
    with pytest.raises(ctld.RegistrationError, match="reload"):
        ctld.Server(signals={signal.SIGHUP: "reload"})


async def test_start_close_and_wait_closed_may_be_repeated(tmp_path: Path) -> None:
    server: ctld.Server[Any] = ctld.Server(listen=[f"unix:{tmp_path}/s"])
    await server.start()
    await server.start()
    server.close()
    server.close()
    await server.wait_closed()
    await server.wait_closed()
    assert not os.path.exists(f"{tmp_path}/s")


async def test_a_server_that_never_started_can_be_closed() -> None:
    server: ctld.Server[Any] = ctld.Server()
    server.close()
    await server.wait_closed()
    with pytest.raises(ctld.ShuttingDown, match="make another one"):
        await server.start()


async def test_cancelling_serve_forever_stops_in_order(tmp_path: Path) -> None:
    commands = trivial()
    limits = Limits(stop_grace=0.01)
    server: ctld.Server[Any] = ctld.Server(commands=commands, listen=[f"unix:{tmp_path}/s"], limits=limits)
    task = asyncio.get_running_loop().create_task(server.serve_forever())
    await until(lambda: server.status()["listeners"])
    client = await RawClient.connect(f"{tmp_path}/s")
    client.send({"cmd": "last"})
    await until(lambda: server.status()["running"])
    task.cancel()
    assert [answer["code"] for answer in await client.receive_all()] == ["shutting-down"]
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not os.path.exists(f"{tmp_path}/s")
    client.close()
    await client.writer.wait_closed()


async def test_waiting_for_the_end_may_be_given_up(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await served.server.wait_closed()
        assert (await (await served.connect()).ask("ping"))["response"] == "pong"
