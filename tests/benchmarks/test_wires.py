"""What the load generator is given to send."""

import json
from xmlrpc.client import loads

import pytest

from benchmarks.wires import KINDS, TEXT, WIRES, answer_of, json_line, request_of


def frames_of(data):
    """Take HTTP/2 frames apart: type, flags, stream, payload."""
    found = []
    while data:
        size = int.from_bytes(data[:3], "big")
        found.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + size]))
        data = data[9 + size :]
    return found


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", KINDS)
def test_an_echo_carries_the_text_and_a_ping_does_not(wire, kind):
    request = request_of(wire, kind)
    assert (TEXT.encode() in request.data) is (kind == "echo")
    assert request.expected == ("pong" if kind == "ping" else TEXT)


def test_lines_of_the_native_protocol():
    assert request_of("ndjson", "ping").data == b'{"cmd":"ping"}\n'
    assert json.loads(request_of("ndjson", "echo").data) == {"cmd": "echo", "opts": {"text": TEXT}}
    assert json.loads(request_of("ndjson", "echo", "record").data) == {"cmd": "record", "opts": {"text": TEXT}}
    assert json_line("count", {"count": 3}) == b'{"cmd":"count","opts":{"count":3}}\n'


def test_varlink_ends_with_a_zero_byte():
    data = request_of("varlink", "echo").data
    assert data.endswith(b"\0")
    assert json.loads(data[:-1]) == {"method": "org.example.bench.Echo", "parameters": {"text": TEXT}}


@pytest.mark.parametrize(("wire", "path"), [("http", "/echo"), ("xmlrpc", "/RPC2")])
def test_http_says_how_long_its_body_is(wire, path):
    head, _, body = request_of(wire, "echo").data.partition(b"\r\n\r\n")
    first, *headers = head.decode().split("\r\n")
    assert first == f"POST {path} HTTP/1.1"
    assert f"Content-Length: {len(body)}" in headers
    assert request_of(wire, "echo").framing == "http"


def test_xml_rpc_calls_the_method():
    _, _, body = request_of("xmlrpc", "echo").data.partition(b"\r\n\r\n")
    assert loads(body) == ((TEXT,), "bench.echo")


def test_grpc_sends_headers_and_one_message():
    (headers, data) = frames_of(request_of("grpc", "echo").data)
    assert headers[:3] == (1, 0x04, 0)  # HEADERS with END_HEADERS, the stream to be filled in
    assert b"/bench/echo" in headers[3]
    assert b"application/grpc" in headers[3]
    assert data == (0, 0x01, 0, b"\0" + len(TEXT).to_bytes(4, "big") + TEXT.encode())


@pytest.mark.parametrize("kind", KINDS)
def test_the_floor_answers_as_ctld_would(kind):
    assert json.loads(answer_of(kind)) == {"status": True, "response": "pong" if kind == "ping" else TEXT}
