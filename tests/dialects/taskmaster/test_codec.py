"""Taskmaster's bytes: framing (B3), fields (B4), both shapes (B2), and what the original was seen to send."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.dialects.taskmaster.codec import INVALID_JOB_NAME, MAX_FRAME, Answer, TaskmasterCodec
from ctld.errors import LocalProtocolError, RemoteProtocolError
from ctld.testing.conformance import check_codec, check_garbage, events_of
from ctld.wire.codec import END_OF_INPUT, NEED_DATA
from ctld.wire.messages import Banner, Failure, Invalid, Item, Progress, Reply, Request

VECTORS = Path(__file__).parents[2] / "vectors"
RECORDED = json.loads((VECTORS / "taskmaster_daemon.json").read_text())["cases"]
RECORDED_CTL = json.loads((VECTORS / "taskmasterctl.json").read_text())["cases"]

NO_JSON = Invalid("syntax", "the query is no JSON object")
NO_COMMAND = Invalid("bad-request", "the query names no command, or two")
NO_BASE64 = Invalid("bad-request", "job and data must be base64")


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def query(cmd: str, job: str = "", data: bytes = b"") -> Request:
    return Request(cmd, {"job": job, "data": data})


def understood(wire: bytes) -> list:
    return events_of(TaskmasterCodec(), [wire])


def answered(answer, wire: bytes = b'{"cmd":"x"};;') -> bytes:
    """What is sent in answer to a query."""
    codec = TaskmasterCodec()
    assert len(events_of(codec, [wire])) == 1
    size = codec.send(answer)
    sent = codec.data_to_send()
    assert size == len(sent)
    assert codec.data_to_send() == b""
    return sent


def test_conformance():
    check_codec(
        lambda: TaskmasterCodec(max_frame=40),
        [
            (b'{"cmd":"list"};;', [query("list")]),
            (b'{\r\n"cmd":"a"\n};;\r\n', [query("a")]),
            (b'{"command":"b","job":"YQ=="};;', [query("b", "a")]),
            (b";;", [NO_JSON]),
            (b"junk;;", [NO_JSON]),
            (b'{"cmd":"a","data":"!"};;', [NO_BASE64]),
        ],
    )


@given(st.binary(max_size=60) | st.text(alphabet='{}":;cmdjob\n\\, ', max_size=60).map(str.encode))
def test_garbage(junk):
    check_garbage(lambda: TaskmasterCodec(max_frame=30), junk)


# B3: framing.


def test_b3_queries_in_one_segment_are_each_answered_in_order():
    assert understood(b'{"cmd":"a"};;{"command":"b"};;;;{"cmd":"c"};;') == [query("a"), query("b"), NO_JSON, query("c")]


def test_b3_line_ends_are_dropped_everywhere():
    assert understood(b'\r\n{"cm\nd":"li\r\nst"};\n;\r\n') == [query("list")]


def test_b3_a_single_semicolon_waits():
    codec = TaskmasterCodec()
    codec.receive_data(b'{"cmd":"a"};')
    assert codec.next_event() is NEED_DATA
    assert codec.pending == 12
    codec.receive_data(b";")
    assert codec.next_event() == query("a")
    assert (codec.pending, codec.event_size) == (0, 11)


def test_b3_the_third_semicolon_stays():
    codec = TaskmasterCodec()
    assert events_of(codec, [b";;;"]) == [NO_JSON]
    assert codec.trailing_data() == b";"


def test_b3_whitespace_around_is_accepted():
    assert understood(b' \t{ "cmd" : "a" } ;;') == [query("a")]


def test_b3_what_has_no_terminator_is_discarded_at_the_end():
    codec = TaskmasterCodec()
    assert events_of(codec, [b'{"cmd":"a"};;{"cmd":"b"};'], eof=True) == [query("a")]
    assert codec.pending == 0
    assert codec.next_event() is END_OF_INPUT


@pytest.mark.parametrize("end", [b"", b";;", b";;" + b'{"cmd":"a"};;'])
def test_b3_a_query_that_is_too_long_is_answered_and_the_last(end):
    codec = TaskmasterCodec()
    codec.receive_data(b"x" * (MAX_FRAME + 2) + end)
    assert codec.next_event() == Invalid("too-large", "the query exceeds 1048576 bytes")
    codec.receive_data(b"more")
    assert codec.pending == 0
    with pytest.raises(RemoteProtocolError, match="the query exceeds 1048576 bytes"):
        codec.next_event()
    for _ in range(2):  # and the connection's own complaint about it
        codec.send(Failure("too long", "too-large"))
    assert codec.data_to_send() == b'{"response":"invalid","error":"","data":""};;'


def test_b3_a_query_of_the_longest_length_is_served():
    padding = MAX_FRAME - len('{"cmd":"push","data":""}')
    wire = b'{"cmd":"push","data":"' + b"A" * (padding // 4 * 4) + b'"}'
    codec = TaskmasterCodec()
    codec.receive_data(wire.ljust(MAX_FRAME) + b";")
    assert codec.next_event() is NEED_DATA
    codec.receive_data(b";")
    event = codec.next_event()
    assert (event.cmd, codec.event_size) == ("push", MAX_FRAME)
    assert event.opts["data"] == bytes(padding // 4 * 3)


def test_b3_line_ends_without_number_cost_nothing():
    codec = TaskmasterCodec(max_frame=10)
    codec.receive_data(b"\r\n" * 1000)
    assert codec.pending == 0


# B4: fields.


@pytest.mark.parametrize(
    ("wire", "event"),
    [
        ('{"cmd":"start","job":"bmdpbng=","data":""}', query("start", "nginx")),
        ('{"command":"start","job":"bmdpbng="}', query("start", "nginx")),
        ('{"cmd":"a","command":"a"}', query("a")),
        ('{"cmd":"a","cmd":"b"}', query("b")),
        ('{"cmd":"LIST"}', query("LIST")),
        ('{"cmd":""}', query("")),
        ('{"cmd":"a","id":[{}],"extra":null}', query("a")),
        ('{"cmd":"\\u003b\\u003b"}', query(";;")),
        (f'{{"cmd":"a","job":"{b64(";;")}"}}', query("a", ";;")),
        (f'{{"cmd":"a","job":"{b64("größe")}"}}', query("a", "größe")),
        ('{"cmd":"a","data":"/+8="}', query("a", data=b"\xff\xef")),
        ("{}", NO_COMMAND),
        ('{"cmd":5}', NO_COMMAND),
        ('{"cmd":null}', NO_COMMAND),
        ('{"cmd":"a","command":"b"}', NO_COMMAND),
        ('{"cmd":"a","command":1}', NO_COMMAND),
        ("garbage", NO_JSON),
        ("[]", NO_JSON),
        ("null", NO_JSON),
        ('"x"', NO_JSON),
        ('{"cmd":"a"} x', NO_JSON),
        ('{"cmd":"a","x":' + "[" * 200_000 + "]" * 200_000 + "}", NO_JSON),
        ('{"cmd":"a","job":null}', NO_BASE64),
        ('{"cmd":"a","job":5}', NO_BASE64),
        ('{"cmd":"a","job":"!!!"}', NO_BASE64),
        ('{"cmd":"a","job":"bmdpbng"}', NO_BASE64),
        ('{"cmd":"a","job":"bmdp bng="}', NO_BASE64),
        ('{"cmd":"a","job":"YQ==YQ=="}', NO_BASE64),
        ('{"cmd":"a","job":"é"}', NO_BASE64),
        ('{"cmd":"a","data":"_-8="}', NO_BASE64),
        ('{"cmd":"a","job":"/w=="}', Invalid("job.name", INVALID_JOB_NAME)),
    ],
)
def test_b4_fields(wire, event):
    assert understood(wire.encode() + b";;") == [event]


def test_b4_bytes_that_are_no_text_are_no_query():
    assert understood(b'{"cmd":"\xff"};;') == [NO_JSON]


# B2: the query decides what its answer looks like.

PROGRAM, DOCUMENT = b'{"cmd":"x"};;', b'{"command":"x"};;'
LISTED = '{"processes":[{"name":"a"},{"name":"b"}]}'
LISTED_TWICE = '{"processes":[{"name":"a"},{"name":"b"}],"jobs":[{"name":"a"},{"name":"b"}]}'


@pytest.mark.parametrize(
    ("answer", "program", "document"),
    [
        (Answer(kind="success"), {}, {}),
        (Answer(kind="redundant"), {}, {}),
        (Answer(kind="invalid"), {}, {}),
        (Answer(kind="fail", error="Né."), {"error": b64("Né.")}, {"error": b64("Né.")}),
        (Answer(kind="status", data=b"s"), {"data": "cw=="}, {"data": "cw=="}),
        (Answer(kind="file", data=b"f", job="a/b"), {"data": "Zg=="}, {"job": b64("a/b"), "data": "Zg=="}),
        (
            Answer(kind="list", names=("a", "b")),
            {"data": b64(LISTED)},
            {"list": b64(LISTED_TWICE), "data": b64(LISTED_TWICE)},
        ),
    ],
)
def test_b2_both_shapes(answer, program, document):
    expected = {"response": answer.kind, "error": "", "data": "", **program}
    assert answered(Reply(answer), PROGRAM) == json.dumps(expected, separators=(",", ":")).encode() + b";;"
    expected = {"response": answer.kind, **document}
    assert answered(Reply(answer), DOCUMENT) == json.dumps(expected, separators=(",", ":")).encode() + b";;"


@pytest.mark.parametrize("code", ["syntax", "bad-request", "too-large", "unknown-command"])
def test_what_is_not_understood_is_invalid(code):
    assert answered(Failure("why", code), PROGRAM) == b'{"response":"invalid","error":"","data":""};;'
    assert answered(Failure("why", code), DOCUMENT) == b'{"response":"invalid"};;'


def test_any_other_failure_is_a_fail_with_its_message():
    assert answered(Failure("Invalid job name.", "job.name"), DOCUMENT) == (
        b'{"response":"fail","error":"SW52YWxpZCBqb2IgbmFtZS4="};;'
    )


def test_each_answer_has_the_shape_of_its_own_query():
    codec = TaskmasterCodec()
    events_of(codec, [PROGRAM + DOCUMENT + b'{"command":5};;' + b"junk;;"])
    for _ in range(4):
        codec.send(Reply(Answer(kind="success")))
    codec.send(Failure("too many connections", "busy"))  # nobody asked: the shape of the program
    short, long = b'{"response":"success"};;', b'{"response":"success","error":"","data":""};;'
    assert codec.data_to_send() == long + short + short + long + (
        b'{"response":"fail","error":"' + b64("too many connections").encode() + b'","data":""};;'
    )


def test_banner_and_progress_are_dropped_and_a_stream_is_refused():
    codec = TaskmasterCodec()
    assert codec.send(Banner("1")) == codec.send(Progress("half")) == 0
    for message in (Item(1), Reply("text"), Reply(None)):
        with pytest.raises(LocalProtocolError, match="carries answers and nothing else"):
            codec.send(message)
    assert codec.data_to_send() == b""


# What the original was seen to send and to answer.

# Where the specification decides otherwise, and what it decides.
DECIDED = {
    "documented_key": [query("list")],
    "trailing_space": [query("list")],
    "two_in_one_write": [query("list"), query("list")],
}


def answer_of(recorded: dict) -> Answer:
    response = json.loads(recorded["response"].removesuffix(";;"))
    if response["response"] == "list":
        listed = json.loads(recorded["data_decoded"])["processes"]
        return Answer(kind="list", names=tuple(job["name"] for job in listed))
    data = recorded.get("data_decoded", "").encode()
    return Answer(kind=response["response"], error=recorded.get("error_decoded", ""), data=data)


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda case: case["name"])
def test_recorded_queries_and_answers(recorded):
    events = understood(recorded["request"].encode())
    if recorded["name"] in DECIDED:
        assert events == DECIDED[recorded["name"]]
        return
    (event,) = events
    sent = (
        json.loads(recorded["request"].removesuffix(";;\n").removesuffix(";;")) if "bogus" in recorded["name"] else {}
    )
    if isinstance(event, Invalid):
        assert recorded["response"] == '{"response":"invalid","error":"","data":""};;'
        assert (
            answered(Failure(event.message, event.code), recorded["request"].encode()) == recorded["response"].encode()
        )
    else:
        assert event.cmd == sent.get("cmd", event.cmd)
        assert answered(Reply(answer_of(recorded)), recorded["request"].encode()) == recorded["response"].encode()


@pytest.mark.parametrize(
    "recorded", [case for case in RECORDED_CTL if case.get("sent")], ids=lambda case: case["args"][0]
)
def test_recorded_queries_of_the_original_client_are_understood(recorded):
    (event,) = understood(recorded["sent"].encode())
    assert event.cmd == recorded["args"][0].lower()
    arguments = recorded["args"][1:]
    assert event.opts["job"] == (arguments[0].removesuffix(".tm.json") if arguments else "")


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_browser_gives_no_orders(method):
    """Any page may have its reader's browser send this to a port of this machine."""
    codec = TaskmasterCodec()
    order = b'{"cmd":"stop","job":"bmdpbng=","data":""};;'
    codec.receive_data(f"{method} /x?y HTTP/1.1\r\nHost: localhost:7777\r\n\r\n;;".encode() + order * 2)
    assert codec.next_event() == Invalid("syntax", "this is no web server")
    codec.receive_data(order)
    with pytest.raises(RemoteProtocolError, match="no web server"):
        codec.next_event()
