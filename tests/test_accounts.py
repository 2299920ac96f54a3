import grp
import os
import pwd

import pytest

from ctld import accounts
from ctld.accounts import FRESH, Accounts
from tests.clock import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def asked(monkeypatch):
    """What the user database is asked for; it answers with how often it was."""
    questions = []

    def getpwnam(name):
        questions.append(name)
        if name == "nobody-here":
            raise KeyError(name)
        return pwd.struct_passwd((name, "x", len(questions), 0, "", "/", "/bin/sh"))

    monkeypatch.setattr(pwd, "getpwnam", getpwnam)
    return questions


def test_root_is_known_both_ways():
    known = Accounts()
    assert known.user_name(0) == "root"
    assert known.uid_of("root") == 0
    assert known.group_name(grp.getgrnam("root").gr_gid) == "root"
    assert known.gid_of("root") == 0


def test_groups_of_a_user_leave_out_the_primary_one(monkeypatch):
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 5, 6] if name == "root" else [])
    assert Accounts().groups_of(0, 0) == {5, 6}


def test_groups_of_nobody_are_none():
    assert Accounts().groups_of(2**31 - 5, 100) == frozenset()


@pytest.mark.parametrize("number", [2**31 - 5, -1, 2**64])
def test_a_number_that_nobody_has(number):
    assert Accounts().user_name(number) == ""
    assert Accounts().group_name(number) == ""


@pytest.mark.parametrize("name", ["no-such-account", "", "nul\0inside", "\udcff"])
def test_a_name_that_nobody_has(name):
    assert Accounts().uid_of(name) is None
    assert Accounts().gid_of(name) is None


def test_an_answer_is_kept_for_a_minute(clock, asked):
    known = Accounts(clock)
    assert known.uid_of("alice") == 1
    clock.now += FRESH - 1
    assert known.uid_of("alice") == 1
    clock.now += 1
    assert known.uid_of("alice") == 2
    clock.now += FRESH - 1
    assert known.uid_of("alice") == 2


def test_so_is_the_answer_that_there_is_none(clock, asked):
    known = Accounts(clock)
    assert [known.uid_of("nobody-here") for _ in range(3)] == [None] * 3
    assert asked == ["nobody-here"]


def test_what_is_kept_is_bounded_and_the_oldest_goes_first(clock, asked, monkeypatch):
    monkeypatch.setattr(accounts, "_MAX_ENTRIES", 3)
    known = Accounts(clock)
    known.uid_of("a")
    clock.now += FRESH / 2
    known.uid_of("b")
    clock.now += FRESH / 2
    for name in ("a", "c", "d"):  # a is renewed, so b is the oldest when there is no room for d
        known.uid_of(name)
    del asked[:]
    for name in ("a", "c", "d"):
        known.uid_of(name)
    assert asked == []
    known.uid_of("b")
    assert asked == ["b"]
