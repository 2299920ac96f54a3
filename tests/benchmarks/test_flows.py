"""Rounds, ratios, and what becomes of a peer that fails."""

from pathlib import Path

import pytest

from benchmarks.flows import OUR_GOALS, PEER_GOALS, SCENARIOS, belongs, ratios, rounds_of, rows_of
from benchmarks.load import Load
from benchmarks.processes import BenchmarkError
from benchmarks.results import Plan
from benchmarks.servers import FLOOR, LIMIT_B, OURS, PEERS, TOLD, Lineup

PLAN = Plan(rounds=3, seconds=0.1, full=False, scratch=Path())
C50, SEQ1 = SCENARIOS[0], SCENARIOS[4]
EVERYONE = [FLOOR, LIMIT_B, *OURS, *PEERS]


def loads(*rates, p50=None):
    return [Load(rate, 0.4, p50=p50) for rate in rates]


def test_ratios_are_taken_round_by_round():
    assert ratios(loads(50, 20), loads(100, 80)) == [0.5, 0.25]
    assert ratios(loads(1, 1, p50=3e-5), loads(9, 9, p50=2e-5), of_time=True) == pytest.approx([1.5, 1.5])


def test_rounds_that_do_not_match_are_no_ratios():
    with pytest.raises(ValueError, match="zip"):
        ratios(loads(1), loads(1, 2))


def test_each_subject_gets_one_slice_a_round_and_the_first_round_does_not_count():
    asked = []

    def slice_of(subject):
        asked.append(subject.name)
        return Load(len(asked), 0.4)

    found = rounds_of(PLAN, [LIMIT_B, *OURS], slice_of, Lineup())
    rounds = [asked[start : start + 3] for start in range(0, len(asked), 3)]
    assert all(sorted(each) == sorted(asked[:3]) for each in rounds)
    assert len(rounds) == 4
    assert len({tuple(each) for each in rounds}) > 1, "the order is random"
    assert all(len(values) == 3 for values in found.values())
    assert min(load.rate for values in found.values() for load in values) == 4


def test_a_peer_that_fails_is_out_and_says_why():
    lineup = Lineup()

    def slice_of(subject):
        if subject.peer:
            raise BenchmarkError("read: connection reset")
        return Load(1.0, 0.4)

    found = rounds_of(PLAN, [LIMIT_B, PEERS[0]], slice_of, lineup)
    assert list(found) == [LIMIT_B.name]
    assert lineup.missing == {PEERS[0].name: "read: connection reset"}


def test_one_of_ours_that_fails_ends_the_run():
    def slice_of(subject):
        raise BenchmarkError("stuck")

    with pytest.raises(BenchmarkError, match="stuck"):
        rounds_of(PLAN, [LIMIT_B], slice_of, Lineup())


def test_what_takes_long_is_measured_at_c50_only_unless_all_is_wanted():
    def measured(scenario, full):
        return [subject for subject in [*EVERYONE, TOLD] if belongs(subject, scenario, full=full)]

    c50_ping, c50_echo, _, _, seq1_ping, seq1_echo = SCENARIOS
    assert measured(c50_ping, full=False) == EVERYONE
    assert measured(c50_echo, full=False) == [*EVERYONE, TOLD]
    assert measured(seq1_echo, full=False) == [FLOOR, LIMIT_B, *OURS]
    assert measured(seq1_ping, full=True) == EVERYONE
    assert measured(seq1_echo, full=True) == [*EVERYONE, TOLD]


def rows(scenario, without=()):
    alive = [subject for subject in EVERYONE if subject.name not in without]
    rounds = {subject.name: loads(100.0, 100.0, p50=5e-5) for subject in alive}
    rounds["ctld full"] = loads(50.0, 50.0, p50=1e-4)
    return rows_of(scenario, EVERYONE, rounds, Lineup(missing=dict.fromkeys(without, "not here")), "")


def test_a_scenario_has_a_row_for_everyone_and_one_for_each_comparison():
    found = {row.subject: row for row in rows(C50)}
    assert set(found) == {subject.name for subject in EVERYONE} | {f"ctld full / {peer.name}" for peer in PEERS}
    assert (found["LIMIT-B"].value, found["LIMIT-B"].unit) == (100, "req/s")
    assert (found["ctld full"].value, found["ctld full"].verdict) == (0.5, "short")
    assert (found["ctld bare"].value, found["ctld bare"].verdict) == (1.0, "pass")
    assert found["ctld full / aiohttp"].value == 0.5
    assert "40% busy" in found["LIMIT-B"].note


def test_of_a_single_client_the_time_counts():
    found = {row.subject: row for row in rows(SEQ1)}
    assert (found["LIMIT-B"].value, found["LIMIT-B"].unit) == (pytest.approx(50), "us")
    assert (found["ctld full"].value, found["ctld full"].verdict) == (2.0, "short")
    assert (found["ctld bare"].value, found["ctld bare"].verdict) == (1.0, "pass")
    assert not [name for name in found if "/" in name]


def test_a_peer_that_is_missing_is_told_of_twice():
    found = {row.subject: row for row in rows(C50, without=["grpc.aio"])}
    for name in ("grpc.aio", "ctld full / grpc.aio"):
        assert (found[name].verdict, found[name].note) == ("missing", "not here")


def test_every_peer_and_every_shape_has_a_goal():
    assert set(PEER_GOALS) == {peer.name for peer in PEERS}
    assert {shape for _, shape in OUR_GOALS} == {scenario.name for scenario in SCENARIOS}
