"""FSS-000E Payload (specification F2)."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.dialects.fss_control.payload import MalformedPayload, Payload, decode_payload, encode_payload, words_of
from ctld.dialects.fss_control.words import InvalidWord

WORD = st.text(
    st.sampled_from(list("\\\"'` :#a\r")) | st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]),
    max_size=12,
)
NAME = st.from_regex(r"[a-z]{1,8}", fullmatch=True).filter(lambda name: name != "length")
HEADER = st.lists(st.tuples(NAME, st.lists(WORD, max_size=3).map(tuple)), max_size=4).map(tuple)


@given(HEADER, st.binary(max_size=80), st.sampled_from(["payload", "packet"]))
def test_payloads_come_back(header, content, length_of):
    lines = [(name, *words) for name, words in header]
    data = encode_payload(lines, content, length_of=length_of)
    assert decode_payload(data, length_of=length_of) == Payload(header, content)


@given(st.integers(0, 200))
def test_the_length_of_the_whole_counts_its_own_digits(size):
    data = encode_payload([], b"x" * size, length_of="packet")
    assert f"length {len(data)}\n".encode() in data


def test_what_is_written():
    assert encode_payload([("type", "error"), ("status", "F_x")], b"Why.") == (
        b"header:\ntype error\nstatus F_x\nlength 4\npayload:\nWhy."
    )


@pytest.mark.parametrize(
    "data",
    [
        b"header:\nlength 0\npayload:\n",
        b"  header: \t\n\n \n # a comment:\n  length \t 0 \npayload: \n",
        b"signature:\n what: ever\nheader:\nlength 0\npayload:\n",
        b"header:\nlength 0\nsignature:\nabc\npayload:\n",
        b"# first\n\nheader:\nlength '0'\npayload:\n",
    ],
)
def test_the_forms_that_a_reader_takes(data):
    assert decode_payload(data) == Payload(())


def test_everything_after_the_payload_line_is_raw():
    content = b"header:\npayload:\n\0\xff\r"
    data = b"header:\nlength %d\npayload:\n%s" % (len(content), content)
    assert decode_payload(data).content == content


def test_a_carriage_return_is_data():
    assert decode_payload(b"header:\na b\r\nlength 0\npayload:\n").header == (("a", ("b\r",)),)
    with pytest.raises(MalformedPayload):
        decode_payload(b"header:\r\nlength 0\npayload:\n")


def test_names_are_case_sensitive():
    with pytest.raises(MalformedPayload, match="needs one length"):
        decode_payload(b"header:\nLength 0\npayload:\n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", "F_payload_not"),
        (b"header:\nlength 0\n", "F_payload_not"),
        (b"header:\nlength 0\npayload:", "F_payload_not"),
        (b"payload:\n", "F_payload_not"),
        (b"header:\nlength 0\nheader:\npayload:\n", "F_payload_not"),
        (b"stray\nheader:\nlength 0\npayload:\n", "F_payload_not"),
        (b"header:\nlength 0\nfooter:\npayload:\n", "F_payload_not"),
        (b"header:\nlength 0\npayload\\\\:\n", "F_payload_not"),
        (b"payload:\nheader:\nlength 0\n", "F_payload_not"),  # not last
        (b"header:\nlength 0\npayload:\npayload:\n", "F_payload_not"),  # two
        (b"header:\nlength 2\npayload:\nabheader:\nc d\n", "F_payload_not"),  # not last
        (b"header:\nlength 0\npayload:\nother:\n", "F_header_not"),  # no object: content that is not counted
        (b"header:\nlength 0\npayload:\npayload:", "F_header_not"),
        (b"header:\npayload:\n", "F_header_not"),
        (b"header:\nlength\npayload:\n", "F_header_not"),
        (b"header:\nlength 0 0\npayload:\n", "F_header_not"),
        (b"header:\nlength 0\nlength 0\npayload:\n", "F_header_not"),
        (b"header:\nlength -1\npayload:\n", "F_header_not"),
        (b"header:\nlength 1e1\npayload:\n", "F_header_not"),
        (b"header:\nlength \xd9\xa3\npayload:\nabc", "F_header_not"),  # a digit, but not one of ours
        (b"header:\nlength 99999999999999999999\npayload:\n", "F_header_not"),
        (b"header:\nlength 4\npayload:\nabc", "F_header_not"),  # more than there is
        (b"header:\nlength 2\npayload:\nabc", "F_header_not"),  # less
        (b"header:\na \0\nlength 0\npayload:\n", "F_header_not"),
    ],
)
def test_what_is_no_payload(data, status):
    with pytest.raises(MalformedPayload) as caught:
        decode_payload(data)
    assert caught.value.status == status
    assert str(caught.value).isprintable()


def test_where_the_length_is_that_of_the_whole_it_does_not_say_what_follows_the_content():
    with pytest.raises(MalformedPayload) as caught:
        decode_payload(b"header:\nlength 0\npayload:\npayload:\n", length_of="packet")
    assert caught.value.status == "F_header_not"


def test_an_error_knows_the_action_where_the_header_got_that_far():
    with pytest.raises(MalformedPayload) as caught:
        decode_payload(b"header:\naction start a b\nlength 9\npayload:\n")
    assert caught.value.action == "start"


@pytest.mark.parametrize("line", [b"\n", b"a b\n", b"# x\n", b"x ' ' '\n", b"x" * 65536 + b"\n"])
def test_a_header_is_bounded_whatever_it_is_made_of_and_the_content_is_not(line):
    rest = b"length 100000\npayload:\n" + b"x" * 100_000
    room = 65536 - len(b"header:\nlength 100000\npayload:\n")
    fits = b"header:\n" + line * (room // len(line)) + rest
    assert len(decode_payload(fits).content) == 100_000
    with pytest.raises(MalformedPayload, match="the header has more than 65536 bytes") as caught:
        decode_payload(b"header:\n" + line * -(-65536 // len(line)) + rest)
    assert caught.value.status == "F_too_large"


def test_words_of_one_line():
    payload = decode_payload(b"header:\na\nb 1 2\nc\nc\nlength 0\npayload:\n")
    assert words_of(payload, "a") == ()
    assert words_of(payload, "b") == ("1", "2")
    assert words_of(payload, "x") is None
    with pytest.raises(MalformedPayload, match="c twice"):
        words_of(payload, "c")


def test_bytes_that_are_no_utf8_survive():
    payload = decode_payload(b"header:\na \xff\xfe\nlength 0\npayload:\n")
    assert encode_payload([("a", *payload.header[0][1])]).startswith(b"header:\na \xff\xfe\n")


def test_what_cannot_be_written():
    with pytest.raises(InvalidWord):
        encode_payload([("a", "\ud800")])
    with pytest.raises(InvalidWord):
        encode_payload([("a", "b\nc")])


@given(st.binary(max_size=120))
def test_garbage_is_refused_or_understood(junk):
    for data in (junk, b"header:\n" + junk + b"\npayload:\n"):
        with contextlib.suppress(MalformedPayload):
            assert data.endswith(decode_payload(data).content)


def test_a_name_that_looks_like_a_comment_is_not_lost():
    assert decode_payload(encode_payload([("#x", "y")])).header == (("#x", ("y",)),)
