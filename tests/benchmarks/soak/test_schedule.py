"""The schedule of faults: the same seed draws the same, and none disturbs its own kind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.soak.schedule import KINDS, Fault, draw

SEEDS = st.text(min_size=1, max_size=10)


@given(seed=SEEDS, seconds=st.floats(1, 300), every=st.floats(0.2, 10))
def test_the_same_seed_draws_the_same_faults_and_all_are_over_in_time(seed, seconds, every):
    faults = draw(seed, seconds, every)
    assert faults == draw(seed, seconds, every)
    assert faults == sorted(faults)
    for fault in faults:
        shortest, longest = KINDS[fault.kind]
        assert fault.at >= 0
        assert fault.at + fault.lasts < seconds
        assert shortest <= fault.lasts <= longest
        assert 0 <= fault.choice < 1


@given(seed=SEEDS)
def test_two_faults_of_a_kind_never_overlap(seed):
    ends: dict[str, float] = {}
    for fault in draw(seed, 60.0, 0.3):
        assert fault.at >= ends.get(fault.kind, 0.0)
        ends[fault.kind] = fault.at + fault.lasts


def test_other_seeds_draw_other_faults():
    assert draw("1", 60.0, 1.0) != draw("2", 60.0, 1.0)


def test_every_kind_comes_before_any_comes_again():
    brief = dict.fromkeys("abcd", (0.0, 0.0))
    kinds = [fault.kind for fault in draw("x", 100.0, 1.0, brief)]
    assert len(kinds) > 50
    for start in range(0, len(kinds) - 4, 4):
        assert set(kinds[start : start + 4]) == set("abcd")


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Fault(1.5, "reload", 0.0, 0.25), "   1.50 s  reload (choice 0.2500)"),
        (Fault(61.25, "fill the disk", 2.0, 0.5), "  61.25 s  fill the disk for 2.00 s (choice 0.5000)"),
    ],
)
def test_a_fault_is_a_line(fault, text):
    assert str(fault) == text
