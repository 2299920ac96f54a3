"""Own descriptors, passed to scripted daemons that do it wrong; the whole is in `test_sessions.py`."""

import signal
import socket
import threading

import pytest

from ctlctl.passing import run_on_own_descriptors
from ctld.address import parse_address
from ctld.errors import ConnectionLost, Denied, RemoteProtocolError

BANNER = b'{"version":"1","protocol":2}\n'
CONTINUE = b'{"status":true,"response":"continue","session":"s1"}\n'


@pytest.fixture
def daemon(tmp_path):
    threads = []

    def start(*answers: bytes, fds: int = 0) -> str:
        def serve() -> None:
            with listener:
                connection, _ = listener.accept()
            with connection:
                seen.append(connection.recv(65536))
                for answer in answers:
                    connection.sendall(answer)
                    if answer == CONTINUE:
                        for _ in range(fds):
                            data, received, _, _ = socket.recv_fds(connection, 1, 4)
                            assert data == b"\0"
                            for fd in received:
                                socket.close(fd)
                            seen.append(len(received))

        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return parse_address(f"unix:{tmp_path}/s")

    seen = start.seen = []
    yield start
    for thread in threads:
        thread.join()


def run(address):
    return run_on_own_descriptors(address, "exec", {"cmd": ["true"]}, {"env": {"A": "1"}})


def test_one_descriptor_per_message_and_then_the_status(daemon):
    before = signal.getsignal(signal.SIGTERM)
    final = b'{"status":true,"progress":"x"}\n{"status":true,"response":{"exitstatus":5}}\n'
    assert run(daemon(BANNER, CONTINUE, final, fds=3)) == 5
    request, *counts = daemon.seen
    assert counts == [1, 1, 1]
    assert b'"session":{"env":{"A":"1"},"io":"fds"}' in request
    assert signal.getsignal(signal.SIGTERM) is before


def test_without_a_banner(daemon):
    assert run(daemon(CONTINUE, b'{"status":true,"response":{"exitstatus":0}}\n', fds=3)) == 0


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ([BANNER, b'{"status":false,"message":"no","code":"denied"}\n'], Denied),
        ([BANNER, b'{"status":true,"response":"pong"}\n'], RemoteProtocolError),
        ([BANNER], ConnectionLost),
        ([BANNER, b"{"], ConnectionLost),
    ],
)
def test_what_is_no_session(daemon, answers, error):
    with pytest.raises(error):
        run(daemon(*answers))


@pytest.mark.parametrize(
    ("final", "error"),
    [
        (b'{"status":true,"response":{}}\n', RemoteProtocolError),
        (b'{"status":true,"response":{"exitstatus":null}}\n', RemoteProtocolError),
        (b'{"status":true,"response":5}\n', RemoteProtocolError),
        (b"", ConnectionLost),
    ],
)
def test_what_is_no_end(daemon, final, error):
    with pytest.raises(error):
        run(daemon(BANNER, CONTINUE, final, fds=3))
