"""Taskmaster's client: every shape of an answer, and what is none."""

import base64
import json
import socket

import pytest

from ctld.dialects.taskmaster.client import Base64Error, JsonError, Response, TaskmasterClient, read_response
from ctld.errors import ConnectFailed, ConnectionLost
from tests.dialects.taskmaster.daemon import ScriptedDaemon

OK = b'{"response":"success"};;'


def listing(key: str, payload: str) -> str:
    return json.dumps({"response": "list", key: base64.b64encode(payload.encode()).decode()})


@pytest.mark.parametrize(
    ("answer", "response"),
    [
        ('{"response":"success","error":"","data":""}', Response("success")),
        ('{"response":"success"}', Response("success")),
        ('{"response":"fail","error":"SGk="}', Response("fail", error="Hi")),
        ('{"response":"file","job":"YQ==","data":"/w=="}', Response("file", data=b"\xff")),
        (listing("data", '{"processes":[{"name":"a"}]}'), ("a",)),
        (listing("list", '{"jobs":[{"name":"a"},{"name":"b"}]}'), ("a", "b")),
        ('{"response":"list","data":"e30="}', JsonError),
        ('{"response":"list"}', JsonError),
        (listing("data", '{"jobs":[1]}'), JsonError),
        ('{"response":"weird"}', Response("weird")),
        ("{}", JsonError),
        ("[]", JsonError),
        ("", JsonError),
        ("[" * 100_000, JsonError),
        ('{"response":"fail","error":5}', JsonError),
        ('{"response":"fail","error":"!"}', Base64Error),
    ],
)
def test_answers(answer, response):
    if isinstance(response, type):
        with pytest.raises(response):
            read_response(answer.encode())
    else:
        read = read_response(answer.encode())
        assert (read.names if type(response) is tuple else read) == response


def test_b9_all_three_keys_are_sent_in_order():
    with ScriptedDaemon([OK, OK], step=1) as daemon, TaskmasterClient(port=daemon.port) as client:
        assert client.ask("push", "nginx", b"{}") == Response("success")
        assert client.ask("list") == Response("success")
    assert daemon.received == [
        b'{"cmd":"push","job":"bmdpbng=","data":"e30="};;',
        b'{"cmd":"list","job":"","data":""};;',
    ]


def test_a_lost_connection_is_made_again():
    with ScriptedDaemon([None, OK]) as daemon, TaskmasterClient(port=daemon.port) as client:
        with pytest.raises(ConnectionLost):
            client.ask("list")
        assert client.ask("list") == Response("success")


def test_an_answer_without_end_is_not_taken():
    with (
        ScriptedDaemon([b"x" * (6 * 1024 * 1024)]) as daemon,
        TaskmasterClient(port=daemon.port) as client,
        pytest.raises((JsonError, ConnectionLost)),
    ):
        client.ask("list")


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for host in ("127.0.0.1", "no.such.host.invalid", "a" * 300):
        with pytest.raises(ConnectFailed):
            TaskmasterClient(host, port).ask("list")
