"""ctlctl.dial_stdio: the standard streams, joined to the daemon."""

import json
import os
import subprocess
import threading

import pytest

from tests.client.scripted import BANNER, Peer, Serve
from tests.ctlctl.running import COMMAND, ROOT, Run, answering


def dial(address: str, **further: object) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]  # a test passes what it needs
        [*COMMAND, "-s", address, "dial-stdio"], stdin=subprocess.PIPE, cwd=ROOT, **further
    )


def test_bytes_go_both_ways_and_the_end_of_one_is_no_end_of_the_other(serve: Serve) -> None:
    address = serve(answering({"ping": "pong"})).address
    with dial(address, stdout=subprocess.PIPE) as process:
        out, _ = process.communicate(b'{"cmd": "ping"}\n')
    assert [json.loads(line) for line in out.splitlines()] == [BANNER, {"status": True, "response": "pong"}]
    assert process.returncode == 0


def test_neither_direction_holds_up_the_other(serve: Serve) -> None:
    size = 5_000_000

    def script(peer: Peer) -> None:
        writer = threading.Thread(target=peer.sock.sendall, args=(b"x" * size,))
        writer.start()
        writer.join(0.1)  # it is stuck by now: nobody reads
        left = size
        while left:
            left -= len(peer.sock.recv(100_000))
        writer.join()

    with dial(serve(script).address, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"y" * size)
        assert len(process.stdout.read()) == size


def test_b52_it_ends_when_nobody_reads_it_any_more(serve: Serve) -> None:
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        peer.until_closed()
        gone.set()

    read, write = os.pipe()
    with dial(serve(script).address, stdout=write) as process:
        os.close(write)
        assert os.read(read, 1)
        os.close(read)
        assert gone.wait(20), "the daemon does not know"
        assert process.wait(20) == 0


def test_a_daemon_that_closes_ends_it(serve: Serve) -> None:
    with dial(serve(lambda peer: peer.send(BANNER)).address, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.read()) == BANNER
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("address", "status", "err"),
    [
        ("unix:@ctld-test-nobody", 7, "no daemon listens on unix:@ctld-test-nobody: is it running?"),
        ("tls:localhost:1", 2, "dial-stdio takes no words, and connects to unix: and tcp: only"),
        ("ssh://localhost", 2, "dial-stdio takes no words, and connects to unix: and tcp: only"),
    ],
)
def test_where_it_does_not_go(run: Run, address: str, status: int, err: str) -> None:
    assert run("-s", address, "dial-stdio") == (status, "", f"ctlctl: {err}\n")
