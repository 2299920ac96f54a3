"""How long a daemon at rest takes to answer, beside a process that does nothing but answer.

Both are asked in turns, so what the machine does meanwhile happens to both.
"""

import json
import os
import signal
import socket
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

from benchmarks.soak.children import Children

__all__ = ["Latency", "measure", "percentile"]

_SLICES: Final = 5

# So many that the moments in which the audit log is committed are less than one in a hundred.
_REQUESTS: Final = 1000

_PING: Final = json.dumps({"cmd": "ping"}).encode() + b"\n"


class Latency(NamedTuple):
    """The 99th percentile of a slice of requests, in seconds: the median of the slices.

    Attributes:
        daemon: The daemon's.
        yardstick: That of the process that only answers.
    """

    daemon: float
    yardstick: float

    @property
    def ratio(self) -> float:
        """How many times longer the daemon takes."""
        return self.daemon / self.yardstick


def measure(
    daemon: str, folder: Path, children: Children, *, slices: int = _SLICES, requests: int = _REQUESTS
) -> Latency:
    """Measure it.

    Args:
        daemon: The daemon's socket.
        folder: Where the other one's socket goes.
        children: Who learns of the end of the other one.
        slices: How often each is asked in turn.
        requests: How many requests each turn has.
    """
    path = str(folder / "yardstick")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        pid = os.fork()
        if pid == 0:
            _answer(listener)
        children.started(pid)
    try:
        with _Asker(daemon) as one, _Asker(path) as other:
            found = _alternate([one, other], slices, requests)
        return Latency(*(statistics.median(values) for values in found))
    finally:
        os.kill(pid, signal.SIGKILL)
        children.wait(pid, 10.0)
        os.unlink(path)


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value that this part of all does not exceed."""
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]


class _Asker:
    """Asks one thing after the other over one connection."""

    def __init__(self, path: str) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.connect(path)
        self._lines = self._sock.makefile("rb")
        self._lines.readline()  # the banner

    def ask(self) -> float:
        """Ask, and return how long the answer took."""
        begun = time.perf_counter()
        self._sock.sendall(_PING)
        self._lines.readline()
        return time.perf_counter() - begun

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._lines.close()
        self._sock.close()


def _alternate(askers: Sequence[_Asker], slices: int, requests: int) -> list[list[float]]:
    found: list[list[float]] = [[] for _ in askers]
    for _ in range(slices):
        for asker, values in zip(askers, found, strict=True):
            values.append(percentile([asker.ask() for _ in range(requests)], 0.99))
    return found


def _answer(listener: socket.socket) -> None:
    """Be the other one, until killed."""
    try:
        sock, _ = listener.accept()
        sock.sendall(b"{}\n")
        while sock.recv(4096):
            sock.sendall(b'{"status":true,"response":"pong"}\n')
    finally:
        os._exit(0)
