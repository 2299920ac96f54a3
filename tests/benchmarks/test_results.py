"""Rows, goals and verdicts."""

from pathlib import Path

import pytest

from benchmarks.results import Goal, Plan, Row, missing, row_of

AT_LEAST = Goal("fast", ">=", 0.8)
AT_MOST = Goal("small", "<=", 3000)


@pytest.mark.parametrize(
    ("goal", "value", "reached"),
    [
        (AT_LEAST, 0.8, True),
        (AT_LEAST, 0.79, False),
        (AT_LEAST, 2, True),
        (AT_MOST, 3000, True),
        (AT_MOST, 3001, False),
        (AT_MOST, 0, True),
    ],
)
def test_a_goal_is_a_bound(goal, value, reached):
    assert goal.reached(value) is reached


def test_a_goal_reads_as_people_write_it():
    assert (str(AT_LEAST), str(AT_MOST), str(Goal("x", ">=", 4))) == (">= 0.8", "<= 3000", ">= 4")


@pytest.mark.parametrize(
    ("value", "goal", "verdict"), [(0.9, AT_LEAST, "pass"), (0.7, AT_LEAST, "short"), (0.7, None, "")]
)
def test_a_row_says_whether_its_goal_is_reached(value, goal, verdict):
    assert Row("c50", "full", value, value, value, "x", goal).verdict == verdict


def test_a_row_of_rounds_is_their_median_and_spread():
    row = row_of("c50", "full", [0.9, 0.1, 0.5], "x", AT_LEAST, "slow")
    assert row == Row("c50", "full", 0.5, 0.1, 0.9, "x", AT_LEAST, "slow")


def test_what_could_not_be_measured_is_neither_reached_nor_missed():
    row = missing("c50", "grpc.aio", "x", "no such package", AT_LEAST)
    assert (row.value, row.low, row.high, row.verdict, row.note) == (None, None, None, "missing", "no such package")


def test_the_same_seed_gives_the_same_order():
    one, two, other = (Plan(rounds=1, seconds=0.1, full=False, scratch=Path(), seed=seed) for seed in (3, 3, 4))
    shuffled = [plan.random().sample(range(100), 100) for plan in (one, two, other)]
    assert shuffled[0] == shuffled[1] != shuffled[2]
