"""Bytes between a client and a program, whoever is between them: directly, handed over, or relayed.

The program is `dd`.  "Out" is what it writes, "in" is what it reads; before it reads it says
one byte, so that no clock runs while a process is being started.
"""

import array
import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.client import LineClient
from benchmarks.clocks import processor_time
from benchmarks.processes import SERVER, BenchmarkError, pinned

__all__ = [
    "Direction",
    "Transfer",
    "Way",
    "cpu_of",
    "direct",
    "frames",
    "handed_descriptors",
    "handed_socket",
    "kernel_of",
    "run",
    "streams",
]

Direction = Literal["out", "in"]

BLOCK = 64 * 1024
READ = 1024 * 1024
HEADER = struct.Struct(">BI")
STDIN, EXIT = 0, 5
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Transfer:
    """What one transfer took.

    Attributes:
        size: How many bytes there were.
        seconds: From the first byte to the last.
        cpu: Of the daemon, in seconds, in that time; 0 where there is none.
        kernel: As much of it as it was in the kernel, to a hundredth of a second.
    """

    size: int
    seconds: float
    cpu: float
    kernel: float = 0.0


@dataclass(slots=True)
class Way:
    """A way to a program that runs: its bytes, and how to send the end."""

    sock: socket.socket
    framed: bool = False
    rest: Callable[[], object] = lambda: None  # what remains to be done afterwards


def program(direction: Direction, size: int) -> list[str]:
    """Return a program that writes so many bytes, or reads all there are."""
    if direction == "out":
        return ["dd", "if=/dev/zero", f"bs={BLOCK}", f"count={size // BLOCK}", "status=none"]
    return ["sh", "-c", f"printf r; exec dd of=/dev/null bs={BLOCK} status=none"]


# Ways to a program.


def direct(argv: list[str]) -> Way:
    """Start the program on a socket, with nobody in between."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen([*pinned(SERVER), *argv], stdin=theirs.fileno(), stdout=theirs.fileno())
    return Way(ours, rest=process.wait)


def handed_descriptors(path: Path, argv: list[str]) -> Way:
    """Have the daemon start the program on a socket that we send it."""
    ours, theirs = socket.socketpair()
    client = _hijack(path, "exec", argv, {"io": "fds"})
    with theirs:
        fds = array.array("i", [theirs.fileno()] * 3)
        client.socket.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])

    def finish() -> None:
        client.take()  # the exit status
        client.close()

    return Way(ours, rest=finish)


def handed_socket(path: Path, argv: list[str]) -> Way:
    """Have the daemon start the program on our connection to it."""
    return Way(_hijack(path, "hand_over", argv, None).socket)


def frames(path: Path, argv: list[str]) -> Way:
    """Have the daemon relay between us and the program, as frames."""
    return Way(_hijack(path, "exec", argv, {"io": "frames"}).socket, framed=True)


def streams(path: Path, argv: list[str]) -> Way:
    """Have the relay of streams relay between us and the program."""
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    sock.sendall(json.dumps(argv).encode() + b"\n")
    return Way(sock)


def _hijack(path: Path, command: str, argv: list[str], session: dict[str, Any] | None) -> LineClient:
    """Ask for a session; its bytes come next."""
    client = LineClient(path)
    request: dict[str, Any] = {"cmd": command, "opts": {"cmd": argv}}
    if session is not None:
        request["session"] = session
    answer = client.response(json.dumps(request).encode() + b"\n", greedy=False)
    if answer != "continue":
        raise BenchmarkError(f"{command}: {answer}")
    return client


# What goes over them.


def run(open_way: Callable[[list[str]], Way], direction: Direction, size: int, pid: int | None) -> Transfer:
    """Move so many bytes, and say what that took.

    Args:
        open_way: Starts a program.
        direction: Whether it writes or reads.
        size: How many bytes; a multiple of 64 KiB.
        pid: The process whose processor time counts.

    Raises:
        BenchmarkError: There were more or fewer bytes.
    """
    way = open_way(program(direction, size))
    try:
        with way.sock as sock:
            transfer = _transfer(sock, direction, size, pid, framed=way.framed)
    finally:
        way.rest()
    if transfer.size != size:
        raise BenchmarkError(f"{transfer.size} bytes came through instead of {size}")
    return transfer


def _transfer(sock: socket.socket, direction: Direction, size: int, pid: int | None, *, framed: bool) -> Transfer:
    sock.settimeout(PATIENCE)
    incoming = _FramesIn(sock) if framed else _BytesIn(sock)
    count = incoming.receive()  # the program runs
    begun, cpu_begun, kernel_begun = time.perf_counter(), cpu_of(pid), kernel_of(pid)
    if direction == "in":
        _send(sock, size, framed=framed)
        count += size - 1
    while more := incoming.receive():
        count += more
    seconds = time.perf_counter() - begun
    return Transfer(count, seconds, cpu_of(pid) - cpu_begun, kernel_of(pid) - kernel_begun)


class _BytesIn:
    """Bytes as they are, until the end."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray(READ)

    def receive(self) -> int:
        """Return how many bytes came now; 0 at the end."""
        return self._sock.recv_into(self._buffer)


class _FramesIn:
    """The payloads of frames, until the one that says that the program has ended."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray(READ)
        self._head = b""
        self._left = 0  # of the payload of the frame that we are in
        self._over = False

    def receive(self) -> int:
        """Return how many bytes of payload came now; 0 at the end."""
        payload = 0
        while not payload and not self._over:
            count = self._sock.recv_into(self._buffer)
            if not count:
                raise BenchmarkError("the daemon hung up before the end")
            payload = self._take(memoryview(self._buffer)[:count])
        return payload

    def _take(self, data: memoryview) -> int:
        payload = 0
        while len(data):
            if self._left:
                step = min(self._left, len(data))
                self._left -= step
                payload += step
            else:
                step = min(HEADER.size - len(self._head), len(data))
                self._head += data[:step]
                if len(self._head) == HEADER.size:
                    kind, self._left = HEADER.unpack(self._head)
                    self._head = b""
                    if kind == EXIT:
                        self._over = True
                        return payload
            data = data[step:]
        return payload


def _send(sock: socket.socket, size: int, *, framed: bool) -> None:
    """Send so many bytes, and the end."""
    piece = HEADER.pack(STDIN, BLOCK) + bytes(BLOCK) if framed else bytes(BLOCK)
    for _ in range(size // BLOCK):
        sock.sendall(piece)
    if framed:
        sock.sendall(HEADER.pack(STDIN, 0))
    else:
        sock.shutdown(socket.SHUT_WR)


def cpu_of(pid: int | None) -> float:
    """Return the processor time of a process, in seconds, without its children; 0.0 of none."""
    return 0.0 if pid is None else processor_time(pid)


def kernel_of(pid: int | None) -> float:
    """Return the processor time of a process within the kernel, in seconds; 0.0 of none."""
    if pid is None:
        return 0.0
    # Behind the name of the program, which may have anything in it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[12]) / os.sysconf("SC_CLK_TCK")
