"""A daemon on TCP that answers with what it is told, for Taskmaster's clients."""

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Self


class ScriptedDaemon:
    """Answers the queries of one client after another, in a thread; an answer of None hangs up."""

    def __init__(self, answers: Sequence[bytes | None], *, step: int = 1 << 20) -> None:
        self.received: list[bytes] = []
        self._answers = list(answers)
        self._step = step
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(ConnectionError):
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        pending = b""
        while data := connection.recv(65536):
            pending += data
            while b";;" in pending:
                query, _, pending = pending.partition(b";;")
                self.received.append(query + b";;")
                answer = self._answers.pop(0)
                if answer is None:
                    return
                for at in range(0, len(answer), self._step):
                    connection.sendall(answer[at : at + self._step])
