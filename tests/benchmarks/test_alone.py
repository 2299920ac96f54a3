"""A scenario by itself: its rows in columns."""

import pytest

from benchmarks.alone import format_rows, run_alone
from benchmarks.results import Goal, Row, missing

GOAL = Goal("memory", "<=", 3000)


def test_rows_stand_in_columns():
    lines = format_rows(
        [
            Row("idle", "ctld", 4416.2, 4000.0, 5000.4, "B", GOAL),
            Row("idle", "LIMIT-B", 1.0523, 1.0523, 1.0523, "x", None, "a note"),
            missing("idle", "peer", "B", "not here", GOAL),
        ]
    )
    assert lines == [
        "scenario  subject  value  spread          unit  goal",
        "idle      ctld     4,416  4,000 to 5,000  B     <= 3000  short",
        "idle      LIMIT-B  1.052                  x              (a note)",
        "idle      peer     -                      B     <= 3000  missing (not here)",
    ]


@pytest.mark.parametrize(("value", "status"), [(2999.0, 0), (3001.0, 1)])
def test_who_misses_a_goal_fails(value, status, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["memory", "--rounds", "2", "--full"])
    plans = []

    def measure(plan):
        plans.append(plan)
        assert plan.scratch.is_dir()
        return [Row("idle", "ctld", value, value, value, "B", GOAL)]

    assert run_alone("memory", "What it is.", measure) == status
    assert (plans[0].rounds, plans[0].full) == (2, True)
    assert f"{value:,.0f}" in capsys.readouterr().out
