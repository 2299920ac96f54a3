"""ctld.client.connecting: a connected socket, or one clear error and no descriptor."""

import _socket
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from ctld.address import parse_address
from ctld.client.connecting import connect
from ctld.client.tls import tls_context
from ctld.errors import ConfigError, ConnectFailed
from tests.certificates import Authority
from tests.client.listening import full_backlog, tell_of_refusals, tls_server


def hello(address: str, **further: Any) -> bytes:
    sock = connect(parse_address(address), **further)
    try:
        return sock.recv(10)
    finally:
        sock.close()


@pytest.mark.parametrize("where", ["path", "abstract", "tcp", "tcp6"])
def test_connected(tmp_path: Path, where: str) -> None:
    if where.startswith("tcp"):
        host, family = ("::1", socket.AF_INET6) if where == "tcp6" else ("127.0.0.1", socket.AF_INET)
        listener = socket.create_server((host, 0), family=family)
        address = f"tcp:[{host}]" if where == "tcp6" else f"tcp:{host}"
        address += f":{listener.getsockname()[1]}"
    else:
        name = f"{tmp_path}/s" if where == "path" else f"\0{tmp_path}"
        address = f"unix:{tmp_path}/s" if where == "path" else f"unix:@{tmp_path}"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(name)
        listener.listen()
    with listener:
        sock = connect(parse_address(address))
        server, _ = listener.accept()
        with server:
            server.sendall(b"hello")
            assert sock.recv(10) == b"hello"
            if where == "tcp":
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        sock.close()


@pytest.mark.parametrize("address", ["unix:{}/none", "unix:@{}/none", "unix:{}/plain", "unix:{}/plain/below"])
def test_nobody_listens(tmp_path: Path, address: str) -> None:
    (tmp_path / "plain").touch()
    with pytest.raises(ConnectFailed, match=r"no daemon listens on .*: is it running"):
        connect(parse_address(address.format(tmp_path)))


def test_nobody_listens_on_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectFailed, match=rf"no daemon listens on tcp:localhost:{port}"):
        connect(parse_address(f"tcp:localhost:{port}"))


def test_b51_a_daemon_that_accepts_nothing_is_given_up(tmp_path: Path) -> None:
    with full_backlog(tmp_path / "s"), pytest.raises(ConnectFailed, match="no daemon takes connections"):
        connect(parse_address(f"{tmp_path}/s"), timeout=0.06)


def test_b51_a_daemon_that_is_merely_busy_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[None] = []
    with full_backlog(tmp_path / "s") as listener:

        def refuse() -> None:
            refused.append(None)
            if len(refused) == 3:
                listener.accept()[0].close()

        tell_of_refusals(monkeypatch, _socket, refuse)
        sock = connect(parse_address(f"{tmp_path}/s"), timeout=20)
        assert sock.getpeername() == f"{tmp_path}/s"
        sock.close()
    assert len(refused) == 3


def test_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    with tls_server(authority) as port:
        assert hello(f"tls:localhost:{port}", tls=tls_context(str(authority.file), environ={})) == b"hello"
        monkeypatch.setenv("CTLD_TLS_CA", str(authority.file))
        assert hello(f"tls:127.0.0.1:{port}") == b"hello"
        with pytest.raises(ConnectFailed, match=f"TLS with tls:localhost:{port} failed: .*certificate"):
            connect(parse_address(f"tls:localhost:{port}"), tls=tls_context(environ={}))
        monkeypatch.setenv("CTLD_TLS_CA", f"{tmp_path}/none")
        with pytest.raises(ConfigError, match="none: No such file"):
            connect(parse_address(f"tls:localhost:{port}"))


def test_tls_with_a_client_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = tls_context(str(authority.file), *authority.issue("me"), environ={})
    with tls_server(authority, client_certificates=True) as port:
        assert hello(f"tls:localhost:{port}", tls=context) == b"hello"


def test_tls_to_a_server_that_speaks_something_else(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(b'{"version":"1"}\n')
                sock.recv(1000)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ConnectFailed, match=r"TLS with .* failed: "):
            connect(parse_address(f"tls:localhost:{port}"))
        thread.join()


def test_tls_to_a_server_that_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(ConnectFailed, match="is it stuck"):
        connect(parse_address(f"tls:localhost:{listener.getsockname()[1]}"), timeout=0.05)
