"""ctlctl.shell_words: a line as words, whole or still typed."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctlctl.exits import UsageError
from ctlctl.shell_words import split_line, split_open_line


def test_a_whole_line() -> None:
    assert split_line("job start 'a b' \"c\"\n") == ["job", "start", "a b", "c"]
    assert split_line("  # a remark ' \n") == []
    assert split_line("x #y") == ["x", "#y"]
    with pytest.raises(UsageError, match="a quotation does not end"):
        split_line("job 'x")


@pytest.mark.parametrize(
    ("line", "words", "text"),
    [
        ("ctlctl ", [], ""),
        ("ctlctl jo", [], "jo"),
        ("ctlctl job start ", ["job", "start"], ""),
        ("ctlctl job start web:1", ["job", "start"], "web:1"),
        ("ctlctl -s unix:/x job", ["-s", "unix:/x"], "job"),
        ("ctlctl x --a=b", ["x"], "--a=b"),
        ("ctlctl x 'a b", ["x"], "a b"),
        ('ctlctl x "a b', ["x"], "a b"),
        ("ctlctl x a\\ b", ["x"], "a b"),
        ("ctlctl x 'a' ", ["x", "a"], ""),
    ],
)
def test_a_line_that_is_still_typed(line: str, words: list[str], text: str) -> None:
    assert split_open_line(line) == (words, text)


@given(
    st.lists(
        st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), min_size=1
    )
)
def test_what_is_quoted_comes_back(words: list[str]) -> None:
    line = f"prog {shlex.join(words)}"
    if not words[-1].endswith("\\"):
        assert split_open_line(line) == (words[:-1], words[-1])


@given(st.text(alphabet=st.characters(exclude_characters="\0")) | st.text(alphabet="a'\"\\ #\n"))
def test_no_line_is_too_odd(line: str) -> None:
    words, text = split_open_line(line)
    assert not any("\0" in word for word in (*words, text)), "the mark is ours alone"
    assert sum(map(len, (*words, text))) <= len(line)


def test_a_line_without_a_word() -> None:
    assert split_open_line("") == ([], "")
    assert split_open_line("# x") == ([], "")
    assert split_open_line("ctlctl") == ([], "")
