"""The quick ways to a request never mean anything else than the slow one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.errors import InvalidOptions
from ctld.wire.lines import MAX_LONE, SYNTAX_MESSAGE, is_ordinary, lone_request, ordinary_requests, parse_line
from ctld.wire.messages import NO_OPTIONS, Invalid, Request

ORDINARY = [
    b'{"cmd":"ping"}',
    b'{"cmd":"ping","opts":{}}',
    b'{"cmd":"echo", "opts": {"text": "x"}}',
    b'{"cmd":"x","id":7,"stream":true}',
    b'{"opts":{"a":[[1],{}]},"cmd":"x","unknown":[]}',
]

OTHER = [
    b'{"cancel":1}',
    b'{"cmd":"x","\\u0063ancel":1}',
    '{"cmd":"\u00e9"}'.encode(),
    b'{"cmd":"x","opts":[]}',
    b'{"cmd":"x","opts":null}',
    b'{"cmd":1}',
    b'{"cmd":"x"} {"cmd":"y"}',
    b'{"cmd":"x"}x',
    b"[]",
    b"",
    b" ",
    b'{"cmd":"x","deadline":"soon"}',
]


@pytest.mark.parametrize("line", ORDINARY)
def test_an_ordinary_line_takes_both_quick_ways(line):
    meaning = parse_line(line)
    assert lone_request(line + b"\n", MAX_LONE) == meaning
    assert ordinary_requests(bytearray((line + b"\n") * 3), 3) == [meaning] * 3


@pytest.mark.parametrize("line", OTHER)
def test_any_other_line_takes_neither(line):
    assert lone_request(line + b"\n", MAX_LONE) is None
    assert ordinary_requests(bytearray(line + b"\n" + b'{"cmd":"ping"}\n'), 2) is None


def test_options_that_are_missing_are_always_the_same_object():
    request = lone_request(b'{"cmd":"ping"}\n', MAX_LONE)
    assert request is not None
    assert request.options is NO_OPTIONS


@pytest.mark.parametrize(
    "data", [b'{"cmd":"ping"}', b'{"cmd":"ping"}\n\n', b'{"cmd":"a"}\n{"cmd":"b"}\n', b'\n{"cmd":"a"}\n']
)
def test_only_exactly_one_line_is_alone(data):
    assert lone_request(data, MAX_LONE) is None


def test_a_long_line_is_not_looked_at():
    line = b'{"cmd":"x","opts":{"a":"%s"}}\n' % (b"y" * 100)
    assert lone_request(line, len(line)) is not None
    assert lone_request(line, len(line) - 1) is None


def test_what_is_short_enough_cannot_be_nested_too_deeply():
    deep = b'{"cmd":"x","opts":{"a":' + b"[" * 980 + b"]" * 980 + b"}}\n"
    assert len(deep) <= MAX_LONE
    assert isinstance(parse_line(deep), Request)


@pytest.mark.parametrize("brackets", [0, 100, 101, 150])
def test_brackets_in_a_text_do_not_change_what_a_number_beyond_floats_means(brackets):
    line = b'{"cmd":"x","opts":{"a":"%b","b":1e400}}' % (b"[" * brackets)
    request = parse_line(line)
    assert isinstance(request, Request)
    assert lone_request(line + b"\n", MAX_LONE) == request
    with pytest.raises(InvalidOptions):
        _ = request.opts


@pytest.mark.parametrize("levels", [999, 1000])
def test_too_deep_is_too_deep_beside_a_number_beyond_floats(levels):
    line = b'{"a":1e400,"cmd":"x","opts":{"a":' + b"[" * (levels - 2) + b"]" * (levels - 2) + b"}}"
    assert isinstance(parse_line(line), Request | Invalid)
    line = b'{"a":1e400,"cmd":"x","opts":{"a":' + b"[" * levels + b"]" * levels + b"}}"
    assert parse_line(line) == Invalid("syntax", SYNTAX_MESSAGE)


def test_a_chunk_that_could_hide_too_deep_a_line_is_not_ordinary():
    line = b'{"cmd":"x","opts":{"a":' + b"[" * 1001 + b"]" * 1001 + b"}}\n"
    assert not is_ordinary(bytearray(line), 1)
    assert not is_ordinary(bytearray(b'{"cmd":"x"}\n' * 50 + line), 51)


@given(st.lists(st.sampled_from(ORDINARY + OTHER), min_size=1, max_size=5))
def test_together_they_mean_what_each_means_alone(lines):
    chunk = bytearray(b"".join(line + b"\n" for line in lines))
    requests = ordinary_requests(chunk, len(lines))
    if requests is not None:
        assert requests == [parse_line(line) for line in lines]
