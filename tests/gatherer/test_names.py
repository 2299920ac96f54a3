"""Names from outside: nothing leads anywhere else, and nothing is lost."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.errors import InvalidOptions
from ctld.gatherer.names import as_text, check_report_name, output_name


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "9", "x" * 100, "a..b", "a.tar.gz"])
def test_plain_names_of_reports(name: str) -> None:
    assert check_report_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".a", "-a", "_a", "a/b", "/a", "../a", "a\n", "a\0", "a b", "é", "x" * 101, "a.tar.xz", "٣"],
)
def test_names_that_are_more_than_plain(name: str) -> None:
    with pytest.raises(InvalidOptions) as caught:
        check_report_name(name)
    assert caught.value.fields["path"] == "destination"


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        ("uname -a", "0007-uname_-a"),
        ("../../etc/passwd", "0007-etc_passwd"),
        ("", "0007"),
        ("...", "0007"),
        ("a\nb\0c\x1b[2J", "0007-a_b_c_2J"),
        ("x" * 500, "0007-" + "x" * 60),
    ],
)
def test_names_of_outputs(wish: str, name: str) -> None:
    assert output_name(7, wish) == name


@given(st.integers(0, 99_999), st.text())
def test_the_name_of_an_output_is_always_harmless(index: int, wish: str) -> None:
    name = output_name(index, wish)
    assert name.startswith(f"{index:04d}")
    assert name.isascii()
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def test_bytes_as_text() -> None:
    assert as_text("/é\n".encode()) == ("/é\n", "")
    text, exact = as_text(b"/a\xff")
    assert text == "/a�"
    assert base64.b64decode(exact) == b"/a\xff"
