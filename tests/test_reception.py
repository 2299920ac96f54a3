"""Who is taken in, who is turned away, and what is told of them."""

import asyncio
import logging
import socket
from pathlib import Path
from typing import Any

import pytest

import ctld
from ctld.limits import Limits
from tests.certificates import Authority
from tests.native import serving, until


async def test_a_flood_of_refused_clients_is_one_log_line_and_all_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path, limits=Limits(max_connections=2)) as served:
        await served.connect()
        for _ in range(10):
            [failure] = await (await served.connect()).receive_all()
            assert failure["code"] == "busy"
        assert served.server.status()["refused"] == 10
    assert caplog.text.count("too many connections") == 1


async def test_over_tls_a_refusal_is_no_plain_text(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("server")
    async with serving(tmp_path, limits=Limits(max_connections=2)) as served:
        where = ctld.Listen(address="tls:127.0.0.1:0", tls_certificate=certificate, tls_key=key)
        listener = await served.server.listen(where)
        port = int(listener.address.rpartition(":")[2])
        first = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        for stream in (first[1], writer):
            stream.close()
            await stream.wait_closed()
        await until(lambda: not served.server.connections())


async def test_one_user_may_have_half_of_the_connections(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(max_connections=6)) as served:
        clients = [await served.connect() for _ in range(3)]
        [failure] = await (await served.connect()).receive_all()
        assert failure["code"] == "busy"
        clients[0].close()
        await until(lambda: len(served.server.connections()) == 2)
        assert (await (await served.connect()).ask("ping"))["response"] == "pong"


async def test_a_refusal_without_a_banner_is_the_only_message(tmp_path: Path) -> None:
    class Silent(ctld.ClientHandler):
        def server_version(self) -> None:
            return None

    async with serving(tmp_path, handler=Silent, limits=Limits(max_connections=1)) as served:
        await served.connect(banner=False)
        refused = await served.connect(banner=False)
        [failure] = await refused.receive_all()
        assert failure["code"] == "busy"


async def test_a_client_that_is_gone_before_it_is_served_costs_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        for _ in range(50):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.setblocking(False)
                sock.connect(served.path)
        await until(lambda: served.server.status()["accepted"] == 50 and not served.server.connections())
        assert (await (await served.connect()).ask("ping"))["response"] == "pong"


async def test_three_thousand_short_connections_leave_nothing(tmp_path: Path) -> None:
    """The ancestor's defect: with many short connections its sockets piled up until it died (1.10)."""
    async with serving(tmp_path) as served:
        loop = asyncio.get_running_loop()
        for _ in range(3000):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.setblocking(False)
                sock.connect(served.path)
                await loop.sock_sendall(sock, b'{"cmd":"ping"}\n')
                received = b""
                while received.count(b"\n") < 2:
                    received += await loop.sock_recv(sock, 4096)
        await until(lambda: not served.server.connections())
        assert served.server.status()["accepted"] == 3000


async def test_a_defect_in_a_conversation_is_logged_and_ends_only_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, limits=Limits(drain_timeout=0.1)) as served:
        client = await served.connect()
        reception: Any = served.server._reception

        def fail(conversation: Any) -> bool:
            raise RuntimeError("a defect")

        await client.ask("ping")
        [entry] = reception.clients
        monkeypatch.setattr(type(entry.conversation), "_is_over", fail)
        other = await served.connect()
        other.half_close()
        with caplog.at_level(logging.ERROR):
            assert await other.at_end()
        await until(lambda: "a conversation failed" in caplog.text)
        monkeypatch.undo()
        assert (await client.ask("ping"))["response"] == "pong"


async def test_idle_memory_is_not_held_by_the_last_request(tmp_path: Path) -> None:
    """PERFORMANCE: a task frame must not pin its last request."""
    async with serving(tmp_path) as served:
        client = await served.connect()
        await client.ask("ping", {"cli": "x" * 1_000_000})
        reception: Any = served.server._reception
        [entry] = reception.clients
        frame = entry.task.get_stack()[-1]
        assert not any("x" * 1000 in repr(value) for value in frame.f_locals.values())
        assert entry.conversation.connection.queued == 0
