"""ctlctl.human: sizes, ages, times and amounts as people read them."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctlctl.human import age, amount, by_key, clock, size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (102400, "100 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (-2048, "-2.0 KiB"),
        (1024**9, "1073741824 EiB"),
        (10**400, "inf EiB"),
        (-(10**400), "-inf EiB"),
    ],
)
def test_size(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.31, "0.3 s"),
        (9.96, "10 s"),
        (59, "59 s"),
        (60, "1 min"),
        (302, "5 min 2 s"),
        (7500, "2 h 5 min"),
        (86400 * 3 + 4 * 3600 + 59, "3 d 4 h"),
        (86400 * 400, "400 d"),
        (-90, "-1 min 30 s"),
        (1e15, "1e+15 s"),
        (float("inf"), "inf s"),
        (float("-inf"), "-inf s"),
        (float("nan"), "nan s"),
        (10**400, "inf s"),
    ],
)
def test_age(seconds: float, text: str) -> None:
    assert age(seconds) == text


@given(st.floats(min_value=0, max_value=1e10))
def test_the_larger_unit_is_never_more_than_the_age(seconds: float) -> None:
    text = age(seconds)
    unit = {"d": 86400, "h": 3600, "min": 60, "s": 1}[text.split()[1]]
    assert float(text.split()[0]) * unit <= seconds + 1


def test_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-2")
    time.tzset()
    try:
        assert clock(1_000_000_000) == "2001-09-09 03:46:40"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("seconds", "text"), [(float("inf"), "inf"), (float("nan"), "nan"), (1e300, "1e+300"), (-(10**400), "-inf")]
)
def test_a_time_that_no_clock_shows(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(1536, "bytes", "1.5 KiB"), (3, "", "3"), (3.0, "items", "3 items"), (2.55, "x", "2.5 x"), (123.4, "x", "123 x")],
)
def test_amount(value: float, unit: str, text: str) -> None:
    assert amount(value, unit) == text


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("rss_bytes", 2048, "2.0 KiB"),
        ("size", 5, "5 B"),
        ("disk.size", 5, "5 B"),
        ("uptime", 61, "1 min 1 s"),
        ("idle_seconds", 2, "2 s"),
        ("name", 5, None),
        ("age", True, None),
        ("age", "5", None),
        ("started_at", 5, None),
        ("time", 1e12, None),
        ("since", 1795361819494104, None),
        ("elapsed", 1e12, None),
    ],
)
def test_the_key_says_what_a_number_is(key: str, value: Any, text: str | None) -> None:
    assert by_key(key, value) == text


def test_a_time_is_told_by_its_size() -> None:
    assert by_key("started_at", 1_795_361_819.4) == clock(1_795_361_819.4)
