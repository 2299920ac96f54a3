"""A server without a framework: a thread per connection, that does what a test tells it."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

BANNER = {"version": "1.0", "protocol": 2, "features": ["id", "cancel", "deadline", "stream", "detach"]}


class Peer:
    """One connection, as the server of a test sees it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader = sock.makefile("rb")

    def receive(self) -> Any:
        """Return the next line, decoded; None at the end."""
        line = self._reader.readline()
        return json.loads(line) if line else None

    def send(self, *messages: Any) -> None:
        for message in messages:
            data = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
            self.sock.sendall(data)

    def until_closed(self) -> list[Any]:
        """Return everything that still comes, once the client has hung up."""
        messages: list[Any] = []
        with contextlib.suppress(ConnectionResetError):  # it left without reading everything
            while (message := self.receive()) is not None:
                messages.append(message)
        return messages

    def close(self) -> None:
        self._reader.close()
        self.sock.close()


class Scripted:
    """Runs a script for each connection, in a thread."""

    def __init__(self, listener: socket.socket, address: str, script: Callable[[Peer], object]) -> None:
        self.address = address
        self.connections = 0
        self._listener = listener
        self._script = script
        self._peers: list[Peer] = []
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            peer = Peer(sock)
            thread = threading.Thread(target=self._serve, args=(peer,))
            self._peers.append(peer)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: Peer) -> None:
        try:
            self._script(peer)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client hung up, as clients do
        except Exception as error:  # noqa: BLE001 - whatever it is, the test gets to see it
            self._errors.append(error)
        finally:
            peer.close()

    def stop_peers(self) -> None:
        """Wait for the scripts of all connections to end."""
        for thread in self._threads:
            thread.join()

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for peer, thread in zip(self._peers, self._threads, strict=True):
            with contextlib.suppress(OSError):  # it may be closed
                peer.sock.shutdown(socket.SHUT_RDWR)
            thread.join()
        if self._errors:
            raise self._errors[0]


Serve = Callable[[Callable[[Peer], object]], Scripted]
