"""The quick way to requests never means anything else than the slow one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.errors import InvalidOptions
from ctld.wire.lines import MAX_PLAIN, SYNTAX_MESSAGE, parse_line, plain_requests
from ctld.wire.messages import NO_OPTIONS, Invalid, Request

PLAIN = [
    b'{"cmd":"ping"}',
    b' {"cmd":"ping"}\r',
    b'{"cmd":"ping","opts":{}}',
    b'{"cmd":"echo", "opts": {"text": "x"}}',
    b'{"cmd":"x","stream":true}',
    b'{"opts":{"a":[[1],{}]},"cmd":"x"}',
    '{"cmd":"x","opts":{"name":"\u00e9"}}'.encode(),
    b'{"cmd":"x","opts":{"path":"C:\\\\x"}}',
]

OTHER = [
    b'{"cmd":"x","id":7}',
    b'{"cmd":"x","deadline":1}',
    b'{"opts":{"a":[[1],{}]},"cmd":"x","unknown":[]}',
    b'{"cancel":1}',
    b'{"cmd":"x","cancel":1}',
    b'{"cmd":"x","\\u0063ancel":1}',
    b'{"cmd":"x","opts":[]}',
    b'{"cmd":"x","opts":null}',
    b'{"cmd":"x","opts":[{"opts":{}}]}',
    b'{"cmd":1}',
    b'{"cmd":"x"} {"cmd":"y"}',
    b'{"cmd":"x"}x',
    b'{"cmd":"x","opts":{"a":"\xff"}}',
    b"[]",
    b"",
    b" ",
    b'{"cmd":"x","deadline":"soon"}',
    b'{"cmd":"x","opts":{"a":"%s"}}' % (b"y" * MAX_PLAIN),
]


@pytest.mark.parametrize("line", PLAIN)
def test_a_plain_request_takes_the_quick_way_alone_and_in_company(line):
    meaning = parse_line(line)
    assert isinstance(meaning, Request)
    assert plain_requests(line + b"\n") == [meaning]
    assert plain_requests((line + b"\n") * 3) == [meaning] * 3


@pytest.mark.parametrize("line", OTHER)
def test_any_other_line_does_not(line):
    assert plain_requests(line + b"\n") is None
    assert plain_requests(line + b"\n" + b'{"cmd":"ping"}\n') is None


def test_options_that_are_missing_are_always_the_same_object():
    [request] = plain_requests(b'{"cmd":"ping"}\n') or []
    assert request.options is NO_OPTIONS


def test_what_is_short_enough_cannot_be_nested_too_deeply():
    deep = b'{"cmd":"x","opts":{"a":' + b"[" * 980 + b"]" * 980 + b"}}"
    assert len(deep) <= MAX_PLAIN
    assert isinstance(parse_line(deep), Request)


@pytest.mark.parametrize("brackets", [0, 100, 101, 150])
def test_brackets_in_a_text_do_not_change_what_a_number_beyond_floats_means(brackets):
    line = b'{"cmd":"x","opts":{"a":"%b","b":1e400}}' % (b"[" * brackets)
    request = parse_line(line)
    assert isinstance(request, Request)
    assert plain_requests(line + b"\n") == [request]
    with pytest.raises(InvalidOptions):
        _ = request.opts


@pytest.mark.parametrize("levels", [999, 1000])
def test_too_deep_is_too_deep_beside_a_number_beyond_floats(levels):
    line = b'{"a":1e400,"cmd":"x","opts":{"a":' + b"[" * (levels - 2) + b"]" * (levels - 2) + b"}}"
    assert isinstance(parse_line(line), Request | Invalid)
    line = b'{"a":1e400,"cmd":"x","opts":{"a":' + b"[" * levels + b"]" * levels + b"}}"
    assert parse_line(line) == Invalid("syntax", SYNTAX_MESSAGE)


@pytest.mark.parametrize("around", [b"", b'{"cmd":"x"}\n' * 300])
def test_what_could_be_nested_too_deeply_is_not_plain(around):
    line = b'{"cmd":"x","opts":{"a":' + b"[" * 1001 + b"]" * 1001 + b"}}\n"
    assert plain_requests(around + line) is None


@given(st.lists(st.sampled_from(PLAIN + OTHER), min_size=1, max_size=5))
def test_together_they_mean_what_each_means_alone(lines):
    requests = plain_requests(b"".join(line + b"\n" for line in lines))
    if requests is not None:
        assert requests == [parse_line(line) for line in lines]
