"""The codec of the FSS control protocol: packets however they are cut, and every row of F4's table."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.dialects.fss_control.actions import Order, encode_order
from ctld.dialects.fss_control.codec import ERRORS, OUTCOMES, FssCodec
from ctld.dialects.fss_control.packet import HEAD_SIZE, encode_packet
from ctld.dialects.fss_control.payload import encode_payload
from ctld.dialects.fss_control.responses import Response, decode_response
from ctld.errors import LocalProtocolError
from ctld.testing.conformance import check_garbage, events_of
from ctld.wire.codec import END_OF_INPUT, NEED_DATA
from ctld.wire.messages import Failure, Invalid, Item, Progress, Reply, Request

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/fss_control.json").read_text())["cases"]
REQUESTS = [case for case in VECTORS if "args" in case]
RESPONSES = [case for case in VECTORS if "args" not in case]
START = encode_packet(encode_order(["start", "service", "sshd"]))


def answer_of(codec: FssCodec) -> Response:
    return decode_response(codec.data_to_send()[HEAD_SIZE:])


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case["name"])
def test_vectors_of_requests_both_ways(case):
    wire = bytes.fromhex(case["hex"])
    assert encode_packet(encode_order(case["args"])) == wire
    (event,) = events_of(FssCodec(), [wire])
    assert event.cmd == case["args"][0]
    order = event.opts["order"]
    when = [] if order.condition == "now" and "now" not in case["args"] else [order.condition, *order.words]
    assert [order.action, *filter(None, (order.directory, order.name)), *when] == case["args"]


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case["name"])
def test_vectors_of_responses_both_ways(case):
    wire = bytes.fromhex(case["hex"])
    response = decode_response(wire[HEAD_SIZE:])
    assert f"response {response.type} {response.action} {response.status}" == case["expect_R"]
    codec = FssCodec()
    events_of(codec, [encode_packet(encode_order([response.action, "a", "b"]))])
    message = Reply("F_done") if response.status == "F_done" else Failure("The program is out of memory.", "locked")
    if response.type == "error":
        message = Failure(response.content.decode(), "failed", {"status": response.status})
    elif response.status == "F_busy":
        message = Failure("", "locked")
    codec.send(message)
    assert codec.data_to_send() == wire


@pytest.mark.parametrize("cut", range(len(START) + 1))
def test_a_request_means_the_same_however_it_is_cut(cut):
    expected = [Request("start", {"order": Order("start", "service", "sshd")})]
    codec = FssCodec()
    assert events_of(codec, [START[:cut], START[cut:], b"what follows is nobody's"]) == expected
    assert codec.pending == 0
    assert codec.trailing_data() == b""
    assert codec.next_event() is END_OF_INPUT
    assert codec.event_size == len(START)


def test_byte_by_byte():
    codec = FssCodec()
    for i in range(len(START) - 1):
        codec.receive_data(START[i : i + 1])
        assert codec.next_event() is NEED_DATA
        assert codec.pending == i + 1
    codec.receive_data(START[-1:])
    assert type(codec.next_event()) is Request


def packet(payload: bytes) -> bytes:
    return encode_packet(payload)


def with_header(*lines: str, content: bytes = b"") -> bytes:
    return packet("".join(f"{line}\n" for line in ("header:", *lines, "payload:")).encode() + content)


WRONG = [
    ("eof before five bytes: none", b"", "F_packet_not", ""),
    ("eof before five bytes", START[:4], "F_packet_not", ""),
    ("reserved control bits", b"\x81" + START[1:], "F_packet_not", ""),
    ("size below five", b"\x80\0\0\0\x04", "F_packet_not", ""),
    ("size over the limit", b"\x80\x7f\0\0\0", "F_too_large", ""),
    ("eof before the size", START[:-1], "F_too_small", ""),
    ("eof after the head", START[:5], "F_too_small", ""),
    ("a header without an end", packet(b"header:\n" + b"\n" * 100_000), "F_too_large", ""),
    ("no header", packet(b"payload:\n"), "F_payload_not", ""),
    ("two headers", packet(b"header:\nheader:\npayload:\n"), "F_payload_not", ""),
    ("no payload", packet(b"header:\nlength 0\n"), "F_payload_not", ""),
    ("two payloads", with_header("length 0", content=b"payload:\n"), "F_payload_not", ""),
    ("two payloads, one with content", with_header("length 1", content=b"xpayload:\n"), "F_payload_not", ""),
    (
        "a signature after it",
        with_header("action start a b", "length 0", content=b"signature:\n"),
        "F_payload_not",
        "start",
    ),
    ("payload not last", packet(b"payload:\nheader:\nlength 0\n"), "F_payload_not", ""),
    ("payload without newline", packet(b"header:\nlength 0\npayload:"), "F_payload_not", ""),
    ("unknown type", with_header("type else", "action start a b", "length 0"), "F_header_not", "start"),
    ("action missing", with_header("type controller", "length 0"), "F_header_not", ""),
    ("action without words", with_header("type controller", "action", "length 0"), "F_header_not", ""),
    ("action unknown", with_header("type controller", "action burn a b", "length 0"), "F_header_not", ""),
    ("bad length", with_header("type controller", "action start a b", "length 7"), "F_header_not", "start"),
    ("wrong word count", with_header("type controller", "action start a", "length 0"), "F_header_not", "start"),
    ("empty name", with_header("type controller", "action start a ''", "length 0"), "F_empty", "start"),
    ("no time", with_header("type controller", "action start a b at x", "length 0"), "F_valid_not", "start"),
]


@pytest.mark.parametrize(("wire", "status", "action"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_f4_what_goes_wrong_is_answered_and_nothing_is_asked_for(wire, status, action):
    codec = FssCodec()
    (event,) = events_of(codec, [wire], eof=True)
    assert type(event) is Invalid
    codec.send(Failure(event.message, event.code, event.fields))
    response = answer_of(codec)
    assert (response.type, response.status, response.action) == ("error", status, action)
    assert response.content.decode().isprintable()
    assert response.content


@pytest.mark.parametrize(
    ("slug", "kind", "status"),
    [
        ("not-found", "error", "F_known_not"),
        ("unknown-command", "error", "F_supported_not"),
        ("denied", "error", "F_access_denied"),
        ("invalid-options", "error", "F_valid_not"),
        ("bad-request", "error", "F_header_not"),
        ("too-large", "error", "F_too_large"),
        ("locked", "controller", "F_busy"),
        ("busy", "controller", "F_busy"),
        ("deadlock", "controller", "F_busy"),
        ("shutting-down", "controller", "F_busy"),
        ("failed", "controller", "F_failure"),
        ("vm.paused", "controller", "F_failure"),
        ("internal", "controller", "F_failure"),
    ],
)
def test_slugs_become_statuses(slug, kind, status):
    codec = FssCodec()
    events_of(codec, [START])
    codec.send(Failure("Because.", slug))
    assert answer_of(codec) == Response(kind, status, "start", b"Because.")


def test_every_slug_of_the_tables_is_one_that_there_is():
    from ctld.errors import CommandFailed, error_from_wire

    assert not [slug for slug in (*ERRORS, *OUTCOMES) if type(error_from_wire("", slug)) is CommandFailed]


def test_without_an_action_even_busy_is_an_error():
    codec = FssCodec()
    codec.send(Failure("too many connections", "busy"))
    assert answer_of(codec) == Response("error", "F_busy", "", b"too many connections")


@pytest.mark.parametrize("init_type", ["init", "controller"])
def test_answers_about_the_machine_have_the_type_that_is_configured(init_type):
    codec = FssCodec(init_type=init_type)
    events_of(codec, [encode_packet(encode_order(["reboot", "now"]))])
    codec.send(Reply("F_done"))
    assert answer_of(codec) == Response(init_type, "F_done", "reboot")


def test_success_and_done():
    for reply in ("F_success", "F_done"):
        codec = FssCodec()
        events_of(codec, [START])
        codec.send(Reply(reply))
        assert answer_of(codec).status == reply


def test_one_answer_and_nothing_else():
    codec = FssCodec()
    assert codec.send(Progress("half")) == 0
    with pytest.raises(LocalProtocolError):
        codec.send(Item(1))
    assert codec.send(Reply()) > HEAD_SIZE
    with pytest.raises(LocalProtocolError):
        codec.send(Reply())
    assert codec.data_to_send()[:1] == b"\x80"
    assert codec.data_to_send() == b""


def test_the_limit_and_the_other_readings():
    assert type(events_of(FssCodec(max_size=64), [START])[0]) is Invalid
    little = START[:1] + START[1:5][::-1] + START[5:]
    assert type(events_of(FssCodec(), [little])[0]) is Invalid
    assert type(events_of(FssCodec(tolerant=True), [little])[0]) is Request
    whole = encode_packet(encode_payload([("type", "controller"), ("action", "start", "a", "b")], length_of="packet"))
    assert type(events_of(FssCodec(), [whole])[0]) is Invalid
    (event,) = events_of(FssCodec(length_of="packet"), [whole])
    assert event == Request("start", {"order": Order("start", "a", "b")})


def test_what_was_not_understood_is_given_away_once():
    codec = FssCodec()
    codec.receive_data(START[:9])
    assert codec.trailing_data() == START[:9]
    assert codec.trailing_data() == b""


@given(st.binary(max_size=40) | st.binary(max_size=60).map(encode_packet))
def test_garbage(junk):
    events = check_garbage(FssCodec, junk)
    assert len(events) == 1
