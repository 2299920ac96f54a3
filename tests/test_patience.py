"""How long a peer that takes or gives nothing is waited for (native protocol, N2)."""

from ctld.limits import Limits
from ctld.patience import Patience

LIMITS = Limits(write_timeout=60.0, idle_timeout=300.0)


def look(patience: Patience, now: float, *, waiting: int = 0, holding: bool = False, idle: bool = True) -> str:
    return patience.tick(now, waiting=waiting, holding=holding, idle=idle)


def test_who_reads_nothing_while_something_waits_is_stalled():
    patience = Patience(LIMITS)
    patience.written = 100
    assert look(patience, 1.0, waiting=50) == ""
    assert look(patience, 60.9, waiting=50) == ""
    assert look(patience, 61.0, waiting=50) == "stalled"


def test_every_byte_taken_renews_the_patience():
    patience = Patience(LIMITS)
    patience.written = 100
    assert look(patience, 1.0, waiting=50) == ""
    assert look(patience, 50.0, waiting=49) == ""
    assert look(patience, 109.9, waiting=49) == ""
    patience.written = 200  # more was written, and nothing more taken
    assert look(patience, 110.0, waiting=149) == "stalled"


def test_what_was_taken_altogether_ends_the_wait():
    patience = Patience(LIMITS)
    patience.written = 100
    look(patience, 1.0, waiting=50)
    assert look(patience, 61.0, waiting=0, idle=False) == ""
    assert look(patience, 62.0, waiting=50, idle=False) == ""
    assert look(patience, 121.9, waiting=50, idle=False) == ""
    assert look(patience, 122.0, waiting=50, idle=False) == "stalled"


def test_a_session_sees_to_its_peer_itself():
    patience = Patience(LIMITS)
    patience.written, patience.suspended = 100, True
    assert look(patience, 1.0, waiting=50, idle=False) == ""
    assert look(patience, 1000.0, waiting=50, idle=False) == ""
    patience.suspended = False
    assert look(patience, 1001.0, waiting=50, idle=False) == ""
    assert look(patience, 1061.0, waiting=50, idle=False) == "stalled"


def test_who_asks_nothing_for_too_long_is_idle():
    patience = Patience(LIMITS)
    assert look(patience, 10.0) == ""  # it has just come
    assert look(patience, 309.9) == ""
    assert look(patience, 310.0) == "idle"
    patience.active = True
    assert look(patience, 311.0) == ""
    assert look(patience, 610.9) == ""


def test_who_waits_for_an_answer_is_not_idle():
    patience = Patience(LIMITS)
    for now in range(10, 10_000, 100):
        assert look(patience, float(now), idle=False) == ""


def test_without_a_bound_nobody_is_idle():
    patience = Patience(Limits())
    look(patience, 1.0)
    assert look(patience, 1e9) == ""


def test_who_cannot_be_read_for_too_long_is_starved():
    patience = Patience(Limits())
    look(patience, 1.0)
    assert look(patience, 60.9, holding=True) == ""
    assert look(patience, 61.0, holding=True) == "starved"
