"""Clients that send what is costly to take, and who must only keep themselves waiting.

What one request may cost is tested where it is decided; here every kind of it arrives over a socket, while
somebody else is served.
"""

import asyncio
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

import ctld
from ctld.dialects.fss_control.handler import FssHandler, FssListen
from ctld.dialects.guest_agent.handler import GuestAgentHandler, GuestAgentListen
from ctld.dialects.taskmaster.handler import TaskmasterHandler, TaskmasterListen
from ctld.limits import Limits
from tests.conftest import open_descriptors
from tests.native import Served, serving, until

SIZE = 2 * 1024 * 1024
PRIME = 2**61 - 1  # Python's hash of an integer is its remainder by this: multiples of it collide


def asking(cmd: str, opts: bytes = b"{}") -> bytes:
    return b'{"cmd":"%b","opts":%b}\n' % (cmd.encode(), opts)


HOSTILE = {
    "a name of an option": asking("ping", b'{"%b":1}' % (b"a" * SIZE)),
    "a name of a command": asking("x" * SIZE),
    "many options": asking("ping", b"{%b}" % b",".join(b'"%x":1' % number for number in range(SIZE // 12))),
    "many keys": b'{"cmd":"ping",%b}\n' % b",".join(b'"%x":1' % number for number in range(SIZE // 12)),
    "one key many times": b"{%b}\n" % b",".join([b'"cmd":"ping"'] * (SIZE // 13)),
    "open lists": asking("ping", b"[" * SIZE),
    "lists in lists": asking("ping", b'{"a":%b%b}' % (b"[" * (SIZE // 2), b"]" * (SIZE // 2))),
    "objects in objects": asking("ping", b'{"a":' * (SIZE // 6) + b"1" + b"}" * (SIZE // 6)),
    "digits": asking("ping", b'{"a":%b}' % (b"9" * SIZE)),
    "digits of an id": b'{"cmd":"ping","id":%b}\n' % (b"9" * SIZE),
    "digits of a deadline": b'{"cmd":"ping","deadline":0.%b}\n' % (b"9" * SIZE),
    "a huge exponent": b'{"cmd":"ping","deadline":1e%b}\n' % (b"9" * SIZE),
    "colliding numbers": asking(
        "event_list", b'{"opts":{"a":[%b]}}' % b",".join(b"%d" % (PRIME * number) for number in range(1, SIZE // 22))
    ),
    "many types of events": asking("event_list", b'{"type":[%b]}' % b",".join(b'"%x"' % n for n in range(SIZE // 9))),
    "a command line": asking("ping", b'{"cli":"%b"}' % (b"x" * SIZE)),
    "escapes": asking("ping", b'{"cli":"%b"}' % (b"\\u0000" * (SIZE // 6))),
    "a value that is none": asking("ping", b'{"cli":"%b' % (b"x" * SIZE)),
    "blank lines": b"\n" * (SIZE // 8) + asking("ping"),
    "lines of blanks": b" \t\r\n" * (SIZE // 32) + asking("ping"),
    "what cancels nothing": b'{"cancel":[]}\n' * (SIZE // 64) + asking("ping"),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
async def test_one_request_is_answered_shortly_and_others_are_served(tmp_path: Path, data: bytes) -> None:
    async with serving(tmp_path) as served:
        attacker, other = await served.connect(), await served.connect()
        attacker.write(data)
        for _ in range(3):
            assert await other.ask("ping") == {"status": True, "response": "pong"}
        answer = await attacker.receive()
        assert answer.keys() <= {"status", "response", "message", "code", "path"}
        assert len(json.dumps(answer)) < 4096
        assert await attacker.ask("version")


async def test_descriptors_that_nobody_asked_for_are_not_kept(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        other = await served.connect()
        await other.ask("ping")
        before = set(open_descriptors())
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(served.path)
            sock.setblocking(False)
            for _ in range(20):
                socket.send_fds(sock, [asking("ping")], [0] * 100)
            answers = b""
            while answers.count(b"pong") < 20:
                answers += await loop.sock_recv(sock, 65536)
            mine = {sock.fileno()}
            extra = {fd for fd, what in open_descriptors().items() if fd not in before | mine}
            assert len(extra) <= 1  # the server's end of this connection
        assert await other.ask("ping")


async def test_a_thousand_half_lines_hold_nobody_up(tmp_path: Path) -> None:
    limits = Limits(max_connections=200, stop_grace=1, cancel_grace=1, drain_timeout=1)
    async with serving(tmp_path, limits=limits) as served:
        clients = [await served.connect(banner=number % 2 == 0) for number in range(90)]
        for client in clients:
            client.write(b'{"cmd":"pi')
        other = await served.connect()
        assert await other.ask("ping") == {"status": True, "response": "pong"}
        status = served.server.status()
        assert status["connections"] == 91


async def quiet(served: Served, first: bytes) -> bytes:
    """Say half of something, and wait for the end of the connection."""
    reader, writer = await asyncio.open_unix_connection(served.path)
    writer.write(first)
    try:
        return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("handler", "listen", "half"),
    [
        (FssHandler, FssListen, b"\x80\x00\x00"),
        (FssHandler, FssListen, b"\x80\x00\x00\x10\x00header:"),
        (FssHandler, FssListen, b""),
        (GuestAgentHandler, GuestAgentListen, b'{"Command":'),
        (GuestAgentHandler, GuestAgentListen, b""),
    ],
)
async def test_who_does_not_finish_is_parted_from(tmp_path: Path, handler: Any, listen: Any, half: bytes) -> None:
    path = str(tmp_path / "s")
    table = listen(address=f"unix:{path}", timeout=0.2)
    server: ctld.Server[Any] = ctld.Server(
        listen=[table], dialects={handler.dialect: handler}, limits=Limits(drain_timeout=0.2)
    )
    async with server:
        await quiet(Served(server, path), half)
        await until(lambda: not server.connections())


async def test_half_a_query_of_taskmaster_holds_nobody_up(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    listen = TaskmasterListen(address=f"unix:{path}")
    server: ctld.Server[Any] = ctld.Server(listen=[listen], dialects={"taskmaster": TaskmasterHandler})
    async with server:
        _, slow = await asyncio.open_unix_connection(path)
        slow.write(b'{"cmd":"li')
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b'{"cmd":"nothing"};;')
        assert await reader.readuntil(b";;") == b'{"response":"invalid","error":"","data":""};;'
        slow.close()
        writer.close()


async def test_one_user_cannot_take_all_places_nor_all_descriptors(tmp_path: Path) -> None:
    """Of ten places five; whoever is refused is told, and costs no descriptor."""
    limits = Limits(max_connections=10, drain_timeout=0.2)
    async with serving(tmp_path, limits=limits) as served:
        mine = [await served.connect() for _ in range(5)]
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(40):
            reader, writer = await asyncio.open_unix_connection(served.path)
            said = await reader.read()
            assert b"too many connections" in said
            writer.close()
            await writer.wait_closed()
        await until(lambda: len(os.listdir("/proc/self/fd")) <= before)
        assert await mine[0].ask("ping") == {"status": True, "response": "pong"}
        assert served.server.status()["refused"] == 40


def numbers(size: int) -> bytes:
    return b"[%b0]" % (b"0," * (size // 2))


@pytest.mark.parametrize(
    "data",
    [
        asking("can_i", b'{"cmd":"ping","cli":"x","opts":{"a":%b}}' % numbers(8 * SIZE - 100)),
        asking("vault", b'{"cli":"x","password":%b}' % numbers(8 * SIZE - 100)),
        asking("vault", b'{"password":"x","rest":%b}' % numbers(8 * SIZE - 100)),
    ],
    ids=["asked about", "denied", "denied for others"],
)
async def test_beside_a_secret_nothing_large_is_walked(tmp_path: Path, data: bytes) -> None:
    """It took a second per MiB, for everybody, and whoever asked needed no role."""
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("vault", role="admin")
    async def vault(ctx: ctld.Context, password: ctld.Secret) -> None:
        """Take a password."""

    class Stranger(ctld.ClientHandler[Any]):
        async def on_connect(self) -> None:
            self.peer = ctld.Peer(uid=12345, transport="unix")

    async with serving(tmp_path, commands, handler=Stranger) as served:
        attacker = await served.connect()
        begun = time.process_time()
        attacker.write(data)
        assert (await attacker.receive()).keys() <= {"status", "response", "message", "code", "role", "remedy"}
        assert time.process_time() - begun < 5  # of the processor: it takes a tenth of a second, and took fifteen
        for entry in await served.server.history.query():
            assert entry.cli in ("***", "")
            assert entry.message in ("***", "")
            assert "too long to keep" in entry.options


async def test_a_browser_gives_no_orders(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        client.write(b"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n\r\n" + asking("ping") * 3)
        (answer,) = await client.receive_all()
        assert (answer["status"], answer["message"]) == (False, "this is no web server")


async def test_what_runs_without_a_client_is_bounded_for_each_and_for_all(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("linger", role="anyone")
    async def linger(ctx: ctld.Context) -> None:
        """Take until the end of the daemon."""
        await ctx.stopping.wait()

    uids = iter([1, 2, 3])

    class Anybody(ctld.ClientHandler[Any]):
        async def on_connect(self) -> None:
            self.peer = ctld.Peer(uid=next(uids), transport="unix")

    limits = Limits(max_detached=8, stop_grace=1)
    async with serving(tmp_path, commands, handler=Anybody, limits=limits) as served:
        first, second, third = [await served.connect() for _ in range(3)]
        for client in (first, second):
            for _ in range(4):
                assert (await client.ask("linger", detach=True))["status"]
            answer = await client.ask("linger", detach=True)
            assert (answer["status"], answer["code"]) == (False, "busy")
        answer = await third.ask("linger", detach=True)
        assert (answer["status"], answer["code"]) == (False, "busy")
        assert await third.ask("ping") == {"status": True, "response": "pong"}
        (victim, *_) = served.server._runtime.operations.running()
        victim.cancel()
        with pytest.raises(ctld.CommandFailed):
            await victim.wait()
        assert (await third.ask("linger", detach=True))["status"]
