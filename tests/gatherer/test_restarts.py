from ctld.gatherer.restarts import Patience, Restarts

PATIENCE = Patience(first_delay=0.1, last_delay=1.0, window=60, crashes=5)


def test_the_delay_doubles_and_is_bounded() -> None:
    restarts, delays = Restarts(PATIENCE), []
    assert restarts.delay(0) == 0
    now = 0.0
    for _ in range(6):
        restarts.crashed(now)
        delays.append(round(restarts.delay(now), 3))
        now += delays[-1]
        assert restarts.delay(now) == 0
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_a_minute_of_health_forgives() -> None:
    restarts = Restarts(PATIENCE)
    for now in (0, 1, 2):
        restarts.crashed(now)
    restarts.crashed(61.9)
    assert restarts.delay(61.9) > 0.7
    restarts.crashed(61.9 + 60)
    assert round(restarts.delay(61.9 + 60), 3) == 0.1


def test_five_crashes_within_the_window_degrade() -> None:
    restarts = Restarts(PATIENCE)
    for now in (0, 10, 20, 30):
        restarts.crashed(now)
        assert restarts.degraded(now) == 0
    restarts.crashed(59)
    assert restarts.degraded(59) == 1
    assert restarts.degraded(60) == 0  # the first is forgotten
    restarts.crashed(61)
    assert restarts.degraded(61) == 9


def test_five_crashes_over_a_longer_time_do_not() -> None:
    restarts = Restarts(PATIENCE)
    for now in (0, 20, 40, 60, 80):
        restarts.crashed(now)
        assert restarts.degraded(now) == 0
