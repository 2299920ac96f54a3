"""A server of a single request: it keeps what it received, and says what it was told to say."""

import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self


class OneAnswer:
    """Listens on a UNIX socket from its construction on, and has answered when its block is left."""

    def __init__(self, path: str | Path, *pieces: bytes) -> None:
        self.received = b""
        self._pieces: Sequence[bytes] = pieces
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        client, _ = self._socket.accept()
        with client:
            self.received = client.recv(65536)
            for piece in self._pieces:
                client.sendall(piece)
