import grp
import os
import pwd

import pytest

from ctld.errors import InvalidOptions, NotFound
from ctld.processes import Account, find_account


def test_nobody_named_changes_nothing():
    assert find_account(None) == Account(None, None, None)
    assert find_account(None).environment() == {}


def test_the_daemons_own_user_changes_nothing():
    account = find_account(os.geteuid())
    assert (account.uid, account.gid, account.groups) == (None, None, None)
    assert account.home == pwd.getpwuid(os.geteuid()).pw_dir


def test_another_user_gets_its_own_groups_and_never_ours():
    entry = pwd.getpwnam("nobody")
    account = find_account("nobody")
    assert (account.uid, account.gid) == (entry.pw_uid, entry.pw_gid)
    assert account.groups == tuple(os.getgrouplist("nobody", entry.pw_gid))
    assert account.environment() == {
        "USER": "nobody",
        "LOGNAME": "nobody",
        "HOME": entry.pw_dir,
        "SHELL": entry.pw_shell,
    }


def test_a_number_with_an_entry_is_that_user():
    assert find_account(str(pwd.getpwnam("nobody").pw_uid)) == find_account("nobody")


def test_a_number_without_entry_needs_a_group():
    with pytest.raises(InvalidOptions, match="user 54321 has no entry, so its group must be given"):
        find_account(54321)
    assert find_account("54321", 54322) == Account(54321, 54322, (), "54321")
    assert find_account(54321, 54322, (1, "2")) == Account(54321, 54322, (1, 2), "54321")


def test_groups_go_by_name_and_number():
    group = grp.getgrgid(pwd.getpwnam("nobody").pw_gid)
    assert find_account(None, group.gr_name) == Account(None, group.gr_gid, None)
    assert find_account("nobody", "0", (group.gr_name,)).groups == (group.gr_gid,)


@pytest.mark.parametrize("user", ["no such user", "", "nobody\0", -1, "-1", "4294967295", 4294967295, 10**30, "²"])
def test_an_unknown_user_is_named(user):
    with pytest.raises(NotFound, match="there is no user") as caught:
        find_account(user, 1)
    assert caught.value.fields == {"kind": "user", "name": str(user)}


@pytest.mark.parametrize("group", ["no such group", "", "a\0", -1, "4294967295"])
def test_an_unknown_group_is_named(group):
    with pytest.raises(NotFound, match="there is no group") as caught:
        find_account(None, group)
    assert caught.value.fields == {"kind": "group", "name": str(group)}
