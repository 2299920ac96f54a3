"""The native codec, sentence by sentence of the protocol's specification (N1, N2, N4)."""

import json

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ctld.errors import LocalProtocolError, RemoteProtocolError
from ctld.testing import check_codec, check_garbage
from ctld.testing.conformance import events_of
from ctld.wire.buffer import ReceiveBuffer
from ctld.wire.codec import END_OF_INPUT, NEED_DATA
from ctld.wire.lines import MAX_ID_BYTES, SYNTAX_MESSAGE, is_request_id, parse_line
from ctld.wire.messages import Banner, Cancel, Failure, Invalid, Item, Progress, Reply, Request
from ctld.wire.native import FEATURES, NativeCodec

MAX_LINE = 64


def small() -> NativeCodec:
    return NativeCodec(max_line=MAX_LINE)


def raw(text: str = "{}") -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def line_of(**members) -> bytes:
    return json.dumps(members).encode()


# P12: every ordered pair, at every cut, whole, and byte by byte.

CASES = [
    (b'{"cmd":"ping"}\n', [Request("ping", raw())]),
    (b'{"cmd":"a","opts":{"n":"\\u00e9\xc3\xa9"}}\r\n', [Request("a", raw('{"n":"\\u00e9\u00e9"}'))]),
    (b'{"cmd":"b","id":"x","stream":true}\n', [Request("b", raw(), "x", stream=True)]),
    (b'{"cancel":7}\n', [Cancel(7)]),
    (b'{"cancel":[]}\n', []),
    (b"\n", []),
    (b" \t\r\n", []),
    (b"oops\n", [Invalid("syntax", SYNTAX_MESSAGE)]),
    (b"[]\n", [Invalid("bad-request", "expected a JSON object, got an array")]),
    (
        b"x" * (MAX_LINE + 1) + b"\n",
        [Invalid("too-large", f"the request exceeds {MAX_LINE} bytes", fields={"max_line": MAX_LINE})],
    ),
]


def test_conformance():
    check_codec(small, CASES)


# N1: one JSON object per line.


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b" \n", b"\t\r\n"])
def test_n2_a_line_ends_with_a_newline_and_crlf_is_accepted(end):
    codec = NativeCodec()
    assert events_of(codec, [b'{"cmd":"ping"}' + end]) == [Request("ping", raw())]
    assert codec.trailing_data() == b""


@pytest.mark.parametrize("blank", [b"", b"\r", b" ", b"\t \r", b"\x0b\x0c"])
def test_n2_blank_lines_are_ignored(blank):
    assert events_of(NativeCodec(), [blank + b"\n" + blank + b"\n"], eof=True) == []
    assert events_of(NativeCodec(), [blank], eof=True) == []


def test_n2_a_bare_carriage_return_is_no_end_of_line():
    assert events_of(NativeCodec(), [b'{"cmd":"a"}\r{"cmd":"b"}\n']) == [Invalid("syntax", SYNTAX_MESSAGE)]


def test_n2_a_last_line_without_newline_is_served():
    codec = NativeCodec()
    assert events_of(codec, [b'{"cmd":"a"}\n{"cmd":"b"}']) == [Request("a", raw())]
    assert codec.pending == 11
    assert events_of(codec, [], eof=True) == [Request("b", raw())]
    assert codec.pending == 0


def test_n2_a_last_line_that_is_broken_off_is_answered():
    assert events_of(NativeCodec(), [b'{"cmd":"b"'], eof=True) == [Invalid("syntax", SYNTAX_MESSAGE)]


# N2 and N4: what is accepted.


ACCEPTED = [
    (b'{"cmd":"x"}', Request("x", raw())),
    (b' { "cmd" : "x" } ', Request("x", raw())),
    (b'{"cmd":"x","opts":{}}', Request("x", raw())),
    (b'{"opts": {"a" : 1} ,"cmd":"x"}', Request("x", raw('{"a" : 1}'))),
    (b'{"cmd":"x","opts":\t{"a":1}}', Request("x", raw('{"a":1}'))),
    (b'{"cmd":"","opts":null}', Request("", {})),
    (b'{"cmd":"\\u0000\\n"}', Request("\0\n", raw())),
    ('{"cmd":"\u4e16\U0001f600"}'.encode(), Request("\u4e16\U0001f600", raw())),
    # Unknown top-level keys are ignored, whatever they hold.
    (b'{"cmd":"x","foo":[{"bar":null}],"":1,"CMD":2,"status":true}', Request("x", raw())),
    (b'{"cmd":"x","foo":1e400}', Request("x", raw())),
    # Of a key that comes twice the last one counts.
    (b'{"cmd":"x","cmd":"y"}', Request("y", raw())),
    (b'{"cmd":"x","opts":{"a":1,"a":2}}', Request("x", raw('{"a":1,"a":2}'))),
    # An id: an integer of 64 bits or a string of at most 256 bytes.
    (b'{"cmd":"x","id":0}', Request("x", raw(), 0)),
    (b'{"cmd":"x","id":-9223372036854775808}', Request("x", raw(), -(2**63))),
    (b'{"cmd":"x","id":9223372036854775807}', Request("x", raw(), 2**63 - 1)),
    (b'{"cmd":"x","id":18446744073709551615}', Request("x", raw(), 2**64 - 1)),
    (b'{"cmd":"x","id":""}', Request("x", raw(), "")),
    (b'{"cmd":"x","id":null}', Request("x", raw())),
    (b'{"cmd":"x","id":"%s"}' % (b"a" * 256), Request("x", raw(), "a" * 256)),
    (b'{"cmd":"x","id":"%s"}' % ("\u00e9".encode() * 128), Request("x", raw(), "\u00e9" * 128)),
    (b'{"cmd":"x","id":"%s"}' % (b"\\u00e9" * 128), Request("x", raw(), "\u00e9" * 128)),
    # A deadline: a number of seconds above 0.
    (b'{"cmd":"x","deadline":1}', Request("x", raw(), deadline=1.0)),
    (b'{"cmd":"x","deadline":5e-324}', Request("x", raw(), deadline=5e-324)),
    (b'{"cmd":"x","deadline":1e308}', Request("x", raw(), deadline=1e308)),
    (b'{"cmd":"x","deadline":1%s}' % (b"0" * 30), Request("x", raw(), deadline=1e30)),
    (b'{"cmd":"x","deadline":null}', Request("x", raw())),
    (b'{"cmd":"x","stream":true,"detach":true}', Request("x", raw(), stream=True, detach=True)),
    (b'{"cmd":"x","stream":false,"detach":false}', Request("x", raw())),
    (b'{"cmd":"x","stream":null,"detach":null}', Request("x", {})),
    (b'{"cmd":"x","session":{"tty":true,"rows":24}}', Request("x", raw(), session={"tty": True, "rows": 24})),
    (b'{"cmd":"x","session":null}', Request("x", raw())),
    # Cancel: never answered, whatever stands beside it.
    (b'{"cancel":1}', Cancel(1)),
    (b'{"cancel":"a"}', Cancel("a")),
    (b'{"cancel":null}', Cancel(None)),
    (b'{"cmd":"x","id":1,"cancel":2}', Cancel(2)),
    (b'{"cmd":7,"opts":[],"deadline":-1,"cancel":null}', Cancel(None)),
]


@pytest.mark.parametrize(("line", "expected"), ACCEPTED)
def test_what_a_line_means(line, expected):
    event = parse_line(bytearray(line))
    assert event == expected
    assert NativeCodecOf(line) == [expected]


def NativeCodecOf(line):
    return events_of(NativeCodec(), [line + b"\n"])


@pytest.mark.parametrize(
    "wanted",
    [b"true", b"false", b"1.5", b"1e2", b"[]", b"{}", b"[1]", b"99999999999999999999", b'"%s"' % (b"a" * 257)],
)
def test_n4_silly_ids_to_cancel_are_ignored(wanted):
    assert parse_line(b'{"cancel":' + wanted + b"}") is None
    assert parse_line(b'{"cancel":' + wanted + b',"cmd":"x","id":1}') is None


# N2 and N4: what is refused, with which slug, and with the id if it is readable.

SYNTAX = ("syntax", SYNTAX_MESSAGE)
BAD_ID = ("bad-request", f"id must be a 64-bit integer or a string of at most {MAX_ID_BYTES} bytes")
BAD_DEADLINE = ("bad-request", "deadline must be a number of seconds above 0")


REFUSED = [
    # Bad JSON.
    (b"ping", *SYNTAX, None),
    (b'{"cmd":"x"', *SYNTAX, None),
    (b'{"cmd":"x"}}', *SYNTAX, None),
    (b'{"cmd":"x"} {"cmd":"y"}', *SYNTAX, None),
    (b"{'cmd':'x'}", *SYNTAX, None),
    (b'{"cmd":"x",}', *SYNTAX, None),
    (b'{"cmd":"x"}\0', *SYNTAX, None),
    (b"\0", *SYNTAX, None),
    (b'\xef\xbb\xbf{"cmd":"x"}', *SYNTAX, None),
    (b'{"cmd":"x","id":01}', *SYNTAX, None),
    (b'{"cmd":"x","opts":{"a":"\x01"}}', *SYNTAX, None),
    (b'{"cmd":"x","opts":{"a":"\\q"}}', *SYNTAX, None),
    (b'{"cmd":"x","opts":{"a":"\\ud800"}}', *SYNTAX, None),
    (b'{"cmd":"\\ud800"}', *SYNTAX, None),
    (b'{"cmd":"x","id":1,"opts":{"a":NaN}}', *SYNTAX, None),
    (b'{"cmd":"x","opts":{"a":-Infinity}}', *SYNTAX, None),
    (b"NaN", *SYNTAX, None),
    (b'{"cmd":"x","deadline":NaN}', *SYNTAX, None),
    (b'{"cmd":"x","deadline":1e400}', *SYNTAX, None),
    (b'{"cmd":1,"foo":1e400}', *SYNTAX, None),
    (b'{"cancel":1', *SYNTAX, None),
    # Bad UTF-8, anywhere.
    (b"\xff", *SYNTAX, None),
    (b"\xc2\xa0", *SYNTAX, None),
    (b'{"cmd":"\xff"}', *SYNTAX, None),
    (b'{"cm\xff":"x"}', *SYNTAX, None),
    (b'{"cmd":"x","foo":"\xff"}', *SYNTAX, None),
    (b'{"cmd":"x","opts":{"a":"\xff"}}', *SYNTAX, None),
    (b'{"cmd":"x","opts":{"\xc3":1}}', *SYNTAX, None),
    (b'{"cmd":"x","opts":{"a":["\xed\xa0\x80"]}}', *SYNTAX, None),
    (b'{"cmd":"x","opts":{"a":"\xc0\xaf"}}', *SYNTAX, None),
    (b'{"cmd":"x","opts":{"a":"\xf5\x80\x80\x80"}}', *SYNTAX, None),
    (b'{"cancel":"\xff"}', *SYNTAX, None),
    # No object.
    (b"[]", "bad-request", "expected a JSON object, got an array", None),
    (b'[{"cmd":"x"}]', "bad-request", "expected a JSON object, got an array", None),
    (b'"ping"', "bad-request", "expected a JSON object, got a string", None),
    (b"1", "bad-request", "expected a JSON object, got a number", None),
    (b"1.5", "bad-request", "expected a JSON object, got a number", None),
    (b"true", "bad-request", "expected a JSON object, got a boolean", None),
    (b"null", "bad-request", "expected a JSON object, got null", None),
    # cmd missing or not a string.
    (b"{}", "bad-request", "the key cmd is missing", None),
    (b'{"id":1}', "bad-request", "the key cmd is missing", 1),
    (b'{"CMD":"x","id":"a"}', "bad-request", "the key cmd is missing", "a"),
    (b'{"cmd":null,"id":2}', "bad-request", "cmd must be a string, not null", 2),
    (b'{"cmd":1,"id":2}', "bad-request", "cmd must be a string, not a number", 2),
    (b'{"cmd":1.5}', "bad-request", "cmd must be a string, not a number", None),
    (b'{"cmd":true}', "bad-request", "cmd must be a string, not a boolean", None),
    (b'{"cmd":["x"]}', "bad-request", "cmd must be a string, not an array", None),
    (b'{"cmd":{"cmd":"x"},"id":""}', "bad-request", "cmd must be a string, not an object", ""),
    # A bad id cannot be echoed.
    (b'{"cmd":"x","id":true}', *BAD_ID, None),
    (b'{"cmd":"x","id":false}', *BAD_ID, None),
    (b'{"cmd":"x","id":1.0}', *BAD_ID, None),
    (b'{"cmd":"x","id":1e2}', *BAD_ID, None),
    (b'{"cmd":"x","id":[]}', *BAD_ID, None),
    (b'{"cmd":"x","id":{}}', *BAD_ID, None),
    (b'{"cmd":"x","id":18446744073709551616}', *BAD_ID, None),
    (b'{"cmd":"x","id":-9223372036854775809}', *BAD_ID, None),
    (b'{"cmd":"x","id":"%s"}' % (b"a" * 257), *BAD_ID, None),
    (b'{"cmd":"x","id":"%s"}' % ("\u00e9".encode() * 128 + b"a"), *BAD_ID, None),
    (b'{"cmd":1,"id":[]}', *BAD_ID, None),
    # A bad deadline.
    (b'{"cmd":"x","deadline":0}', *BAD_DEADLINE, None),
    (b'{"cmd":"x","deadline":0.0,"id":5}', *BAD_DEADLINE, 5),
    (b'{"cmd":"x","deadline":-0.0,"id":5}', *BAD_DEADLINE, 5),
    (b'{"cmd":"x","deadline":-1,"id":5}', *BAD_DEADLINE, 5),
    (b'{"cmd":"x","deadline":"5","id":"a"}', *BAD_DEADLINE, "a"),
    (b'{"cmd":"x","deadline":true,"id":5}', *BAD_DEADLINE, 5),
    (b'{"cmd":"x","deadline":[1]}', *BAD_DEADLINE, None),
    (b'{"cmd":"x","id":5,"deadline":1%s}' % (b"0" * 400), *BAD_DEADLINE, 5),
    # The other members.
    (b'{"cmd":"x","id":5,"stream":1}', "bad-request", "stream must be true or false", 5),
    (b'{"cmd":"x","id":5,"stream":"yes"}', "bad-request", "stream must be true or false", 5),
    (b'{"cmd":"x","id":5,"detach":[]}', "bad-request", "detach must be true or false", 5),
    (b'{"cmd":"x","id":5,"session":true}', "bad-request", "session must be an object", 5),
    (b'{"cmd":"x","id":5,"session":[]}', "bad-request", "session must be an object", 5),
    # opts of another type.
    (b'{"cmd":"x","opts":[]}', "invalid-options", "opts must be an object, not an array", None),
    (b'{"cmd":"x","opts":[{}],"id":1}', "invalid-options", "opts must be an object, not an array", 1),
    (b'{"cmd":"x","opts":"{}","id":"i"}', "invalid-options", "opts must be an object, not a string", "i"),
    (b'{"cmd":"x","opts":0,"id":1}', "invalid-options", "opts must be an object, not a number", 1),
    (b'{"cmd":"x","opts":false,"id":1}', "invalid-options", "opts must be an object, not a boolean", 1),
]


@pytest.mark.parametrize(("line", "code", "message", "request_id"), REFUSED)
def test_n2_what_is_refused(line, code, message, request_id):
    fields = {"path": "$"} if code == "invalid-options" else {}
    expected = Invalid(code, message, request_id, fields)
    assert parse_line(line) == expected
    # The connection goes on.
    assert events_of(NativeCodec(), [line + b'\n{"cmd":"next"}\n']) == [expected, Request("next", raw())]


# What arrives together is decoded together, and means what it means alone.

USUAL = b'{"cmd":"x","opts":{"a":1}}'
EVERY_LINE = [line for line, *_ in ACCEPTED] + [line for line, *_ in REFUSED]


def each_alone(lines):
    return [event for line in lines for event in events_of(NativeCodec(), [line + b"\n"])]


@pytest.mark.parametrize("line", EVERY_LINE)
def test_a_line_among_usual_ones(line):
    lines = [USUAL, USUAL, line, USUAL]
    assert events_of(NativeCodec(), [b"\n".join(lines) + b"\n"]) == each_alone(lines)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n", b"\n \n"])
def test_all_lines_at_once(end):
    expected = each_alone(EVERY_LINE)
    found = events_of(NativeCodec(), [end.join(EVERY_LINE) + end])
    assert found == expected
    with_eof = events_of(NativeCodec(), [end.join(EVERY_LINE)], eof=True)
    assert with_eof == expected


def test_many_requests_at_once():
    lines = [b'{"cmd":"x","id":%d,"opts":{"n":%d}}' % (n, n) for n in range(10_000)]
    codec = NativeCodec()
    codec.receive_data(b"\n".join(lines) + b"\nrest")
    for number in range(9_000):
        event = codec.next_event()
        assert (event.id, event.opts) == (number, {"n": number})
    assert 0 < codec.event_size < 200
    assert 1000 * 30 < codec.pending < 1000 * 100
    assert codec.trailing_data() == b"\n".join(lines[9_000:]) + b"\nrest"
    assert codec.pending == 0


class Taker:
    """Takes requests, up to one that may take the connection."""

    def __init__(self) -> None:
        self.taken: list[Request] = []

    def __call__(self, requests: list[Request]) -> int:
        for count, request in enumerate(requests):
            if request.cmd == "console":
                return count
            self.taken.append(request)
        return len(requests)


def test_plain_requests_are_handed_out_together():
    codec, take = NativeCodec(), Taker()
    codec.receive_data(b'{"cmd":"a"}\n{"cmd":"b","opts":{"n":1}}\n{"cm')
    assert codec.hand_out(take) == 4
    assert [request.cmd for request in take.taken] == ["a", "b"]
    assert 10 < codec.event_size < 40
    assert codec.hand_out(take) is None
    assert codec.next_event() is NEED_DATA
    codec.receive_data(b'd":"c"}\n')
    assert codec.hand_out(take) == 0
    assert take.taken[-1] == Request("c")
    assert codec.hand_out(take) is None
    assert codec.next_event() is NEED_DATA


def test_n5_what_follows_a_request_that_may_take_the_connection_is_not_handed_out():
    codec, take = NativeCodec(), Taker()
    rest = b'{"cmd":"looks like a request"}\nand more'
    codec.receive_data(b'{"cmd":"a"}\n{"cmd":"console"}\n' + rest)
    assert codec.hand_out(take) == len(b'{"cmd":"console"}\n' + rest)
    assert take.taken == [Request("a")]
    assert codec.hand_out(take) is None
    assert codec.next_event() == Request("console")
    assert codec.trailing_data() == rest
    assert codec.pending == 0


@pytest.mark.parametrize("odd", [b'{"cmd":"x","id":1}', b'{"cancel":1}', b"not JSON", b"", b'{"cmd":"x","opts":[]}'])
def test_one_odd_line_and_none_is_handed_out(odd):
    codec, take = NativeCodec(), Taker()
    codec.receive_data(b'{"cmd":"a"}\n' + odd + b'\n{"cmd":"b"}\n')
    assert codec.hand_out(take) is None
    assert take.taken == []
    alone = each_alone([line for line in (b'{"cmd":"a"}', odd, b'{"cmd":"b"}') if line])
    assert [codec.next_event() for _ in alone] == alone
    assert codec.next_event() is NEED_DATA
    codec.receive_data(b'{"cmd":"c"}\n')
    assert codec.hand_out(take) == 0  # and from there on it is quick again


def test_the_rest_of_a_line_that_is_too_long_is_not_handed_out():
    codec, take = NativeCodec(max_line=20), Taker()
    codec.receive_data(b'{"cmd":"' + b"x" * 20)
    assert codec.next_event().code == "too-large"
    codec.receive_data(b'"}\n{"cmd":"a"}\n')
    assert codec.hand_out(take) is None
    assert codec.next_event() == Request("a")


def test_whole_requests_are_returned_as_they_arrive():
    codec = NativeCodec()
    assert codec.receive_requests(b'{"cmd":"a"}\n{"cmd":"b","opts":{"n":1}}\n') == [
        Request("a"),
        Request("b", msgspec.Raw(b'{"n":1}')),
    ]
    assert 10 < codec.event_size < 40
    assert (codec.pending, codec.next_event()) == (0, NEED_DATA)
    assert codec.receive_requests(b'{"cmd":"c"}\n') == [Request("c")]


def test_what_is_not_whole_or_not_plain_is_taken_as_any_other_data():
    codec, take = NativeCodec(), Taker()
    assert codec.receive_requests(b'{"cmd":"a"}\n{"cm') is None
    assert codec.hand_out(take) == 4
    assert codec.receive_requests(b'd":"b"}\n') is None  # the rest of something
    assert codec.hand_out(take) == 0
    assert take.taken == [Request("a"), Request("b")]
    assert codec.receive_requests(b'{"cmd":"c","id":1}\n') is None
    assert codec.hand_out(take) is None
    assert codec.next_event() == Request("c", id=1)
    assert codec.next_event() is NEED_DATA
    assert codec.receive_requests(b'{"cmd":"d"}\n') == [Request("d")]


def test_more_than_a_batch_is_taken_as_any_other_data():
    codec, take = NativeCodec(), Taker()
    lines = b'{"cmd":"a"}\n' * 2000
    assert codec.receive_requests(lines) is None
    while codec.hand_out(take):
        assert codec.pending
    assert len(take.taken) == 2000


def test_n5_requests_that_are_given_back_come_again_one_by_one():
    codec, take = NativeCodec(), Taker()
    data = b'{"cmd":"a"}\n{"cmd":"console"}\n{"cmd":"b"}\n'
    assert len(codec.receive_requests(data) or []) == 3
    codec.return_requests(data, 1)
    assert codec.pending == len(data) - len(b'{"cmd":"a"}\n')
    assert codec.hand_out(take) is None
    assert codec.next_event() == Request("console")
    assert codec.trailing_data() == b'{"cmd":"b"}\n'


def test_what_follows_the_end_of_a_line_that_is_too_long_is_not_returned_at_once():
    codec = NativeCodec(max_line=20)
    codec.receive_data(b"x" * 21)
    assert codec.next_event().code == "too-large"
    assert codec.receive_requests(b'{"cmd":"a"}\n') is None  # the end of that line
    assert codec.next_event() is NEED_DATA
    assert codec.receive_requests(b'{"cmd":"b"}\n') == [Request("b")]


def test_a_flood_of_blank_lines_is_skipped_at_once(monkeypatch):
    taken = 0
    take_line = ReceiveBuffer.take_line

    def counted(buffer):
        nonlocal taken
        taken += 1
        return take_line(buffer)

    monkeypatch.setattr(ReceiveBuffer, "take_line", counted)
    codec = NativeCodec()
    codec.receive_data(b"\n \r\n\t\n" * 30_000 + b'{"cmd":"a"}\n')
    assert codec.next_event() == Request("a")
    assert taken <= 200  # of 90,000


@pytest.mark.parametrize("cut", [1, 300, 600])
def test_a_blank_line_can_be_too_long_however_it_arrives(cut):
    data = b"\n" + b" " * 500 + b"\n" + b'{"cmd":"a"}\n'
    codec = NativeCodec(max_line=256)
    events = events_of(codec, [data[:cut], data[cut:]])
    assert [getattr(event, "code", event) for event in events] == ["too-large", Request("a")]


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1", b"POST /a?b=c HTTP/1.0", b"OPTIONS * HTTP/2"])
def test_what_a_browser_posts_is_not_obeyed(first):
    """Any web page can make a browser post lines to a TCP port: nothing after the first one counts."""
    codec = NativeCodec()
    codec.receive_data(first + b"\r\nHost: x\r\n\r\n" + b'{"cmd":"ping"}\n')
    with pytest.raises(RemoteProtocolError, match="no web server"):
        codec.next_event()


@pytest.mark.parametrize("line", [b"GET", b"GET / HTTP", b"get / HTTP/1.1", b"POST  HTTP/1.1", b"{} / HTTP/1.1"])
def test_other_nonsense_is_only_a_syntax_error(line):
    codec = NativeCodec()
    codec.receive_data(line + b"\n")
    assert codec.next_event().code == "syntax"


def test_pending_sinks_as_requests_are_taken():
    codec = NativeCodec()
    codec.receive_data((USUAL + b"\n") * 100)
    seen = []
    while codec.next_event() is not NEED_DATA:
        seen.append(codec.pending)
    assert seen == sorted(seen, reverse=True)
    assert (len(seen), seen[-1]) == (100, 0)


@pytest.mark.parametrize("count", [1, 2, 100])
def test_what_follows_a_request_belongs_to_the_next_owner_of_the_socket(count):
    codec = NativeCodec()
    late = (USUAL + b"\r\n\n") * count + b'{"cancel":1}\n\x00\xff'
    codec.receive_data(b'{"cmd":"hijack"}\n' + late)
    assert codec.next_event().cmd == "hijack"
    assert codec.trailing_data() == late
    codec.receive_data(b'{"cmd":"n"}\n')
    assert codec.next_event().cmd == "n"


# N2: nesting over 1,000.


def deep(levels: int, brackets: tuple[bytes, bytes] = (b"[", b"]")) -> bytes:
    return brackets[0] * levels + b"1" + brackets[1] * levels


OBJECTS = (b'{"a":', b"}")


@pytest.mark.parametrize("brackets", [(b"[", b"]"), OBJECTS])
@pytest.mark.parametrize(
    ("before", "after", "taken"),
    [
        (b'{"cmd":"x","opts":{"a":', b"}}", 2),
        (b'{"cmd":"x","foo":', b"}", 1),
        (b'{"cmd":"x","session":{"a":', b"}}", 2),
    ],
)
def test_n2_nesting_of_1000_is_accepted_and_1001_is_not(brackets, before, after, taken):
    event = parse_line(before + deep(1000 - taken, brackets) + after)
    assert type(event) is Request
    assert event.cmd == "x"
    value = event.opts.get("a") or (event.session or {}).get("a")
    if value is not None:
        for _ in range(1000 - taken):
            value = value["a"] if isinstance(value, dict) else value[0]
        assert value == 1
    assert parse_line(before + deep(1001 - taken, brackets) + after) == Invalid(*SYNTAX)


def test_n2_nesting_without_a_request():
    assert parse_line(deep(1000)) == Invalid("bad-request", "expected a JSON object, got an array")
    assert parse_line(deep(1001)) == Invalid(*SYNTAX)
    assert parse_line(b'{"id":3,"foo":' + deep(999) + b"}") == Invalid("bad-request", "the key cmd is missing", 3)
    assert parse_line(b'{"cancel":3,"foo":' + deep(999) + b"}") == Cancel(3)
    assert parse_line(b'{"cancel":' + deep(999) + b"}") is None
    assert parse_line(b'{"cancel":' + deep(1000) + b"}") == Invalid(*SYNTAX)


@pytest.mark.parametrize("text", [b"[" * 200_000, b'{"a":' * 200_000, b'{"cmd":"x","opts":' + b"[" * 200_000])
def test_no_nesting_exhausts_the_stack(text):
    assert parse_line(text) == Invalid(*SYNTAX)
    assert events_of(NativeCodec(), [text + b'\n{"cmd":"next"}\n']) == [
        Invalid(*SYNTAX),
        Request("next", raw()),
    ]


def test_brackets_within_text_are_text():
    options = {"a": "[" * 5000, "b": [{}] * 200, "n": 2**64}
    event = parse_line(line_of(cmd="x", id=1, opts=options, deadline=2))
    assert (event.opts, event.id, event.deadline) == (options, 1, 2)


# N2: max_line.


def padded(size: int) -> bytes:
    line = b'{"cmd":"x","p":"' + b"a" * (size - 18) + b'"}'
    assert len(line) == size
    return line


TOO_LARGE = Invalid("too-large", f"the request exceeds {MAX_LINE} bytes", fields={"max_line": MAX_LINE})
NEXT = Request("n", raw())


def test_n2_a_line_of_exactly_max_line_is_served():
    assert events_of(small(), [padded(MAX_LINE), b"\n"]) == [Request("x", raw())]
    assert events_of(small(), [padded(MAX_LINE) + b"\n"]) == [Request("x", raw())]
    assert events_of(small(), [padded(MAX_LINE)], eof=True) == [Request("x", raw())]


@pytest.mark.parametrize("eof", [False, True])
@pytest.mark.parametrize("size", [MAX_LINE + 1, MAX_LINE * 10])
def test_n2_an_oversize_line_is_refused_once_and_skipped_to_its_end(size, eof):
    expected = [TOO_LARGE, NEXT]
    wire = padded(size) + b'\n{"cmd":"n"}\n'
    assert events_of(small(), [wire], eof=eof) == expected
    assert events_of(small(), [wire[i : i + 1] for i in range(len(wire))], eof=eof) == expected


def test_n2_an_oversize_line_is_announced_before_its_newline():
    codec = small()
    codec.receive_data(b"x" * MAX_LINE)
    assert codec.next_event() is NEED_DATA
    codec.receive_data(b"x")
    assert codec.next_event() == TOO_LARGE
    for _ in range(1000):
        codec.receive_data(b'{"cmd":"no"}' * 100)
        assert codec.next_event() is NEED_DATA
        assert codec.pending == 0  # what is skipped is not held
    codec.receive_data(b'\n{"cmd":"n"}\n')
    assert codec.next_event() == NEXT
    assert codec.next_event() is NEED_DATA


def test_n2_an_oversize_last_line():
    assert events_of(small(), [b"x" * 100], eof=True) == [TOO_LARGE]
    codec = small()
    codec.receive_data(b"x" * 100)
    codec.receive_eof()
    assert codec.next_event() == TOO_LARGE
    assert codec.next_event() is END_OF_INPUT
    assert codec.next_event() is END_OF_INPUT


def test_n2_lines_before_and_after_an_oversize_one():
    wire = b'{"cmd":"n"}\n' + b"y" * 200 + b"\n" + b"z" * 200 + b'\n\n{"cmd":"n"}'
    assert events_of(small(), [wire], eof=True) == [NEXT, TOO_LARGE, TOO_LARGE, NEXT]


def test_the_default_bound_is_16_mib():
    codec = NativeCodec()
    codec.receive_data(b"x" * (16 * 1024 * 1024))
    assert codec.next_event() is NEED_DATA
    codec.receive_data(b"x")
    assert codec.next_event().fields == {"max_line": 16 * 1024 * 1024}


# Walks: the states between lines, by hand (P3).


@pytest.mark.parametrize(
    ("walk", "expected"),
    [
        ([], NEED_DATA),
        ([b""], NEED_DATA),
        (["eof"], END_OF_INPUT),
        ([b"{", "eof"], Invalid(*SYNTAX)),
        ([b'{"cmd":"n"}\n', NEXT], NEED_DATA),
        ([b'{"cmd":"n"}\n', NEXT, "eof"], END_OF_INPUT),
        ([b'{"cmd":"n"}\n', "eof", NEXT], END_OF_INPUT),
        ([b'{"cmd":"n"}', "eof", NEXT], END_OF_INPUT),
        ([b'{"cmd"', NEED_DATA, b':"n"}', NEED_DATA, b"\n"], NEXT),
        ([b"x" * 65, TOO_LARGE, NEED_DATA, b"\n", NEED_DATA, b'{"cmd":"n"}\n'], NEXT),
        ([b"x" * 65, TOO_LARGE, "eof"], END_OF_INPUT),
        ([b"x" * 65, "eof", TOO_LARGE], END_OF_INPUT),
        ([b"x" * 65, TOO_LARGE, b"\n", "eof"], END_OF_INPUT),
        ([b"x" * 65, TOO_LARGE, b"\n" + b"y" * 65, TOO_LARGE], NEED_DATA),
        ([b"\n\r\n ", NEED_DATA, "eof"], END_OF_INPUT),
        ([b'{"cmd":"n"}\n{"cmd":"n"}\n', NEXT, NEXT], NEED_DATA),
        # What follows a request that takes the socket belongs to its next owner.
        ([b'{"cmd":"n"}\n{"cmd":"late"}\nrest', NEXT, ("trailing", b'{"cmd":"late"}\nrest')], NEED_DATA),
        ([b'{"cmd":"n"}\nre', NEXT, NEED_DATA, ("trailing", b"re"), b'{"cmd":"n"}\n'], NEXT),
        ([b'{"cmd":"n"}\n', NEXT, ("trailing", b"")], NEED_DATA),
        ([b'{"cmd":"n"}', ("trailing", b'{"cmd":"n"}'), "eof"], END_OF_INPUT),
    ],
)
def test_walks(walk, expected):
    codec = small()
    for step in walk:
        if step == "eof":
            codec.receive_eof()
        elif isinstance(step, bytes):
            codec.receive_data(step)
        elif isinstance(step, tuple):
            assert codec.trailing_data() == step[1]
        else:
            assert codec.next_event() == step
    assert codec.next_event() == expected


def test_pending_counts_what_is_not_understood_yet():
    codec = NativeCodec()
    codec.receive_data(b'{"cmd":"n"}\n{"cm')
    assert codec.pending == 16
    codec.next_event()
    assert codec.pending == 4
    assert codec.trailing_data() == b'{"cm'
    assert codec.pending == 0


def test_what_a_request_holds_does_not_change_with_what_follows():
    codec = NativeCodec()
    codec.receive_data(b'{"cmd":"a","opts":{"n":"' + b"a" * 100 + b'"}}\n')
    request = codec.next_event()
    codec.receive_data(b"\xff" * 1000 + b"\n")
    codec.next_event()
    assert request.opts == {"n": "a" * 100}


# Every outgoing message, byte by byte.


@pytest.mark.parametrize(
    ("message", "members"),
    [
        (Reply(), '"status":true,"response":null'),
        (Reply("pong"), '"status":true,"response":"pong"'),
        (Reply({"a": [1, 2.5, None, True]}), '"status":true,"response":{"a":[1,2.5,null,true]}'),
        (Reply("a\nb\u4e16"), '"status":true,"response":"a\\nb\u4e16"'),
        (Reply(b"\xff"), '"status":true,"response":"/w=="'),
        (Reply("\udcff"), '"status":true,"response":"\ufffd"'),
        (Progress("half"), '"status":true,"progress":"half"'),
        (Progress(), '"status":true,"progress":""'),
        (Progress({"type": "x"}), '"status":true,"progress":{"type":"x"}'),
        (Progress("a", 0, 0, seq=9), '"status":true,"progress":"a","current":0,"total":0'),
        (
            Progress("a", 1, 2.5, "bytes", [1]),
            '"status":true,"progress":"a","current":1,"total":2.5,"unit":"bytes","data":[1]',
        ),
        (Progress(data=False), '"status":true,"progress":"","data":false'),
        (Item(None), '"status":true,"item":null'),
        (Item({"n": 1}), '"status":true,"item":{"n":1}'),
        (Failure("no"), '"status":false,"message":"no","code":"failed"'),
        (Failure("no", "vm.paused"), '"status":false,"message":"no","code":"vm.paused"'),
        (
            Failure("no", "locked", {"resource": "ct", "since": 1.5}),
            '"status":false,"message":"no","code":"locked","resource":"ct","since":1.5',
        ),
        # Fields of a command's author cannot forge what a client relies on.
        (
            Failure("no", "failed", {"status": True, "message": "yes", "code": "ok", "id": 99, "x": 1}),
            '"status":false,"message":"no","code":"failed","x":1',
        ),
    ],
)
def test_outgoing_messages(message, members):
    codec = NativeCodec()
    size = codec.send(message)
    assert codec.data_to_send() == f"{{{members}}}\n".encode()
    assert size == len(f"{{{members}}}\n".encode())
    codec.send(message, 7)
    codec.send(message, 'a"\u4e16')
    codec.send(message, "")
    expected = f'{{{members},"id":7}}\n{{{members},"id":"a\\"\u4e16"}}\n{{{members},"id":""}}\n'
    assert codec.data_to_send() == expected.encode()
    assert codec.data_to_send() == b""


def test_n1_the_banner():
    codec = NativeCodec()
    codec.send(Banner("1.2", 2, FEATURES, 1024, "ctld/0.1"))
    assert json.loads(codec.data_to_send()) == {
        "version": "1.2",
        "protocol": 2,
        "features": list(FEATURES),
        "max_line": 1024,
        "server": "ctld/0.1",
    }


def test_n4_the_features_that_clients_look_for():
    assert {"id", "cancel", "deadline", "stream", "detach", "progress-data"} <= set(FEATURES)
    assert len(FEATURES) == len(set(FEATURES))


def test_messages_queue_in_order():
    codec = NativeCodec()
    sizes = [codec.send(Reply(number)) for number in range(3)]
    data = codec.data_to_send()
    assert data == b'{"status":true,"response":0}\n{"status":true,"response":1}\n{"status":true,"response":2}\n'
    assert sizes == [29, 58, 87]


@pytest.mark.parametrize(
    "message", [Reply(object()), Progress("a", data=object()), Item({1, object()}), Reply({None: 1})]
)
def test_of_what_cannot_be_sent_nothing_is_written(message):
    codec = NativeCodec()
    codec.send(Reply(1))
    with pytest.raises(LocalProtocolError):
        codec.send(message)
    codec.send(Reply(2))
    assert codec.data_to_send() == b'{"status":true,"response":1}\n{"status":true,"response":2}\n'


@pytest.mark.parametrize("message", [Request("x"), Cancel(1), Invalid("syntax", "no")])
def test_a_server_sends_no_messages_of_a_client(message):
    codec = NativeCodec()
    with pytest.raises(LocalProtocolError, match=type(message).__name__):
        codec.send(message)
    assert codec.data_to_send() == b""


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
ids = st.none() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=60)


@given(values, ids)
def test_every_answer_is_one_line(value, request_id):
    codec = NativeCodec()
    codec.send(Reply(value), request_id)
    data = codec.data_to_send()
    assert data.count(b"\n") == 1
    expected = {"status": True, "response": value} | ({} if request_id is None else {"id": request_id})
    assert json.loads(data) == expected


@given(st.text(), st.dictionaries(st.text(), values, max_size=4), ids.filter(lambda value: value is not None))
def test_requests_of_another_encoder_are_understood(cmd, opts, request_id):
    event = parse_line(line_of(cmd=cmd, opts=opts, id=request_id))
    assert type(event) is Request
    assert (event.cmd, event.opts, event.id) == (cmd, opts, request_id)


# Garbage.

TOKENS = [
    b'{"cmd":"x"}', b'{"cancel":1}', b'{"cancel":{}}', b'"cmd"', b'"cancel"', b'"id"', b'"opts"', b'"deadline"',
    b"{", b"}", b"[", b"]", b":", b",", b'"', b"\\", b"1", b"-1.5e9", b"1e400", b"null", b"true", b"\n", b"\r\n", b" ",
    b"\xff", b"\xc3\xa9", b"\0", b"[" * 150, b"]" * 150,
]  # fmt: skip
junk = st.binary(max_size=80) | st.lists(st.sampled_from(TOKENS), max_size=24).map(b"".join)


def expected_answers(data: bytes) -> int:
    """How many final messages a server owes for these bytes, by the letter of N2."""
    owed = 0
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode(), parse_constant=float.fromhex)
        except (ValueError, RecursionError):
            owed += 1
            continue
        owed += not (isinstance(value, dict) and "cancel" in value)
    return owed


@given(junk)
@example(b'{"cancel":{}}')
@example(b'{"cmd":"x","cancel":[]}\n{}\n')
@example(b'{"cmd":1,"cancel":2}')
@settings(max_examples=300)
def test_garbage_gets_one_answer_per_line_that_does_not_cancel(data):
    events = check_garbage(NativeCodec, data)
    if b"1e400" not in data:  # the reference has no bound on numbers
        assert sum(type(event) is not Cancel for event in events) == expected_answers(data)
    for event in events:
        if type(event) is Invalid:
            assert event.code in {"syntax", "bad-request", "invalid-options"}
            assert "\n" not in event.message


@given(junk)
def test_garbage_within_a_small_bound(data):
    for event in check_garbage(lambda: NativeCodec(max_line=16), data):
        if type(event) is Request:
            assert is_request_id(event.id) or event.id is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, True),
        (2**64, False),
        (-(2**63) - 1, False),
        ("", True),
        ("\ud800" * 86, False),
        (True, False),
        (None, False),
    ],
)
def test_what_can_be_an_id(value, expected):
    assert is_request_id(value) is expected
