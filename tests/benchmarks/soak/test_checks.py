"""What has to be true after a soak: each thing that is not, is said."""

from collections import Counter

import pytest

from benchmarks.soak.checks import Check, latency_check, log_checks, unchanged
from benchmarks.soak.latency import Latency
from benchmarks.soak.settle import Footprint

MEGA = 1024 * 1024
BEFORE = Footprint(
    descriptors=Counter(socket=5, pipe=2),
    threads=3,
    resident=40 * MEGA,
    tasks=Counter({"client": 1, "schedule": 1}),
    family=Counter(job=2, worker=2),
)


def failed(checks):
    return [check.what for check in checks if check.wrong]


def test_a_daemon_that_is_as_it_was_or_smaller_passes():
    assert not failed(unchanged(BEFORE, BEFORE, room=0.0))
    smaller = Footprint(Counter(socket=4), 2, 30 * MEGA, Counter(client=1), Counter(job=1))
    assert not failed(unchanged(BEFORE, smaller, room=0.0))


@pytest.mark.parametrize(
    ("now", "what"),
    [
        (BEFORE._replace(descriptors=Counter(socket=6, pipe=1)), "no descriptor more"),
        (BEFORE._replace(descriptors=Counter(socket=5, pipe=2, other=1)), "no descriptor more"),
        (BEFORE._replace(tasks=Counter({"client": 2, "schedule": 1})), "no task more"),
        (BEFORE._replace(family=Counter({"job": 2, "worker": 2, "stray zombie": 1})), "no process more"),
        (BEFORE._replace(threads=99), "no thread more than the pools may have"),
        (BEFORE._replace(resident=60 * MEGA), "no memory more"),
    ],
)
def test_whatever_has_grown_fails(now, what):
    assert failed(unchanged(BEFORE, now, room=0.1)) == [what]


def test_memory_has_some_room():
    more = BEFORE._replace(resident=44 * MEGA)
    assert not failed(unchanged(BEFORE, more, room=0.2))
    assert failed(unchanged(BEFORE, more, room=0.05)) == ["no memory more"]


def test_latency_is_compared_by_the_yardstick():
    before = Latency(daemon=0.001, yardstick=0.0001)
    busy_machine = Latency(daemon=0.005, yardstick=0.0005)
    slower = Latency(daemon=0.002, yardstick=0.0001)
    assert not latency_check(before, busy_machine, 1.5).wrong
    assert latency_check(before, slower, 1.5).wrong


def test_errors_in_the_log_are_found_except_those_about_the_disk():
    lines = [
        "2026-11-22 10:00:00 WARNING ctld.jobs: it is nothing",
        "2026-11-22 10:00:00 ERROR ctld.history: ! history entries are kept in memory: database or disk is full",
        "2026-11-22 10:00:01 WARNING ctld.history: = the history is written again; 0 entries were lost",
    ]
    assert not failed(log_checks(lines))
    for bad in ("    Traceback (most recent call last):", "2026-11-22 10:00:00 ERROR asyncio: Task exception"):
        [check] = log_checks([*lines, bad])
        assert check.wrong == [bad]


def test_a_long_list_is_cut():
    [check] = log_checks(["2026-11-22 10:00:00 ERROR ctld: no"] * 9)
    assert check.wrong[-1] == "... and 4 more"


def test_a_check_is_a_line_and_what_is_wrong_is_below():
    assert str(Check("it holds", [], "3 now")) == "ok      it holds (3 now)"
    assert str(Check("it holds", ["a", "b"])) == "FAILED  it holds\n          a\n          b"
