"""The client of controllers (specification F5): where they are, and what may go wrong."""

import socket
import tempfile
import threading
from pathlib import Path

import pytest

from ctld.dialects.fss_control.client import BadOrder, ask, is_good, read_settings, sentence, socket_path
from ctld.dialects.fss_control.packet import encode_packet
from ctld.dialects.fss_control.responses import Response, encode_response
from ctld.errors import ConfigError, ConnectFailed, ConnectionLost, RemoteProtocolError
from tests.one_answer import OneAnswer

ANSWER = Response("controller", "F_done", "start", b"content")
WIRE = encode_packet(encode_response(ANSWER))


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory(prefix="fss-") as folder:
        yield str(Path(folder, "c"))


@pytest.mark.parametrize("pieces", [[WIRE], [WIRE[i : i + 1] for i in range(len(WIRE))], [WIRE + b"more"]])
@pytest.mark.parametrize("timeout", [None, 10.0])
def test_an_answer_however_it_comes(path, pieces, timeout):
    with OneAnswer(path, *pieces) as server:
        assert ask(path, ["start", "a", "b"], timeout=timeout) == ANSWER
    assert server.received.endswith(b"action start a b\nlength 0\npayload:\n")


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ([], ConnectionLost),
        ([WIRE[:3]], ConnectionLost),
        ([WIRE[:-1]], ConnectionLost),
        ([b"\x81" + WIRE[1:]], RemoteProtocolError),
        ([b"\x80\xff\xff\xff\xff"], RemoteProtocolError),
        ([encode_packet(b"junk")], RemoteProtocolError),
    ],
)
def test_answers_that_are_none(path, pieces, error):
    with OneAnswer(path, *pieces), pytest.raises(error):
        ask(path, ["start", "a", "b"])


@pytest.mark.parametrize("words", [[], ["burn"], ["start", "a"], ["start", "a", "b\nc"]])
def test_words_that_are_no_order_are_not_sent(words):
    with pytest.raises(BadOrder):
        ask("/no/such/socket", words)


@pytest.mark.parametrize("where", ["/no/such/socket", "a\0b", "x" * 200])
def test_nobody_is_there(where):
    with pytest.raises(ConnectFailed):
        ask(where, ["start", "a", "b"])


def test_where_the_socket_is(tmp_path):
    assert socket_path({}) == "/var/run/controller/default.socket"
    assert (
        socket_path({"path_socket": "/x", "path_socket_prefix": "p-", "path_socket_suffix": ".s"}) == "/x/p-default.s"
    )
    assert socket_path({"name_socket": "n"}, name="m") == "/var/run/controller/m.socket"
    assert socket_path({"path_socket": "/x"}, str(tmp_path)) == f"{tmp_path}/default.socket"
    assert socket_path({}, str(tmp_path), "n") == f"{tmp_path}/n.socket"
    assert socket_path({}, "/some/file", "n") == "/some/file"


def test_settings(tmp_path):
    file = tmp_path / "settings"
    file.write_text("# comment\n\nname_socket 'a b'\npath_socket /x\nelse what ever\n")
    assert read_settings(str(file)) == {"name_socket": "a b", "path_socket": "/x"}


def test_a_missing_default_file_is_fine_and_a_missing_named_one_is_not(monkeypatch, tmp_path):
    monkeypatch.setattr("ctld.dialects.fss_control.client.DEFAULT_SETTINGS", str(tmp_path / "none"))
    assert read_settings("") == {}
    with pytest.raises(ConfigError, match="No such file"):
        read_settings(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"name_socket\n", ":1: name_socket takes one word"), (b"\nname_socket a b", ":2: "), (b"a \0", "no NUL")],
)
def test_settings_that_are_none(tmp_path, content, message):
    file = tmp_path / "settings"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_settings(str(file))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ConfigError, match="Is a directory"):
        read_settings(str(tmp_path))


@pytest.mark.parametrize(
    ("response", "good", "text"),
    [
        (Response("controller", "F_done", "start"), True, "The action 'start' is performed."),
        (Response("init", "F_success", "reboot"), True, "The action 'reboot' is performed successfully."),
        (
            Response("controller", "F_busy", "stop"),
            False,
            "WARNING: The action 'stop' could not be performed because the service is busy.",
        ),
        (Response("controller", "F_failure", "stop"), False, "The action 'stop' failed with status 'F_failure'."),
        (
            Response("controller", "F_failure", "stop", b"It is gone.\n"),
            False,
            "The action 'stop' failed with status 'F_failure': It is gone.",
        ),
        (
            Response("error", "F_memory_not", "start"),
            False,
            "ERROR: Received error response for action 'start' with status 'F_memory_not' (342).",
        ),
        (
            Response("error", "F_memory_not", "start", b"Full."),
            False,
            "ERROR: Received error response for action 'start' with status 'F_memory_not': Full.",
        ),
        (Response("error", "F_done"), False, "ERROR: Received error response with status 'F_done' (260)."),
        (Response("error", "F_my_own", "", b"\xff"), False, "'F_my_own': \ufffd"),
    ],
)
def test_answers_in_plain_words(response, good, text):
    assert is_good(response) is good
    said = sentence(response)
    assert said.endswith(text)
    assert "()" not in said


def test_a_controller_that_drips_is_given_up_at_the_deadline(path):
    """Each byte comes in time; the whole answer does not."""
    done = threading.Event()

    def drip(client):
        client.recv(65536)
        for i in range(len(WIRE)):
            try:
                client.sendall(WIRE[i : i + 1])
            except OSError:
                return
            if done.wait(0.05):
                return

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def serve():
            client, _ = listening.accept()
            with client:
                drip(client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with pytest.raises(ConnectionLost, match="too long"):
                ask(path, ["start", "a", "b"], timeout=0.2)
        finally:
            done.set()
            thread.join()


def test_an_answer_before_the_whole_request_was_read_is_an_answer(path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def refuse():
            client, _ = listening.accept()
            with client:
                client.sendall(WIRE)
                client.shutdown(socket.SHUT_RD)  # while the other side waits for room
                client.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=refuse)
        thread.start()
        assert ask(path, ["start", "a", "b" * 4_000_000], timeout=10) == ANSWER
        thread.join()


def test_a_connection_that_breaks_is_lost(path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def reset():
            client, _ = listening.accept()
            client.close()  # with the request unread

        thread = threading.Thread(target=reset)
        thread.start()
        with pytest.raises(ConnectionLost, match=r"broke|without a whole answer"):
            ask(path, ["start", "a", "b"])
        thread.join()
