"""Listening sockets that both ways to connect are tried on."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority


@contextlib.contextmanager
def full_backlog(path: Path) -> Iterator[socket.socket]:
    """A UNIX socket whose backlog takes no more connections."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(path))
        listener.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(str(path))
        yield listener


def tell_of_refusals(monkeypatch: pytest.MonkeyPatch, sockets: Any, tell: Callable[[], object]) -> None:
    """Call something whenever a backlog has no room for a connection of that module's sockets."""

    class Watched(sockets.socket):  # type: ignore[misc]  # whichever module it is
        def connect(self, where: Any) -> None:
            try:
                super().connect(where)
            except BlockingIOError:
                tell()
                raise

    monkeypatch.setattr(sockets, "socket", Watched)


@contextlib.contextmanager
def tls_server(authority: Authority, *, client_certificates: bool = False) -> Iterator[int]:
    """A TLS server on the loopback that says `hello` to each client; yields its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("localhost"))
    if client_certificates:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.file)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock, contextlib.suppress(OSError):
                    sock.settimeout(5)
                    with context.wrap_socket(sock, server_side=True) as secure:
                        secure.sendall(b"hello")
                        secure.recv(1)  # until the client leaves

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
