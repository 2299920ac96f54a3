import fnmatch
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ctld.gatherer.patterns import Pattern, has_magic

SIGNS = st.lists(
    st.sampled_from([b"a", b"b", b"c", b"-", b"[", b"]", b"!", b"^", b"*", b"?", b".", b"/", b"\\", b"\xff", b"\n"])
)


@given(SIGNS, SIGNS)
@example([b"[a-c-e]"], [b"d"])
@example([b"[!]a]"], [b"b"])
@example([b"[]-a]"], [b"^"])
@example([b"[c-a]"], [b"b"])
@example([b"[--a]"], [b"."])
@example([b"[a-]"], [b"-"])
@example([b"[!"], [b"[!"])
@example([b"*\n"], [b"\n"])
def test_means_what_fnmatch_means(pattern: list[bytes], name: list[bytes]) -> None:
    text, subject = b"".join(pattern), b"".join(name)
    assert Pattern(text).matches(subject) == fnmatch.fnmatchcase(subject, text)


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_means_what_fnmatch_means_for_any_bytes(pattern: bytes, name: bytes) -> None:
    assert Pattern(pattern).matches(name) == fnmatch.fnmatchcase(name, pattern)


@given(SIGNS, SIGNS)
def test_finds_a_name_in_what_was_made_from_it(pieces: list[bytes], between: list[bytes]) -> None:
    name = b"".join(pieces).translate(None, b"[]*?!")
    assert Pattern(b"*".join(bytes([sign]) for sign in name) + b"*").matches(name)
    assert Pattern(b"*" + name).matches(b"".join(between) + name)


def test_many_stars_do_not_take_for_ever() -> None:
    began = time.process_time()
    assert not Pattern(b"*a" * 40 + b"b").matches(b"a" * 400)
    assert time.process_time() - began < 5  # a backtracking matcher would not end in this universe


@pytest.mark.parametrize(
    ("pattern", "path", "covered"),
    [
        (b"/etc/shadow", b"/etc/shadow", True),
        (b"/etc/shadow", b"/etc/shadow/below", True),
        (b"/etc/shadow", b"/etc/shadow-", False),
        (b"/etc", b"/etc/ssl/private/key", True),
        (b"/etc/ssl", b"/etc", False),
        (b"*/secret*", b"/a/b/secret.key", True),
        (b"*/secret*", b"/a/secrets/b", True),
        (b"/a/?", b"/a/b/c/d", True),
        (b"/", b"/", True),
        (b"/", b"/a", False),
        (b"*", b"/a", True),
    ],
)
def test_covers_what_is_below(pattern: bytes, path: bytes, covered: bool) -> None:
    assert Pattern(pattern).covers(path) is covered


@pytest.mark.parametrize(
    ("text", "magic"), [(b"a", False), (b"", False), (b"a*", True), (b"?", True), (b"[", True), (b"]", False)]
)
def test_has_magic(text: bytes, magic: bool) -> None:
    assert has_magic(text) is magic
    assert Pattern(text).text == text
