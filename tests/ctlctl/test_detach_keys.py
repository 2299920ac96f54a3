"""The keys that leave a session running."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctlctl.detach_keys import DetachKeys


def fed(sequence: bytes, *pieces: bytes) -> tuple[bytes, bool]:
    keys, typed, detached = DetachKeys(sequence), b"", False
    for piece in pieces:
        more, detached = keys.feed(piece)
        typed += more
        if detached:
            break
    return typed, detached


@pytest.mark.parametrize(
    "pieces", [[b"ab\x10\x11cd"], [b"ab\x10", b"\x11"], [b"a", b"b", b"\x10", b"\x11"], [b"ab", b"\x10\x11"]]
)
def test_the_sequence_is_found_however_it_is_typed(pieces):
    assert fed(b"\x10\x11", *pieces) == (b"ab", True)


def test_its_beginning_alone_is_for_the_program_once_that_is_clear():
    keys = DetachKeys(b"\x10\x11")
    assert keys.feed(b"a\x10") == (b"a", False)
    assert keys.feed(b"b") == (b"\x10b", False)
    assert keys.feed(b"\x10") == (b"", False)
    assert keys.feed(b"\x10") == (b"\x10", False)
    assert keys.feed(b"\x11") == (b"", True)


def test_without_a_sequence_everything_goes_through():
    assert DetachKeys(b"").feed(b"\x10\x11") == (b"\x10\x11", False)


@given(st.lists(st.sampled_from([b"a", b"b", b"ab", b"aab", b"c"]), max_size=12))
def test_nothing_is_lost_and_nothing_overlooked(pieces):
    sequence = b"aab"
    whole = b"".join(pieces)
    typed, detached = fed(sequence, *pieces)
    assert detached == (sequence in whole)
    if detached:
        assert typed == whole[: whole.index(sequence)]
    else:
        assert whole.startswith(typed)
        assert len(whole) - len(typed) < len(sequence)
