"""ctld.client.dialing: an asyncio connection on both loops, or one clear error and nothing left."""

import asyncio
import socket
from pathlib import Path

import pytest

from ctld.address import parse_address
from ctld.client import dialing
from ctld.client.dialing import dial
from ctld.client.tls import tls_context
from ctld.errors import ConfigError, ConnectFailed
from tests.certificates import Authority
from tests.client.listening import full_backlog, tell_of_refusals, tls_server


class Hearing(asyncio.Protocol):
    def __init__(self) -> None:
        self.heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if not self.heard.done():
            self.heard.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set_result(None)

    async def leave(self) -> None:
        self.transport.close()
        await self.gone


@pytest.mark.parametrize("where", ["path", "abstract", "tcp", "tcp6"])
async def test_connected(tmp_path: Path, where: str) -> None:
    if where.startswith("tcp"):
        host, family = ("::1", socket.AF_INET6) if where == "tcp6" else ("127.0.0.1", socket.AF_INET)
        listener = socket.create_server((host, 0), family=family)
        address = f"tcp:[{host}]" if where == "tcp6" else f"tcp:{host}"
        address += f":{listener.getsockname()[1]}"
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"{tmp_path}/s" if where == "path" else f"\0{tmp_path}")
        listener.listen()
        address = f"unix:{tmp_path}/s" if where == "path" else f"unix:@{tmp_path}"
    with listener:
        protocol = await dial(parse_address(address), Hearing)
        with listener.accept()[0] as server:
            server.sendall(b"hello")
            assert await protocol.heard == b"hello"
        await protocol.leave()


@pytest.mark.parametrize("address", ["unix:{}/none", "unix:@{}/none", "unix:{}/plain", "unix:{}/plain/below"])
async def test_nobody_listens(tmp_path: Path, address: str) -> None:
    (tmp_path / "plain").touch()
    with pytest.raises(ConnectFailed, match=r"no daemon listens on .*: is it running"):
        await dial(parse_address(address.format(tmp_path)), Hearing)


async def test_nobody_listens_on_any_address_of_a_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectFailed, match=rf"no daemon listens on tcp:localhost:{port}"):
        await dial(parse_address(f"tcp:localhost:{port}"), Hearing)


async def test_a_host_that_is_none() -> None:
    with pytest.raises(ConnectFailed, match=r"cannot find the host .256\.0\.0\.1\.invalid"):
        await dial(parse_address("tcp:256.0.0.1.invalid:5"), Hearing)


async def test_a_host_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*arguments: object, **further: object) -> list[object]:
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", nothing, raising=False)
    with pytest.raises(ConnectFailed, match="has no address"):
        await dial(parse_address("tcp:localhost:5"), Hearing)


async def test_b51_a_daemon_that_accepts_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "CONNECT_TIMEOUT", 0.06)
    with full_backlog(tmp_path / "s"), pytest.raises(ConnectFailed, match="no daemon takes connections"):
        await dial(parse_address(f"{tmp_path}/s"), Hearing)


async def test_b51_a_daemon_that_is_merely_busy_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = asyncio.Event()
    with full_backlog(tmp_path / "s") as listener:
        tell_of_refusals(monkeypatch, socket, refused.set)
        attempt = asyncio.create_task(dial(parse_address(f"{tmp_path}/s"), Hearing))
        await refused.wait()
        assert not attempt.done()
        listener.accept()[0].close()
        protocol = await attempt
        assert protocol.transport.get_extra_info("peername") == f"{tmp_path}/s"
        await protocol.leave()


async def test_cancelled_while_it_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = asyncio.Event()
    with full_backlog(tmp_path / "s"):
        tell_of_refusals(monkeypatch, socket, refused.set)
        attempt = asyncio.create_task(dial(parse_address(f"{tmp_path}/s"), Hearing))
        await refused.wait()
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt


async def test_cancelled_while_tcp_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    reached = asyncio.Event()

    async def never(sock: socket.socket, where: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never, raising=False)
    attempt = asyncio.create_task(dial(parse_address("tcp:127.0.0.1:5"), Hearing))
    await reached.wait()
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt


async def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    with tls_server(authority) as port:
        for tls in (tls_context(str(authority.file), environ={}), None):
            monkeypatch.setenv("CTLD_TLS_CA", str(authority.file))
            protocol = await dial(parse_address(f"tls:localhost:{port}"), Hearing, tls)
            assert await protocol.heard == b"hello"
            await protocol.leave()
        with pytest.raises(ConnectFailed, match=f"TLS with tls:localhost:{port} failed: .*certificate"):
            await dial(parse_address(f"tls:localhost:{port}"), Hearing, tls_context(environ={"CTLD_TLS_CA": ""}))
        monkeypatch.setenv("CTLD_TLS_CA", f"{tmp_path}/none")
        with pytest.raises(ConfigError, match="none: No such file"):
            await dial(parse_address(f"tls:localhost:{port}"), Hearing)


async def test_tls_to_a_server_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialing, "CONNECT_TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(ConnectFailed, match="is it stuck"):
        await dial(parse_address(f"tls:localhost:{listener.getsockname()[1]}"), Hearing)
