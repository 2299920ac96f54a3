"""FSS-0001 words and FSS-0002 lines (specification F2): both ways, and against garbage."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ctld.dialects.fss_control.words import (
    InvalidWord,
    decode_line,
    encode_line,
    read_words,
    write_word,
    write_words,
)

# What means something to a reader, more often than chance would have it.
TRICKY = st.sampled_from(list("\\\\\\\"'` \t\v\f\r:#ab\x85\u00a0\u3000é\udcff"))
WORD = st.text(TRICKY | st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        (" \t ", []),
        ("a b", ["a", "b"]),
        ("  a\t\tb  ", ["a", "b"]),
        ("a\rb c\r", ["a\rb", "c\r"]),
        ('"a b" c', ["a b", "c"]),
        ("'a b'", ["a b"]),
        ("`a b`", ["a b"]),
        ('""', [""]),
        ("'' x", ["", "x"]),
        ('"a"b" c', ['a"b', "c"]),  # a quote without white space after it is literal
        (r'"a\" b"', ['a" b']),  # one backslash takes the meaning away
        (r'"a\\" b', ["a\\", "b"]),  # two are one, and the quote closes
        (r'"a\\\" b"', ['a\\" b']),
        (r'"a\b"', [r"a\b"]),  # elsewhere a backslash is a backslash
        ('"a b', ['"a', "b"]),  # nothing closes: unquoted
        (r"\"q\"", ['"q\\"']),
        (r"\x", [r"\x"]),
        (r"\\'x", [r"\\'x"]),
        ('a"b c"d', ['a"b', 'c"d']),
        ("""'a "b' c""", ['a "b', "c"]),
        ("\"a 'b c' \"d", ['"a', "b c", '"d']),
    ],
)
def test_reading(line, words):
    assert read_words(line) == words


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("", '""'),
        ("plain", "plain"),
        ("a b", "'a b'"),
        ("it's here", '"it\'s here"'),
        ("a'\"b c", "`a'\"b c`"),
        ("'q", '"\'q"'),
        ("\\'q", '"\\\'q"'),
        ("a \\", "'a \\\\'"),
        ("a\"'`b", "a\"'`b"),
        ('a" \'` \\" c\\', '"a\\" \'` \\\\\\" c\\\\"'),
        ("a\u00a0b", "'a\u00a0b'"),  # white space to other readers
        ("cr\r", "'cr\r'"),
    ],
)
def test_writing(word, written):
    assert write_word(word) == written
    assert read_words(written) == [word]


@pytest.mark.parametrize("word", ["a\nb", "a\0b"])
def test_what_no_line_can_hold(word):
    with pytest.raises(InvalidWord):
        write_word(word)


def test_a_nul_is_refused():
    with pytest.raises(InvalidWord, match="no NUL"):
        read_words("a \0")


@given(st.lists(WORD, max_size=5))
@example(['"\'` "'])
@example(["\"'`\\"])
@example(['\'"` \\" \\\\" "'])
def test_words_come_back(words):
    assert read_words(write_words(words)) == words


@given(st.lists(WORD, min_size=1, max_size=3), st.sampled_from(["", ":", "\\:", "\\\\:"]))
def test_lines_come_back_and_are_no_objects(words, tail):
    words[-1] += tail
    line = write_words(words)
    assert decode_line(encode_line(line)) == (line, False)


@pytest.mark.parametrize(
    ("line", "decoded"),
    [
        ("header:", ("header", True)),
        ("  header: \t", ("header", True)),
        ("a:b", ("a:b", False)),
        ("a\\:", ("a:", False)),
        ("a\\\\:", ("a\\", True)),
        ("a\\\\\\: ", ("a\\: ", False)),
        (":", ("", True)),
        ("", ("", False)),
    ],
)
def test_decoding_lines(line, decoded):
    assert decode_line(line) == decoded


@given(st.text(TRICKY | st.characters(exclude_characters="\n\0")))
def test_garbage_is_words(line):
    words = read_words(line)
    assert all(word == "" or word for word in words)
    for word in words:
        assert read_words(write_word(word)) == [word]
    decode_line(line)


@pytest.mark.parametrize("text", ["'a ", '"', '" ', "`\\", "'a \"b `c ", '\\" ', '"\\" '])
def test_reading_takes_linear_time(text):
    started = time.process_time()
    read_words(text * (300_000 // len(text)))
    assert time.process_time() - started < 5


@pytest.mark.parametrize("word", ["#", "#x", '#"', "#'\"`", "#\\"])
def test_the_first_word_of_a_line_is_no_comment(word):
    line = write_words([word, "#y"])
    assert not line.startswith("#")
    assert read_words(line) == [word, "#y"]
    assert write_words(["y", "#x"]) == "y #x"
