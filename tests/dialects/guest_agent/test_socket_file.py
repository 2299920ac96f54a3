"""The socket of a monitor in the file system (specification A7, A12 rows 3, 4 and 6, A14)."""

import logging
import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ctld.dialects.guest_agent.socket_file import (
    check_folder,
    folder_mode,
    make_folders,
    more_permissive,
    open_socket,
)
from ctld.errors import AddressInUse, ListenFailed


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="ga-") as folder:
        yield Path(folder)


def mode_of(path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("names", ["one", "one/two/three"])
@pytest.mark.parametrize("mask", [0, 0o077])
def test_a12_3_folders_have_exactly_the_mode(folder, names, mask):
    before = os.umask(mask)
    try:
        make_folders(str(folder / names), 0o700)
    finally:
        os.umask(before)
    for made in [folder / names, *(folder / names).parents][: names.count("/") + 1]:
        found = os.stat(made)
        assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o700, os.geteuid(), os.getegid())


def test_what_was_there_is_left_as_it_is(folder):
    (folder / "old").mkdir(mode=0o711)
    open_socket(str(folder / "old/new/s"), 0o770, None).close()
    assert mode_of(folder / "old") == 0o711
    assert mode_of(folder / "old/new") == 0o770
    make_folders(str(folder / "old"), 0o700)
    assert mode_of(folder / "old") == 0o711


@pytest.mark.parametrize(
    ("mode", "than", "expected"),
    [
        (0o754, 0o754, False), (0o755, 0o754, True), (0o764, 0o754, True), (0o754, 0o654, True),
        (0o754, 0o755, False), (0o744, 0o764, False), (0o654, 0o754, False), (0o754, 0o764, True),
    ],
)  # fmt: skip
def test_a12_4_more_permissive(mode, than, expected):
    assert more_permissive(mode, than) is expected


@pytest.mark.parametrize(("mode", "expected"), [(0o770, 0o770), (0o660, 0o770), (0o777, 0o775), (0o700, 0o700)])
def test_folders_let_those_pass_who_may_connect_and_nobody_else_write(mode, expected):
    assert folder_mode(mode) == expected


@pytest.mark.parametrize(("mode", "group"), [(0o777, "-1"), (0o770, "-1"), (0o700, "-1"), (0o770, "mine")])
def test_a12_6_modes_and_groups(folder, mode, group):
    gid = os.getgroups()[-1] if os.getgroups() else os.getegid()
    before = os.umask(0o027)
    os.umask(before)
    endpoint = open_socket(str(folder / "s"), mode, str(gid) if group == "mine" else group)
    try:
        assert mode_of(folder / "s") == mode
        if group == "mine":
            assert os.stat(folder / "s").st_gid == gid
    finally:
        endpoint.close()
    assert not (folder / "s").exists()
    assert os.umask(before) == before


def test_a14_a_group_that_is_missing_is_told_and_nobody_gets_it(folder, caplog):
    with caplog.at_level(logging.WARNING):
        endpoint = open_socket(str(folder / "s"), 0o770, "no such group")
    assert os.stat(folder / "s").st_gid == os.getegid()
    endpoint.close()
    assert "no such group" in caplog.text


def test_a14_two_on_one_path_the_first_one_stays(folder):
    path = str(folder / "s")
    endpoint = open_socket(path, 0o770, None)
    with pytest.raises(AddressInUse):
        open_socket(path, 0o770, None)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    endpoint.close()


def test_a14_a_live_socket_is_not_stolen_and_a_stale_one_is_replaced(folder):
    path = str(folder / "s")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        with pytest.raises(AddressInUse):
            open_socket(path, 0o770, None)
    open_socket(path, 0o770, None).close()  # stale now: replaced


@pytest.mark.parametrize("what", ["file", "folder", "link", "dangling"])
def test_a14_what_is_no_socket_is_left_where_it_is(folder, what):
    path = folder / "s"
    if what == "file":
        path.write_text("precious")
    elif what == "folder":
        path.mkdir()
    else:
        if what == "link":
            (folder / "target").write_text("precious")
        path.symlink_to(folder / "target")
    with pytest.raises(ListenFailed):
        open_socket(str(path), 0o770, None)
    assert os.path.lexists(path)


def test_a14_a_path_of_108_bytes_leaves_no_folder_behind(folder):
    path = folder / "new" / ("x" * (108 - len(str(folder)) - 5))
    assert len(str(path)) == 108
    with pytest.raises(ListenFailed, match="at most 107 bytes"):
        open_socket(str(path), 0o770, None)
    assert not (folder / "new").exists()


def test_a_folder_where_anybody_may_write_is_refused_unless_it_is_sticky(folder):
    folder.chmod(0o777)
    with pytest.raises(ListenFailed, match="anybody may write there"):
        open_socket(str(folder / "s"), 0o770, None)
    folder.chmod(0o1777)
    open_socket(str(folder / "s"), 0o770, None).close()


def test_a_folder_of_another_user_is_refused(folder, monkeypatch):
    if os.geteuid() == 0:
        os.chown(folder, 1234, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 99999)
    with pytest.raises(ListenFailed, match="another user"):
        check_folder(str(folder))


def test_what_cannot_be_made(folder):
    (folder / "file").write_text("")
    with pytest.raises(ListenFailed):
        open_socket(str(folder / "file/s"), 0o770, None)
    with pytest.raises(ListenFailed):
        open_socket(str(folder / "file/deeper/s"), 0o770, None)
    with pytest.raises(ListenFailed, match="no directory"):
        check_folder(str(folder / "file"))


def test_the_newer_socket_at_the_path_survives_our_close(folder):
    endpoint = open_socket(str(folder / "s"), 0o770, None)
    (folder / "s").unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / "s"))
        endpoint.close()
        assert (folder / "s").exists()


UNPRIVILEGED = """
import os, sys
from ctld.dialects.guest_agent.socket_file import open_socket
from ctld.errors import ListenFailed
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    open_socket(sys.argv[1], 0o770, "0")
except ListenFailed as error:
    print(error)
print(os.listdir(os.path.dirname(sys.argv[1])), oct(os.umask(0)))
"""


def test_a14_a_group_that_one_may_not_give_it_to_fails_cleanly(folder):
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    elif 0 in os.getgroups():
        pytest.skip("this user is in the group of root")
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, str(folder / "s")],
        capture_output=True,
        text=True,
        check=False,
        umask=0o027,
    )
    assert done.stdout.splitlines() == [
        f"cannot give {folder}/s to group 0: only root may give files away",
        "[] 0o27",
    ], done.stderr
