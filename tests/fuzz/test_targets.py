"""The kept corpus, replayed; and a few bytes of chance on top."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import CORPUS, FUZZ_ONE

KEPT = sorted(CORPUS.glob("*/*"))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_kept_corpus(path):
    FUZZ_ONE[path.parent.name](path.read_bytes())


def test_every_target_has_a_corpus():
    assert {path.parent.name for path in KEPT} == set(FUZZ_ONE)


PIECES = [
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\\u", b"d800", b"1", b"-", b".", b"e9", b"null", b"true",
    b"name", b"mode", b"fast", b"disks", b"size", b"path", b"cmd", b"opts", b"id", b"cancel", b"\n", b" ", b"\xff",
    b"\0",
    b'{"name":"a"}', b'{"cmd":"x"}', b'"disks":[{"name":"a"}]',
]  # fmt: skip


@pytest.mark.parametrize("name", FUZZ_ONE)
@given(data=st.binary(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join))
def test_chance(name, data):
    FUZZ_ONE[name](data)


@pytest.mark.parametrize("name", FUZZ_ONE)
@given(seed=st.sampled_from(KEPT), at=st.integers(0, 400), insert=st.sampled_from(PIECES), drop=st.integers(0, 3))
def test_mutations_of_the_corpus(name, seed, at, insert, drop):
    data = seed.read_bytes()
    FUZZ_ONE[name](data[:at] + insert + data[at + drop :])
