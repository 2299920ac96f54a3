"""Bytes between a client and a program."""

import os
import socket
import threading
from contextlib import contextmanager

import pytest

from benchmarks import transfers
from benchmarks.processes import BenchmarkError
from benchmarks.transfers import BLOCK, Way, cpu_of, direct, kernel_of, run

EXIT = transfers.HEADER.pack(transfers.EXIT, 2) + b"{}"


def frame(kind, payload):
    return transfers.HEADER.pack(kind, len(payload)) + payload


@contextmanager
def sending(*pieces):
    """A socket on which these pieces come, one after the other was taken."""
    ours, theirs = socket.socketpair()
    with theirs, ours:
        thread = threading.Thread(target=lambda: [theirs.sendall(piece) for piece in pieces] and theirs.close())
        thread.start()
        yield ours
        thread.join()


@pytest.mark.parametrize("direction", ["out", "in"])
def test_all_bytes_come_through(direction):
    found = run(direct, direction, 4 * BLOCK, os.getpid())
    assert found.size == 4 * BLOCK
    assert found.seconds > 0
    assert found.cpu >= 0


def test_bytes_that_are_missing_are_noticed():
    with pytest.raises(BenchmarkError, match=f"{2 * BLOCK} bytes came through instead of {2 * BLOCK + 1}"):
        run(direct, "out", 2 * BLOCK + 1, None)


@pytest.mark.parametrize("cut", range(1, 24))
def test_payloads_are_counted_however_frames_are_cut(cut):
    wire = frame(1, b"abc") + frame(2, b"") + frame(1, b"defgh") + EXIT
    ours, theirs = socket.socketpair()
    with ours, theirs:
        incoming = transfers._FramesIn(ours)
        theirs.sendall(wire[:cut])
        count = incoming._take(memoryview(ours.recv(100)))
        theirs.sendall(wire[cut:])
        while more := incoming.receive():
            count += more
    assert count == 8


def test_a_daemon_that_hangs_up_before_the_end():
    with sending(frame(1, b"abc")) as sock:
        incoming = transfers._FramesIn(sock)
        assert incoming.receive() == 3
        with pytest.raises(BenchmarkError, match="before the end"):
            incoming.receive()


def test_what_is_sent_as_frames():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sent = []

        def receive():
            while data := theirs.recv(100_000):
                sent.append(data)

        thread = threading.Thread(target=receive)
        thread.start()
        transfers._send(ours, 2 * BLOCK, framed=True)
        ours.close()
        thread.join()
    assert b"".join(sent) == 2 * frame(0, bytes(BLOCK)) + frame(0, b"")


def test_processor_time_of_nobody_and_of_somebody():
    assert cpu_of(None) == 0.0
    before = cpu_of(os.getpid())
    sum(range(200_000))
    assert cpu_of(os.getpid()) > before
    assert kernel_of(None) == 0.0
    assert 0 <= kernel_of(os.getpid()) <= cpu_of(os.getpid()) + 0.02


def test_what_remains_is_done_at_the_end():
    done = []

    def open_way(argv):
        way = direct(argv)
        rest = way.rest
        return Way(way.sock, rest=lambda: (rest(), done.append(argv[0])))

    run(open_way, "out", BLOCK, None)
    assert done == ["dd"]
