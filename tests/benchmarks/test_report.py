"""A run as text and as JSON."""

import json

import pytest

from benchmarks.goals import ACCEPTANCE, BARE, FULL, PEERS
from benchmarks.machine import Machine
from benchmarks.report import Run, from_json, number, rows_by_goal, summary, table, to_json
from benchmarks.results import Goal, Row, missing

MACHINE = Machine("A processor", 2, "Linux 6", "CPython 3.11", "cc 12", "abc", 0.5, {"uvloop": "0.21"})
ROWS = (
    Row("c50 ping", "LIMIT-B", 81146.4, 76885.4, 86035.3, "req/s", None, "load generator 38% busy"),
    Row("c50 ping", "ctld bare", 0.812, 0.79, 0.84, "x", Goal(BARE, ">=", 0.8)),
    Row("c50 ping", "ctld full", 0.61, 0.55, 0.64, "x", Goal(FULL, ">=", 0.7)),
    missing("c50 ping", "ctld full / grpc.aio", "x", "no module named grpc", Goal(PEERS, ">=", 6)),
    Row("start-up", "ctlctl ping / supervisorctl version", 0.26, 0.2, 0.49, "x", Goal("mine", "<=", 0.4)),
)
RUN = Run("2026-11-22", MACHINE, 7, 0.15, ROWS)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2435929.5, "2.44M"),
        (81146.4, "81,146"),
        (123.4, "123"),
        (12.34, "12.3"),
        (0.8123, "0.81"),
        (-0.5, "-0.50"),
        (0, "0.00"),
    ],
)
def test_numbers_have_the_digits_that_mean_something(value, text):
    assert number(value) == text


def test_the_table_shows_every_row_and_every_verdict():
    assert table(ROWS).splitlines() == [
        "c50 ping",
        "  LIMIT-B                    81,146 req/s      76,885 to 86,035",
        "    load generator 38% busy",
        "  ctld bare                    0.81 x              0.79 to 0.84   >= 0.8 pass",
        "  ctld full                    0.61 x              0.55 to 0.64   >= 0.7 short",
        "  ctld full / grpc.aio            - x                               >= 6 missing",
        "    no module named grpc",
        "",
        "start-up",
        "  ctlctl ping / supervisorctl version",
        "                               0.26 x              0.20 to 0.49   <= 0.4 pass",
    ]


def test_a_row_with_nothing_but_a_value_has_room_for_its_name():
    row = Row("profile", "commands/dispatch.py _execute", 7.51, None, None, "%")
    assert table([row]).splitlines()[1] == f"  {'commands/dispatch.py _execute':45}      7.51 %"


def test_the_table_fits_on_80_columns():
    wide = Row(
        "s" * 60, "subject " * 5, 1234567.0, 1234567.0, 1234567.0, "cycles/s", Goal("g", ">=", 1000), "note " * 40
    )
    assert max(map(len, table([*ROWS, wide]).splitlines())) <= 80


def test_every_goal_of_the_list_is_told_of_even_if_nothing_measured_it():
    told = summary(ROWS)
    assert all(text in told for text in ACCEPTANCE)
    verdicts = {line[2:48].strip(): line[49:] for line in told.splitlines()}
    assert verdicts[BARE] == "pass"
    assert verdicts[FULL] == "short: 1 of 1"
    assert verdicts[PEERS] == "not measured"
    assert verdicts["mine"] == "pass"
    assert verdicts["growth"] == "not measured"


def test_a_goal_with_a_missing_row_is_not_simply_reached():
    rows = [Row("c50", "a", 9, 9, 9, "x", Goal(PEERS, ">=", 6)), missing("c50", "b", "x", "gone", Goal(PEERS, ">=", 6))]
    assert f"{PEERS:46} pass, but 1 of 2 missing" in summary(rows)


def test_rows_without_a_goal_are_under_none():
    assert [row for rows in rows_by_goal(ROWS).values() for row in rows] == list(ROWS[1:])


def test_a_run_survives_json():
    text = to_json(RUN)
    assert from_json(text) == RUN
    assert json.loads(text)["rows"][1]["goal"] == {"text": BARE, "op": ">=", "bound": 0.8}


@pytest.mark.parametrize("text", ["{}", "[]", '{"rows": [1]}', "nonsense", '{"rows": [], "machine": {"cpu": 1}}'])
def test_what_is_no_run_is_refused(text):
    with pytest.raises(ValueError, match=r"no run|Expecting value"):
        from_json(text)
