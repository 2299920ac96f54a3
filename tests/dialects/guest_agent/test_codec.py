"""The codec of the daemon's side: one request, one answer, and the table of statuses."""

import json

import pytest

from ctld import errors
from ctld.dialects.guest_agent.codec import STATUSES, GuestAgentCodec, RawAnswer
from ctld.errors import CommandFailed, LocalProtocolError, error_from_wire
from ctld.testing.conformance import events_of
from ctld.wire.codec import END_OF_INPUT, NEED_DATA
from ctld.wire.messages import Failure, Invalid, Item, Progress, Reply, Request

START = b'{"Command":"job.start","name":"web","n":[1,2.5,null]}'


def codec(**options):
    return GuestAgentCodec(1000, **options)


def answered(codec, message):
    codec.send(message)
    return codec.data_to_send()


def test_a_request_however_it_is_cut():
    expected = [Request("job.start", {"name": "web", "n": [1, 2.5, None]})]
    for cut in range(1, len(START)):
        one = codec()
        assert events_of(one, [START[:cut], START[cut:], b"\n{}"]) == expected
        assert one.next_event() is END_OF_INPUT
        assert one.event_size == len(START)
        assert one.understood
        assert one.pending == 0


def test_the_end_before_a_request_is_answered_103():
    for beginning in (b"", b"garbage", START[:-1]):
        one = codec()
        (event,) = events_of(one, [beginning], eof=True)
        assert type(event) is Invalid
        body = answered(one, Failure(event.message, event.code, event.fields))
        assert body == b'{"Status":103,"StatusMessage":"Connection error"}'


def test_garbage_waits_for_the_end_unless_errors_are_strict():
    silent = codec()
    assert events_of(silent, [b"garbage"]) == []
    assert silent.next_event() is NEED_DATA
    strict = codec(strict_errors=True)
    (event,) = events_of(strict, [b"garbage", b"more"])
    assert answered(strict, Failure(event.message, event.code, event.fields)).startswith(b'{"Status":102,')


def test_too_long_a_request_is_the_end():
    one = codec()
    assert events_of(one, [b'{"a":"' + b"x" * 1000]) == []
    assert one.next_event() is END_OF_INPUT


def test_the_end_of_the_time_before_a_request():
    silent = codec()
    silent.receive_data(b"{")
    silent.expire()
    silent.receive_eof()
    assert silent.next_event() is END_OF_INPUT
    strict = codec(strict_errors=True)
    strict.expire()
    event = strict.next_event()
    assert answered(strict, Failure(event.message, event.code, event.fields)).startswith(b'{"Status":104,')


def test_the_end_of_the_time_before_the_answer():
    one = codec()
    events_of(one, [START])
    one.expire()
    assert answered(one, Reply(1)) == b""


@pytest.mark.parametrize(
    ("message", "body"),
    [
        (Reply({"a": 1}), b'{"Status":0,"StatusMessage":"","Response":{"a":1}}'),
        (Reply(), b'{"Status":0,"StatusMessage":"","Response":null}'),
        (Reply(RawAnswer(b"as it is")), b"as it is"),
        (Failure("no", "not-found"), b'{"Status":111,"StatusMessage":"no"}'),
        (Failure("<x>", "vm.paused"), b'{"Status":105,"StatusMessage":"\\u003cx\\u003e"}'),
        (
            Failure("Unsupported command 'x'", "unknown-command"),
            b'{"Status":101,"StatusMessage":"Could not find a handler for the requested command"}',
        ),
        (Failure("", "denied"), b'{"Status":110,"StatusMessage":"denied"}'),
        (Failure("bad", "bad-request"), b'{"Status":120,"StatusMessage":"bad"}'),
    ],
)
def test_answers(message, body):
    assert answered(codec(), message) == body


def test_every_slug_has_a_status_of_its_own():
    assert len(set(STATUSES.values())) == len(STATUSES)
    for slug in STATUSES:
        assert error_from_wire("", slug).code == slug
        assert slug == "failed" or type(error_from_wire("", slug)) is not CommandFailed
        assert json.loads(answered(codec(), Failure("x", slug)))["Status"] == STATUSES[slug]
    failures = [getattr(errors, name) for name in errors.__all__]
    assert {cls.code for cls in failures if isinstance(cls, type) and issubclass(cls, CommandFailed)} == set(STATUSES)


def test_progress_has_no_room_and_neither_items_nor_a_second_answer_a_place():
    one = codec()
    assert one.send(Progress("half")) == 0
    with pytest.raises(LocalProtocolError):
        one.send(Item(1))
    assert not one.answered
    size = one.send(Reply(1))
    assert one.answered
    with pytest.raises(LocalProtocolError):
        one.send(Reply(2))
    assert one.send(Progress("done")) == size == len(one.data_to_send())


def test_numbers_that_are_too_long_are_refused():
    (event,) = events_of(GuestAgentCodec(10_000), [b'{"Command":"x","n":' + b"9" * 5000 + b"}"])
    assert event == Invalid("invalid-options", "a number of the options has too many digits")


def test_what_was_not_understood_is_given_away_once():
    one = codec()
    one.receive_data(b'{"a":')
    assert one.trailing_data() == b'{"a":'
    assert one.trailing_data() == b""
