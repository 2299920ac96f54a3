"""The least client."""

import resource
import socket
import threading

import pytest

from benchmarks.client import LineClient, raise_descriptors


@pytest.fixture
def server(tmp_path_factory):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0bench-client-{id(listener)}")
        listener.listen()
        yield listener


def connected(server, greeting, *pieces):
    def serve():
        sock, _ = server.accept()
        with sock:
            sock.sendall(greeting)
            sock.recv(100)  # the first request: nothing is said unasked
            for piece in pieces:
                sock.sendall(piece)
            while sock.recv(100):
                pass

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def client_of(server, *pieces):
    return connected(server, b'{"version":"1"}\n', *pieces), LineClient(server.getsockname().decode())


def test_lines_are_taken_one_by_one_however_they_come(server):
    thread, client = client_of(server, b'{"status":true,"resp', b'onse":1}\n{"status":false,"message":"no"}\nrest')
    assert client.response(b"x\n") == 1
    assert client.response(b"x\n") == "no"
    client.socket.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionError, match="hung up"):
        client.take()
    client.close()
    thread.join()


def test_it_can_leave_alone_what_follows(server):
    thread, client = client_of(server, b'{"status":true,"response":"continue"}\n\0\1\2')
    assert client.response(b"x\n", greedy=False) == "continue"
    assert client.socket.recv(3, socket.MSG_WAITALL) == b"\0\1\2"
    client.close()
    thread.join()


def test_who_is_not_greeted_has_no_client(server):
    address = server.getsockname().decode()
    server.close()
    with pytest.raises(OSError, match="refused"):
        LineClient(address)


def test_descriptors_are_raised_as_far_as_they_may():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert raise_descriptors(1) == soft
        most = 10**9 if hard == resource.RLIM_INFINITY else hard
        assert raise_descriptors(10**9) == most
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
