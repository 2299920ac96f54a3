"""The load generator for machines without a C compiler: slower, and so it says."""

import selectors
import socket
import sys
import time


def main(path: str, connections: int, depth: int, seconds: float, request: str) -> float:
    """Return answers per second, with `depth` requests in flight on each connection."""
    line = request.encode() + b"\n"
    selector = selectors.DefaultSelector()
    sockets = []
    for _ in range(connections):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        sock.recv(65536)
        selector.register(sock, selectors.EVENT_READ)
        sockets.append(sock)
    for sock in sockets:
        sock.sendall(line * depth)
    answers = 0
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        for key, _ in selector.select(1):
            ready: socket.socket = key.fileobj  # type: ignore[assignment]  # only sockets are registered
            lines = ready.recv(262144).count(b"\n")
            answers += lines
            ready.sendall(line * lines)
    return answers / (time.monotonic() - start)


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]))
