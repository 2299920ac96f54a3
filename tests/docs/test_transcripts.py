"""Conversations in bytes: what their form means, and that each way to go wrong is noticed."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.docs import transcript
from tests.docs.transcript import Step, Unexpected, bytes_of, hold, pattern_of, steps_of


def test_lines_that_belong_together_are_one_step():
    code = "# a remark\n--> a\\n\n--> b\n\n<-- c\n--|\n<-|\n"
    assert steps_of(code) == [Step("-->", "a\\nb"), Step("<--", "c"), Step("--|"), Step("<-|")]


@pytest.mark.parametrize("line", ["hello", "->> a", "--| a", "<-| a", "-->a"])
def test_other_lines_are_mistakes(line):
    with pytest.raises(Unexpected, match="begins with"):
        steps_of(line)


def test_escapes():
    assert bytes_of(r"\x80\x00é\n\\n") == b"\x80\x00\xc3\xa9\n\\n"
    for text in (r"\t", r"\x8", r"\xZZ", "\\"):
        with pytest.raises(Unexpected, match="a backslash"):
            bytes_of(text)


def test_gaps():
    assert pattern_of(r"a...\n").fullmatch(b"a(b)\nc\n")
    assert not pattern_of("a.c").fullmatch(b"abc")
    with pytest.raises(Unexpected, match="where this ends"):
        pattern_of("a...")


@contextmanager
def answered_by(serve: Callable[[socket.socket], None], listener: socket.socket) -> Iterator[None]:
    """Serve one client, in a thread."""

    def run() -> None:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):  # what goes wrong is said on the other side
            serve(connection)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextmanager
def listening(path: str, serve: Callable[[socket.socket], None]) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with answered_by(serve, listener):
            yield


def echo(connection: socket.socket) -> None:
    while data := connection.recv(100):
        connection.sendall(data.upper())
    connection.sendall(b"the end")


def silence(connection: socket.socket) -> None:
    connection.recv(100)
    connection.recv(100)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "s")


def test_a_conversation_that_goes_as_it_says(path):
    with listening(path, echo):
        hold(steps_of("--> ab\n<-- A\n<-- B\n--> cd\n<-- ...D\n--|\n<-- the end\n<-|"), path)


def test_what_comes_next_is_left_for_the_next_step(path):
    with listening(path, echo):
        hold([Step("-->", "ab"), Step("<--", "A"), Step("<--", "B")], path)


def test_over_tcp():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address: tuple[str, int] = listener.getsockname()
        with answered_by(echo, listener):
            hold(steps_of("--> ab\n<-- AB\n--|\n<-- the end\n<-|"), address)


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("--> ab\n<-- AC\n--|", "is not what came back"),
        ("--> ab\n--|\n<-- AC", "is not what came back before the end"),
        ("--> ab\n--|\n<-- AB\n<-|", "instead of the end there came b'the end'"),
        ("--> ab\n<-- AB\n<-|", "does not end the connection"),
    ],
)
def test_a_conversation_that_goes_otherwise(path, monkeypatch, code, complaint):
    monkeypatch.setattr(transcript, "PATIENCE", 0.2)
    with listening(path, echo), pytest.raises(Unexpected, match=complaint):
        hold(steps_of(code), path)


def test_nothing_comes_back(path, monkeypatch):
    monkeypatch.setattr(transcript, "PATIENCE", 0.05)
    with listening(path, silence), pytest.raises(Unexpected, match="is not what came back"):
        hold(steps_of("--> a\n<-- A"), path)


def test_the_end_of_a_connection_that_was_reset(path):
    """Closing with input unread is no orderly end."""

    def hang_up(connection: socket.socket) -> None:
        connection.recv(1)

    with listening(path, hang_up), pytest.raises(OSError, match="reset"):
        hold(steps_of("--> ab\n<-|"), path)
