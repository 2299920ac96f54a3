"""What a session remembers: the latest, and never more than its bound."""

from hypothesis import given
from hypothesis import strategies as st

from ctld.sessions.scrollback import SCROLLBACK_SIZE, Scrollback


def test_the_bound_is_256_kib():
    assert SCROLLBACK_SIZE == 256 * 1024
    kept = Scrollback()
    for _ in range(100):
        kept.append(1, b"x" * 65536)
    assert len(kept) == SCROLLBACK_SIZE == sum(len(data) for _, data in kept)


def test_streams_stay_apart_and_in_order():
    kept = Scrollback()
    for stream, data in [(1, b"a"), (1, b"b"), (2, b"c"), (1, b"d")]:
        kept.append(stream, data)
    assert list(kept) == [(1, b"ab"), (2, b"c"), (1, b"d")]


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1, max_size=40)), max_size=60), st.integers(1, 64)
)
def test_it_is_the_end_of_what_was_written(pieces, limit):
    kept = Scrollback(limit)
    for stream, data in pieces:
        kept.append(stream, data)
    tagged = [(stream, byte) for stream, data in pieces for byte in data]
    assert [(stream, byte) for stream, data in kept for byte in data] == tagged[-limit:]
    assert len(kept) == min(limit, len(tagged))


def test_many_small_pieces_become_few():
    kept = Scrollback()
    for _ in range(10_000):
        kept.append(1, b"x")
    assert len(list(kept)) < 10
