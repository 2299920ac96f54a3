"""The thirteen actions and their words (specification F3)."""

import time
from datetime import datetime

import pytest

from ctld.dialects.fss_control.actions import (
    ACTIONS,
    INIT_ACTIONS,
    Order,
    delay_of,
    encode_order,
    moment_of,
    parse_order,
    read_order,
)
from ctld.dialects.fss_control.payload import MalformedPayload, decode_payload


def test_there_are_thirteen():
    assert " ".join(ACTIONS) == ("freeze kexec kill pause reboot reload rerun restart resume shutdown start stop thaw")


@pytest.mark.parametrize(
    ("words", "order"),
    [
        ("start service sshd", Order("start", "service", "sshd")),
        ("thaw a b now", Order("thaw", "a", "b")),
        ("stop a b at 12:30", Order("stop", "a", "b", "at", ("12:30",))),
        ("kill now at in 5 minutes", Order("kill", "now", "at", "in", ("5", "minutes"))),
        ("reboot now", Order("reboot")),
        ("shutdown in 1 hour 30 minutes", Order("shutdown", condition="in", words=("1", "hour", "30", "minutes"))),
        ("kexec at 2030-01-01T00:00:00", Order("kexec", condition="at", words=("2030-01-01T00:00:00",))),
    ],
)
def test_orders(words, order):
    assert parse_order(words.split()) == order
    assert read_order(decode_payload(encode_order(words.split()))) == order


def test_the_rule_as_one_name():
    assert parse_order(["start", "service", "sshd"]).rule == "service/sshd"


@pytest.mark.parametrize(
    ("words", "status", "action"),
    [
        ([], "F_header_not", ""),
        ([""], "F_header_not", ""),
        (["explode", "a", "b"], "F_header_not", ""),
        (["Start", "a", "b"], "F_header_not", ""),
        (["start"], "F_header_not", "start"),
        (["start", "a"], "F_header_not", "start"),
        (["start", "", "b"], "F_empty", "start"),
        (["start", "a", ""], "F_empty", "start"),
        (["start", "a", "b", "c"], "F_header_not", "start"),
        (["start", "a", "b", "now", "x"], "F_header_not", "start"),
        (["start", "a", "b", "at"], "F_header_not", "start"),
        (["start", "a", "b", "at", "1:00", "2:00"], "F_header_not", "start"),
        (["start", "a", "b", "in"], "F_header_not", "start"),
        (["start", "a", "b", "in", "5"], "F_header_not", "start"),
        (["start", "a", "b", "in", "5", "minutes", "3"], "F_header_not", "start"),
        *(([action], "F_header_not", action) for action in INIT_ACTIONS),
        (["reboot", "a", "b"], "F_header_not", "reboot"),
        (["start", "a", "b", "at", "noon"], "F_valid_not", "start"),
        (["start", "a", "b", "at", "24:00"], "F_valid_not", "start"),
        (["start", "a", "b", "at", "9999-12-31T99"], "F_valid_not", "start"),
        (["start", "a", "b", "in", "5", "fortnights"], "F_valid_not", "start"),
        (["start", "a", "b", "in", "five", "minutes"], "F_valid_not", "start"),
        (["start", "a", "b", "in", "-5", "minutes"], "F_valid_not", "start"),
        (["start", "a", "b", "in", "5", "minutess"], "F_valid_not", "start"),
        (["start", "a", "b", "at", "99999-01-01"], "F_valid_not", "start"),
        (["start", "a", "b", "in", "9" * 5000, "weeks"], "F_valid_not", "start"),
    ],
)
def test_what_is_no_order(words, status, action):
    with pytest.raises(MalformedPayload) as caught:
        parse_order(words)
    assert (caught.value.status, caught.value.action) == (status, action)


@pytest.mark.parametrize(
    ("data", "action"),
    [
        (b"header:\ntype controller\nlength 0\npayload:\n", ""),
        (b"header:\ntype controller\naction\nlength 0\npayload:\n", ""),
        (b"header:\naction start a b\nlength 0\npayload:\n", "start"),
        (b"header:\ntype\naction start a b\nlength 0\npayload:\n", "start"),
        (b"header:\ntype error\naction start a b\nlength 0\npayload:\n", "start"),
        (b"header:\ntype error\naction burn a b\nlength 0\npayload:\n", ""),
        (b"header:\ntype init init\naction start a b\nlength 0\npayload:\n", "start"),
    ],
)
def test_what_is_no_request(data, action):
    with pytest.raises(MalformedPayload) as caught:
        read_order(decode_payload(data))
    assert (caught.value.status, caught.value.action) == ("F_header_not", action)


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("90 seconds", 90),
        ("1 second", 1),
        ("0 seconds", 0),
        ("3 minutes", 180),
        ("2 hours", 7200),
        ("2 weeks 1 day 1 hour 1 minute", 15 * 86_400 + 3660),
        ("1 day 1 day", 2 * 86_400),
    ],
)
def test_a_delay(words, seconds):
    assert delay_of(parse_order(["start", "a", "b", "in", *words.split()])) == seconds


@pytest.fixture
def zone(monkeypatch):
    """Sets the zone of this machine for a while."""

    def use(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield use
    monkeypatch.undo()
    time.tzset()


BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"


def at(text, now):
    """What `at` means at a local time, as a local time with its offset."""
    moment = moment_of(parse_order(["start", "a", "b", "at", text]), datetime.fromisoformat(now).timestamp())
    return datetime.fromtimestamp(moment).astimezone().isoformat()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("23:45", "2024-02-28T23:45:00+01:00"),
        ("23:30", "2024-02-29T23:30:00+01:00"),  # now has passed: the next one
        ("23:30:01", "2024-02-28T23:30:01+01:00"),
        ("7:05:09", "2024-02-29T07:05:09+01:00"),
        ("00:00", "2024-02-29T00:00:00+01:00"),
        ("2024-03-01T01:02:03", "2024-03-01T01:02:03+01:00"),
        ("2024-07-01T12:00", "2024-07-01T12:00:00+02:00"),  # the offset of that day, not of today
        ("2024-03-01", "2024-03-01T00:00:00+01:00"),
        ("2024-03-01T00:00:00+05:00", "2024-02-29T20:00:00+01:00"),
        ("20240301T000000Z", "2024-03-01T01:00:00+01:00"),
        ("2024-01-01", "2024-01-01T00:00:00+01:00"),  # the past: the schedule refuses it
    ],
)
def test_a_time(zone, text, expected):
    zone(BERLIN)
    assert at(text, "2024-02-28T23:30:00") == expected


@pytest.mark.parametrize(
    ("text", "now", "expected"),
    [
        # The clocks are put forward from 02:00 to 03:00.
        ("03:30", "2024-03-30T23:00:00", "2024-03-31T03:30:00+02:00"),
        ("02:30", "2024-03-31T01:00:00", "2024-03-31T03:30:00+02:00"),  # no clock shows it: as much later
        ("02:30", "2024-03-31T04:00:00", "2024-04-01T02:30:00+02:00"),
        # They are put back from 03:00 to 02:00.
        ("03:30", "2024-10-26T23:00:00", "2024-10-27T03:30:00+01:00"),
        ("02:30", "2024-10-27T01:00:00+02:00", "2024-10-27T02:30:00+02:00"),  # shown twice: the first
        ("02:30", "2024-10-27T02:45:00+02:00", "2024-10-27T02:30:00+01:00"),  # the first has passed: the second
        ("02:30", "2024-10-27T02:15:00+01:00", "2024-10-27T02:30:00+01:00"),
        ("02:30", "2024-10-27T02:45:00+01:00", "2024-10-28T02:30:00+01:00"),
    ],
)
def test_a_time_of_the_day_when_the_clocks_change(zone, text, now, expected):
    zone(BERLIN)
    assert at(text, now) == expected
