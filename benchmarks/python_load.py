"""The load generator for machines without a C compiler: slower, and so it says.

It takes the same arguments as the C one (`load.c` explains them), and prints the same; it
does not speak gRPC.
"""

import json
import re
import selectors
import socket
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.clocks import processor_time

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Counted:
    """What was counted, and how long single requests took."""

    count: int
    seconds: float
    times: list[float]


class Connection:
    """One connection: it asks, and counts the answers."""

    def __init__(self, path: str, framing: str) -> None:
        self.framing = framing
        self.rest = b""
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self.socket.fileno()

    def ask(self, data: bytes) -> None:
        """Send requests."""
        self.socket.sendall(data)

    def take(self) -> int:
        """Read once; return how many answers are complete by that."""
        data = self.socket.recv(262144)
        if not data:
            raise SystemExit("read: the server has hung up")
        if self.framing != "http":
            self.rest = data
            return data.count(b"\n" if self.framing == "ndjson" else b"\0")
        self.rest += data
        answers = 0
        while (end := self.rest.find(b"\r\n\r\n")) >= 0:
            header = self.rest[:end]
            length = LENGTH.search(header)
            if not header.startswith(b"HTTP/1.1 200") or length is None:
                raise SystemExit(f"the answer: {header!r}")
            size = end + 4 + int(length[1])
            if len(self.rest) < size:
                break
            self.rest = self.rest[size:]
            answers += 1
        return answers

    def take_all(self, answers: int, expected: str = "") -> None:
        """Take answers until there are so many, among them what is expected."""
        seen = b""
        while answers > 0:
            before = self.rest
            answers -= self.take()
            seen += before + self.rest
        if self.framing != "http" and expected.encode() not in seen:
            raise SystemExit(f"the answer: {seen[:200]!r}")


def opened(path: str, framing: str) -> Connection:
    """Open a connection of which the banner has been taken."""
    connection = Connection(path, framing)
    if framing == "ndjson":
        connection.take_all(1)
    return connection


def ready(selector: selectors.BaseSelector) -> Iterable[Connection]:
    """Wait for answers; return the connections that have some."""
    keys = selector.select(10)
    if not keys:
        raise SystemExit("waiting for answers: nothing comes")
    return [key.fileobj for key, _ in keys if isinstance(key.fileobj, Connection)]


def flow(
    path: str, framing: str, connections: int, depth: int, seconds: float, request: bytes, expected: str
) -> Counted:
    """Keep requests in flight."""
    selector = selectors.DefaultSelector()
    everyone = [opened(path, framing) for _ in range(connections)]
    everyone[0].ask(request)
    everyone[0].take_all(1, expected)
    for connection in everyone:
        selector.register(connection, selectors.EVENT_READ)
        connection.ask(request * depth)
    answers, times = 0, []
    begun = asked = time.perf_counter()
    while (now := time.perf_counter()) < begun + seconds:
        for connection in ready(selector):
            count = connection.take()
            answers += count
            if connections == depth == 1 and count:
                now = time.perf_counter()
                times.append(now - asked)
                asked = now
            connection.ask(request * count)
    return Counted(answers, now - begun, times)


def cycle(
    path: str, framing: str, connections: int, depth: int, seconds: float, request: bytes, expected: str
) -> Counted:
    """Connect, ask once and close; one after the other, however many were wanted."""
    begun, cycles = time.perf_counter(), 0
    while (now := time.perf_counter()) < begun + seconds:
        connection = opened(path, framing)
        connection.ask(request)
        connection.take_all(1, expected)
        connection.socket.close()
        cycles += 1
    return Counted(cycles, now - begun, [])


def stream(
    path: str, framing: str, connections: int, depth: int, seconds: float, request: bytes, expected: str
) -> Counted:
    """Ask for many messages, again and again."""
    connection = opened(path, framing)
    begun, messages, times = time.perf_counter(), 0, []
    while (now := time.perf_counter()) < begun + seconds:
        connection.ask(request)
        left = depth + 1 - connection.take()
        times.append(time.perf_counter() - now)
        while left > 0:
            left -= connection.take()
        messages += depth + 1
    return Counted(messages, now - begun, times)


def fanout(
    path: str, framing: str, connections: int, depth: int, seconds: float, request: bytes, expected: str
) -> Counted:
    """Publish events to subscribers, again and again."""
    selector = selectors.DefaultSelector()
    subscribe, publish = request.splitlines(keepends=True)
    for _ in range(connections):
        connection = opened(path, framing)
        connection.ask(subscribe)
        connection.take_all(1, expected)
        selector.register(connection, selectors.EVENT_READ)
    publisher = opened(path, framing)
    begun, delivered = time.perf_counter(), 0
    while (now := time.perf_counter()) < begun + seconds:
        publisher.ask(publish)
        left = connections * depth
        while left > 0:
            left -= sum(connection.take() for connection in ready(selector))
        publisher.take_all(1)
        delivered += connections * depth
    return Counted(delivered, now - begun, [])


MODES = {"flow": flow, "cycle": cycle, "stream": stream, "fanout": fanout}


def main(
    mode: str, framing: str, path: str, connections: str, depth: str, seconds: str, expected: str, server: str
) -> None:
    """Measure one slice."""
    if framing == "grpc":
        raise SystemExit("without a C compiler there is no load generator for gRPC")
    request, pid = sys.stdin.buffer.read(), int(server)
    own, others = time.process_time(), processor_time(pid) if pid else 0.0
    found = MODES[mode](path, framing, int(connections), int(depth), float(seconds), request, expected)
    result = {"count": found.count, "seconds": found.seconds, "cpu": time.process_time() - own}
    result["server_cpu"] = processor_time(pid) - others if pid else 0.0
    if found.times:
        result |= {"p50": statistics.median(found.times), "least": min(found.times)}
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
