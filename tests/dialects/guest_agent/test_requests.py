"""When a request is complete (specification A2), byte for byte."""

import base64
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.dialects.guest_agent.requests import RequestScanner, TooLong, field, options_of, understand

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/guestagent_server.json").read_text())["cases"]

COMPLETE = [
    (b"null", ""),
    (b"{}", ""),
    (b' \r\n\t{"Command":"echo"} \n', "echo"),
    (b'{"Command":null}', ""),
    (b'{"Command":"a","Command":null}', "a"),
    (b'{"Command":"a","COMMAND":"b"}', "b"),
    (rb'{"Command":"o\u006b"}', "ok"),
    (b'{"Command":"ok","x":1e999}', "ok"),
    (b'{"Command":"ok","x":' + b"9" * 5000 + b"}", "ok"),
    (b'{"Command":"a\x7fb"}', "a\x7fb"),
    (b'{"Command":"\xff\xfe"}', "\ufffd\ufffd"),
    (b'{"Command":"\xe2\x82"}', "\ufffd\ufffd"),  # Go counts the bytes, not the character that they begin
    (rb'{"Command":"\ud800x"}', "\ufffdx"),
    (rb'{"Command":"\ud83d\ude00"}', "\U0001f600"),
    (b'{"a":{"Command":"no"},"Command":"ok"}', "ok"),
    (b'{"a":"}{][\\"","Command":"ok"}', "ok"),
    (b'{"Comman":"no","Commandx":"no"}', ""),
]
NEVER = [
    b"[]", b"123", b'"ok"', b"true", b"garbage", b'{"Command":123}', b'{"Command":["a"]}', b'{"Command":{}}',
    b'{"Command":123456789012345678901234567890}', b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b"{}{}",
    b"{} x", b"{,}", b'{"a":1,}', b'{"a":01}', b'{"a"/**/:1}', b"\xef\xbb\xbf{}", b'{"a":"\n"}', rb'{"a":"\x41"}',
    b"{}\0", b"{}\x0c", b"{}\xc2\xa0", b"{]", b"nul ", b"nulx", b"\xff", b'{"a":\xff}',
]  # fmt: skip


@pytest.mark.parametrize(("data", "command"), COMPLETE)
def test_complete_requests(data, command):
    assert understand(data) == command
    scanner = RequestScanner(10_000)
    assert scanner.feed(data) == data
    assert scanner.command == command


@pytest.mark.parametrize(("data", "command"), COMPLETE)
def test_however_they_are_cut(data, command):
    value = data.strip()
    for cut in range(1, min(len(value), 60)):
        scanner = RequestScanner(10_000)
        assert scanner.feed(value[:cut]) is None
        assert scanner.pending == cut
        assert scanner.feed(value[cut:]) == value
    scanner = RequestScanner(10_000)
    found = [scanner.feed(value[i : i + 1]) for i in range(len(value))]
    assert found == [None] * (len(value) - 1) + [value]


@pytest.mark.parametrize("data", NEVER)
def test_what_never_becomes_a_request(data):
    assert understand(data) is None
    scanner = RequestScanner(10_000)
    assert scanner.feed(data) is None
    assert scanner.feed(b" ") is None
    assert scanner.hopeless
    assert scanner.pending == 0
    assert scanner.feed(b"{}") is None


def test_what_may_still_become_one():
    for beginning in (b"", b" ", b"n", b"nul", b"{", b'{"', b'{"a\\', b'{"a":[1'):
        scanner = RequestScanner(100)
        assert scanner.feed(beginning) is None
        assert not scanner.hopeless


def test_what_arrives_together_counts_together():
    assert RequestScanner(100).feed(b"{}{}") is None
    assert RequestScanner(100).feed(b"{}") == b"{}"


def test_requests_are_bounded():
    scanner = RequestScanner(10)
    assert scanner.feed(b"{" + b" " * 9) is None
    with pytest.raises(TooLong, match="at most 10"):
        scanner.feed(b"}")
    garbage = RequestScanner(10)
    garbage.feed(b"garbage")
    with pytest.raises(TooLong):
        garbage.feed(b"garbage")


def test_scanning_is_linear_however_small_the_pieces():
    data = b'{"a":"' + b"\\\\" * 200_000 + b'","b":[' + b"[]," * 50_000 + b"[]]}"
    started = time.process_time()
    scanner = RequestScanner(10_000_000)
    for at in range(0, len(data), 64):
        found = scanner.feed(data[at : at + 64])
    assert found == data
    assert time.process_time() - started < 10


def test_nesting_that_the_parser_cannot_follow_is_not_complete():
    assert RequestScanner(10**6).feed(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}") is None


@pytest.mark.parametrize("case", [case for case in VECTORS if not case["half_close"]], ids=lambda case: case["name"])
def test_vectors_tell_what_is_complete(case):
    request = base64.b64decode(case["request_b64"])
    complete = not case["waited_for_deadline"] or case["name"] == "handler_past_deadline"
    assert (RequestScanner(2**21).feed(request) is not None) == complete


def test_fields_and_options():
    data = b'{"command":"a","Option":null,"OPTION":"x","option":"y","b":[1,2.5,null],"Command":"c"}'
    assert field(data, "option") == "y"
    assert field(data, "nothing") is None
    assert field(b"null", "option") is None
    assert options_of(b'{"command":"a","b":[1,2.5,null],"Command":"c"}') == {"b": [1, 2.5, None]}
    assert options_of(b"null") == {}
    with pytest.raises(ValueError):
        options_of(b'{"a":' + b"9" * 5000 + b"}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text().filter(lambda key: key.lower() != "command"), JSON, max_size=4), st.data())
def test_every_object_is_complete_exactly_at_its_end(value, data):
    wire = json.dumps({**value, "Command": "x"}, ensure_ascii=data.draw(st.booleans())).encode("utf-8", "replace")
    cut = data.draw(st.integers(1, len(wire) - 1))
    scanner = RequestScanner(10**6)
    assert scanner.feed(wire[:cut]) is None
    assert scanner.feed(wire[cut:]) == wire
    assert understand(wire) == "x"


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b"{", b"}", b'"', b"\\", b"{}", b"null", b'"Command":1'])))
def test_garbage(pieces):
    scanner = RequestScanner(10**6)
    for piece in pieces:
        found = scanner.feed(piece)
        if found is not None:
            assert understand(found) is not None
            return
