"""The load generators, in C and in Python: they count what they should, and notice what is wrong."""

import shutil
import socket
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from benchmarks import fanout, load, streaming
from benchmarks.load import LoadGenerator, build, rate_of
from benchmarks.processes import BenchmarkError, serving
from benchmarks.wires import request_of

needs_compiler = pytest.mark.skipif(load.compiler() is None, reason="no C compiler")

PING = request_of("ndjson", "ping")
SECONDS = 0.02


@pytest.fixture
def folder():
    # Not tmp_path: the path of a UNIX socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    return LoadGenerator(tmp_path_factory.mktemp("load"))


@pytest.fixture(params=[pytest.param("c", marks=needs_compiler), "python"])
def generator(request, monkeypatch, tmp_path):
    if request.param == "c":
        return request.getfixturevalue("compiled")
    monkeypatch.setattr(load, "compiler", lambda: None)
    return LoadGenerator(tmp_path)


@contextmanager
def serving_one(path, talk):
    """A server of one connection, that it talks to in its way; the client may hang up at any time."""

    def serve():
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):
            talk(connection)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def answering(path, answers):
    """A server that answers whatever comes with the next of its answers; a banner waits for nothing."""

    def talk(connection):
        for answer in answers:
            if answer is not BANNER and not connection.recv(65536):
                return
            connection.sendall(b'{"version":"1"}\n' if answer is BANNER else answer)

    return serving_one(path, talk)


BANNER = object()


def test_the_one_in_python_says_that_it_is_slow(folder, monkeypatch):
    monkeypatch.setattr(load, "compiler", lambda: None)
    assert "may be the bottleneck" in LoadGenerator(folder).note
    with pytest.raises(BenchmarkError, match="no C compiler"):
        build(folder / "x", "load.c")


@pytest.mark.parametrize(("connections", "depth"), [(1, 1), (5, 1), (1, 8)])
@pytest.mark.parametrize("kind", ["ping", "echo"])
def test_requests_in_flight(generator, folder, connections, depth, kind):
    path = folder / "s"
    with serving("benchmarks.limit_b", str(path)) as process:
        request = request_of("ndjson", kind)
        found = generator.run("flow", path, request, connections, depth, SECONDS, process.pid)
    assert found.rate > 100
    assert 0 < found.busy <= 1.1
    assert (found.p50 is not None) is (connections * depth == 1)
    if found.p50 is not None:
        assert 0 < found.least <= found.p50 < 1


def test_connections_that_come_and_go(generator, folder):
    with serving("benchmarks.limit_b", str(folder / "s")):
        assert generator.run("cycle", folder / "s", PING, 3, 1, SECONDS, 0).rate > 10


def test_streams(generator, folder):
    with serving("benchmarks.limit_b", str(folder / "s"), "stream"):
        found = generator.run("stream", folder / "s", streaming.REQUEST, 1, streaming.MESSAGES, SECONDS, 0)
    assert found.rate > streaming.MESSAGES / 5
    assert found.p50 > 0


def test_events_reach_all_subscribers(generator, folder):
    with serving("benchmarks.ctld_server", str(folder / "s"), "full"):
        found = generator.run("fanout", folder / "s", fanout.REQUEST, 3, fanout.BURST, SECONDS, 0)
    assert found.rate > fanout.BURST


def test_what_is_counted_is_what_was_served(generator, folder):
    served = 0

    def talk(connection):
        nonlocal served
        connection.sendall(b'{"version":"1"}\n')
        while connection.recv(65536):
            served += 1
            connection.sendall(b'{"status":true,"response":"pong"}\n')

    with serving_one(folder / "s", talk):
        found = generator.run("flow", folder / "s", PING, 1, 1, SECONDS, 0)
    # The first one is not timed; the last one may end after its time.
    assert served * 0.3 < found.rate * SECONDS <= served


def test_a_server_that_hangs_up_is_noticed(generator, folder):
    with (
        answering(folder / "s", [BANNER, b'{"status":true,"response":"pong"}\n']),
        pytest.raises(BenchmarkError, match=r"read|reset|hung up|Broken pipe"),
    ):
        generator.run("flow", folder / "s", PING, 1, 1, 5, 0)


def test_another_answer_than_expected_is_noticed(generator, folder):
    with (
        answering(folder / "s", [BANNER, b'{"status":false,"message":"no such command"}\n']),
        pytest.raises(BenchmarkError, match="the answer"),
    ):
        generator.run("flow", folder / "s", PING, 1, 1, SECONDS, 0)


def test_an_answer_of_http_that_is_no_success_is_noticed(generator, folder):
    failure = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    with answering(folder / "s", [failure]), pytest.raises(BenchmarkError, match="the answer"):
        generator.run("flow", folder / "s", request_of("http", "ping"), 1, 1, SECONDS, 0)


@pytest.mark.parametrize("pieces", [1, 7])
def test_answers_of_http_that_come_in_pieces(generator, folder, pieces):
    whole = b'HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n["pong"]'
    size = len(whole) // pieces + 1

    def talk(connection):
        while connection.recv(65536):
            for start in range(0, len(whole), size):
                connection.sendall(whole[start : start + size])

    with serving_one(folder / "s", talk):
        assert generator.run("flow", folder / "s", request_of("http", "ping"), 1, 1, SECONDS, 0).rate > 10


def test_nobody_listens(generator, folder):
    with pytest.raises(BenchmarkError, match=r"connect|No such file"):
        generator.run("flow", folder / "s", PING, 1, 1, SECONDS, 0)


@needs_compiler
def test_grpc_speaks_http2(compiled, folder):
    """Settings, a ping and a window update come before the answer; the answer is counted once."""
    seen = []

    def frame(kind, flags, stream, payload=b""):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def talk(connection):
        connection.sendall(frame(4, 0, 0) + frame(6, 0, 0, b"12345678") + frame(8, 0, 0, (9).to_bytes(4, "big")))
        stream = 1
        while data := connection.recv(65536):
            seen.append(data)
            if frame(0, 1, stream)[3:] in data:
                answer = frame(1, 4, stream, b"\x88") + frame(0, 0, stream, b"\0\0\0\0\4pong")
                connection.sendall(answer + frame(1, 5, stream, b"\x88"))
                stream += 2

    with serving_one(folder / "s", talk):
        found = compiled.run("flow", folder / "s", request_of("grpc", "ping"), 1, 1, SECONDS, 0)
    said = b"".join(seen)
    assert said.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert frame(4, 1, 0) in said, "the settings are acknowledged"
    assert frame(6, 1, 0, b"12345678") in said, "and the ping"
    assert frame(0, 1, 3)[3:] in said, "streams are numbered"
    assert found.rate > 10


def test_without_a_compiler_there_is_no_grpc(folder, monkeypatch):
    monkeypatch.setattr(load, "compiler", lambda: None)
    with pytest.raises(BenchmarkError, match="no load generator for gRPC"):
        LoadGenerator(folder).run("flow", folder / "s", request_of("grpc", "ping"), 1, 1, SECONDS, 0)


def test_rates_are_of_processor_time():
    assert rate_of(100, 1.0, load_cpu=0.1, server_cpu=0.5, in_turn=False) == 200
    assert rate_of(100, 1.0, load_cpu=0.5, server_cpu=0.1, in_turn=False) == 200, "the busier one sets the pace"
    assert rate_of(100, 1.0, load_cpu=0.1, server_cpu=0.4, in_turn=True) == 200
    assert rate_of(100, 2.0, load_cpu=0.1, server_cpu=0.0, in_turn=True) == 50, "no other clock is known"


@needs_compiler
def test_what_does_not_compile_is_told(folder, monkeypatch):
    monkeypatch.setattr(load, "HERE", folder)
    (folder / "x.c").write_text("int main(void) { return nothing; }")
    with pytest.raises(BenchmarkError, match="nothing"):
        build(folder / "x", "x.c")


@needs_compiler
def test_the_sources_have_no_warnings(folder, monkeypatch):
    monkeypatch.setattr(load, "compiler", lambda: str(folder / "strict"))
    (folder / "strict").write_text(
        f'#!/bin/sh\nexec {shutil.which("cc") or shutil.which("gcc")} -Wall -Wextra -Werror "$@"\n'
    )
    (folder / "strict").chmod(0o755)
    for program, sources in (("load", ("load.c", "wires.c")), ("floor", ("floor.c",))):
        build(folder / program, *sources)
        assert (folder / program).stat().st_mode & 0o100
