"""Answers (specification F4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.dialects.fss_control.payload import MalformedPayload
from ctld.dialects.fss_control.responses import Response, decode_response, encode_response, message_text

GOOD = [
    Response("controller", "F_success", "start"),
    Response("controller", "F_failure", "my_action", b"\0 any bytes:\n"),
    Response("init", "F_done", "reboot"),
    Response("error", "F_memory_not", "start", b"The program is out of memory."),
    Response("error", "F_packet_not"),
]


@pytest.mark.parametrize("response", GOOD)
@pytest.mark.parametrize("length_of", ["payload", "packet"])
def test_answers_come_back(response, length_of):
    assert decode_response(encode_response(response, length_of=length_of), length_of=length_of) == response


def test_the_order_in_which_lines_are_written():
    assert encode_response(GOOD[1]).splitlines()[:5] == [
        b"header:", b"type controller", b"action my_action", b"status F_failure", b"length 13",
    ]  # fmt: skip


def test_lines_are_read_in_any_order_and_numbers_are_understood():
    data = b"header:\nlength 0\nstatus 342\naction start\ntype error\npayload:\n"
    assert decode_response(data) == Response("error", "F_memory_not", "start")


@pytest.mark.parametrize(
    "header",
    [
        b"type controller\nstatus F_done",  # the action is missing
        b"type controller\naction start",
        b"status F_done\naction start",
        b"type controller\naction start\nstatus F_memory_not",  # no outcome
        b"type controller\naction start\nstatus done",
        b"type controller\naction start\nstatus 99999",
        b"type controller\naction start stop\nstatus F_done",
        b"type controller\naction start\naction start\nstatus F_done",
        b"type controller\ntype controller\naction start\nstatus F_done",
        b"type controller\naction start\nstatus F_done\nstatus F_done",
        b"type controller\naction ''\nstatus F_done",
        b"type else\naction start\nstatus F_done",
        b"type error\naction\nstatus F_done",
    ],
)
def test_what_is_no_answer(header):
    with pytest.raises(MalformedPayload):
        decode_response(b"header:\n" + header + b"\nlength 0\npayload:\n")


@pytest.mark.parametrize("content", [b"a\0", b"\xff"])
def test_the_message_of_an_error_is_text(content):
    with pytest.raises(MalformedPayload):
        decode_response(encode_response(Response("error", "F_failure", content=content)))


@given(st.text())
def test_messages_can_be_sent(message):
    response = Response("error", "F_failure", "start", message_text(message))
    assert decode_response(encode_response(response)) == response
    assert not any(line.rstrip().endswith(b":") for line in response.content.split(b"\n"))
