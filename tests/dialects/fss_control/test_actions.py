"""The thirteen actions and their words (specification F3)."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from ctld.dialects.fss_control.actions import ACTIONS, INIT_ACTIONS, Order, due, encode_order, parse_order, read_order
from ctld.dialects.fss_control.payload import MalformedPayload, decode_payload

NOW = datetime(2024, 2, 28, 23, 30)


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
        (["start", "a", "b", "in", "999999999", "weeks"], "F_valid_not", "start"),
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
    ("when", "expected"),
    [
        ("in 90 seconds", NOW + timedelta(seconds=90)),
        ("in 1 second", NOW + timedelta(seconds=1)),
        ("in 2 weeks 1 day 1 hour 1 minute", NOW + timedelta(days=15, hours=1, minutes=1)),
        ("at 23:45", datetime(2024, 2, 28, 23, 45)),
        ("at 23:30", datetime(2024, 2, 29, 23, 30)),  # now has passed: the next one
        ("at 7:05:09", datetime(2024, 2, 29, 7, 5, 9)),
        ("at 2024-03-01T01:02:03", datetime(2024, 3, 1, 1, 2, 3)),
        ("at 2024-03-01", datetime(2024, 3, 1)),
        ("at 2024-01-01", datetime(2024, 1, 1)),  # the past: due already
        ("now", None),
    ],
)
def test_when(when, expected):
    assert due(parse_order(["start", "a", "b", *when.split()]), NOW) == expected


def test_a_time_with_a_zone():
    order = parse_order(["start", "a", "b", "at", "2024-03-01T00:00:00+02:00"])
    now = NOW.replace(tzinfo=UTC)
    assert due(order, now) == datetime(2024, 2, 29, 22, tzinfo=UTC)
    assert due(parse_order(["reboot", "at", "2024-03-01T00:00"]), now) == datetime(2024, 3, 1, tzinfo=UTC)
    assert due(order, NOW.replace(tzinfo=timezone(timedelta(hours=2)))) == datetime(2024, 2, 29, 22, tzinfo=UTC)
