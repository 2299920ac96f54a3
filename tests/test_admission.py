import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.admission import DESCRIPTOR_RESERVE, Admission, raise_descriptor_limit


def test_one_user_gets_half():
    door = Admission(10)
    assert [door.admit(1000) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [door.admit(0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert door.total == door.limit == 10


def test_all_together_get_no_more_than_there_is():
    door = Admission(4)
    assert [door.admit(uid) for uid in (1, 2, 3, 4, 5)] == [True] * 4 + [False]


def test_the_network_counts_as_one_user():
    door = Admission(4)
    assert [door.admit(None) for _ in range(3)] == [True, True, False]
    assert door.admit(0)


def test_a_single_place_can_be_taken():
    door = Admission(1)
    assert door.admit(7)
    assert not door.admit(8)


def test_a_place_that_is_given_back_is_free_again():
    door = Admission(2)
    assert door.admit(7)
    assert not door.admit(7)
    door.release(7)
    assert door.total == 0
    assert door.admit(7)


def test_giving_back_what_was_never_taken_is_a_defect():
    door = Admission(2)
    with pytest.raises(KeyError):
        door.release(7)
    assert door.total == 0


@given(st.integers(1, 12), st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=80))
def test_counts_stay_right_and_nothing_is_kept_of_those_who_left(limit, steps):
    door, here = Admission(limit), []
    for arrives, uid in steps:
        if arrives:
            fits = len(here) < limit and here.count(uid) < max(1, limit // 2)
            assert door.admit(uid) is fits
            here += [uid] * fits
        elif uid in here:
            door.release(uid)
            here.remove(uid)
        assert door.total == len(here)
        assert len(door._per_user) == len(set(here))


class Kernel:
    def __init__(self, monkeypatch, soft, hard):
        self.limits = (soft, hard)
        self.calls = 0
        monkeypatch.setattr(resource, "getrlimit", lambda which: self.limits)
        monkeypatch.setattr(resource, "setrlimit", self.set)

    def set(self, which, limits):
        assert which == resource.RLIMIT_NOFILE
        self.limits = limits
        self.calls += 1


INFINITE = resource.RLIM_INFINITY
NEEDED = 5000 + DESCRIPTOR_RESERVE


@pytest.mark.parametrize(
    ("soft", "hard", "after"),
    [
        (1024, 500_000, NEEDED),
        (1024, INFINITE, NEEDED),
        (1024, 4096, 4096),
        (4096, 4096, 4096),
        (100_000, 500_000, 100_000),
        (INFINITE, INFINITE, INFINITE),
    ],
)
def test_the_descriptor_limit_rises_as_far_as_needed_and_allowed(monkeypatch, soft, hard, after):
    kernel = Kernel(monkeypatch, soft, hard)
    assert raise_descriptor_limit(5000) == after
    assert kernel.limits == (after, hard)
    assert kernel.calls == (soft != after)
