"""The way to a job's files, when the job's user changes it under the daemon's feet."""

import errno
import os

import pytest

from ctld.jobs.output import open_log, rotate
from ctld.jobs.safe_folder import open_safely, safe_folder
from ctld.jobs.tail import LogTail, last_bytes

APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT

STRANGER = 54321
"""Somebody whose files are not ours: only root can make such files."""

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


@pytest.fixture
def home(tmp_path):
    """A folder of a job's user, with logs in it."""
    home = tmp_path / "home"
    (home / "logs").mkdir(parents=True)
    for path in (home, home / "logs"):
        os.chown(path, STRANGER, STRANGER)
    return home


@pytest.fixture
def etc(tmp_path):
    """A folder of root's, where a file of any content would do harm."""
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "0_secret").write_text("root's\n")
    return etc


def swap(folder, target) -> None:
    """What the job's user can do at any moment."""
    folder.rename(folder.with_name("away"))
    folder.symlink_to(target)
    os.chown(folder, STRANGER, STRANGER, follow_symlinks=False)


@only_root
def test_a_jobs_user_writes_only_in_what_is_his(home):
    fd = open_log(str(home / "logs" / "0_out"), 0o022)
    os.write(fd, b"line\n")
    os.close(fd)
    again = open_log(str(home / "logs" / "0_out"), 0o022)
    os.close(again)
    rotate(str(home / "logs" / "0_out"), 2)
    assert (home / "logs" / "0_out.1").read_text() == "line\n"


@only_root
@pytest.mark.parametrize("which", ["logs", "home"])
def test_a_folder_that_becomes_a_link_leads_nowhere(home, etc, which):
    path = str(home / "logs" / "0_job")
    (etc / "logs").mkdir()
    swap(home / "logs" if which == "logs" else home, etc)
    with pytest.raises(PermissionError, match="another user leads there"):
        open_log(path, 0o022)
    assert {entry.name for entry in etc.rglob("*")} == {"0_secret", "logs"}


@only_root
def test_a_relative_link_upwards_is_one_too(home, etc):
    swap(home / "logs", "../etc")
    with pytest.raises(PermissionError):
        open_log(str(home / "logs" / "0_job"), 0o022)


@only_root
def test_nothing_is_rotated_nor_shown_beyond_such_a_link(home, etc):
    swap(home / "logs", etc)
    path = str(home / "logs" / "0_secret")
    with pytest.raises(PermissionError):
        rotate(path, 1)
    with pytest.raises(PermissionError):
        LogTail(0, path, 10).read()
    assert last_bytes(path, 100) == b""
    assert [entry.name for entry in etc.iterdir()] == ["0_secret"]
    assert (etc / "0_secret").read_text() == "root's\n"


@only_root
def test_a_second_name_of_a_file_is_neither_written_nor_read(home, etc):
    path = str(home / "logs" / "0_out")
    os.link(etc / "0_secret", path)
    with pytest.raises(PermissionError, match="one name"):
        open_log(path, 0o022)
    with pytest.raises(PermissionError):
        rotate(path, 1)
    assert last_bytes(path, 100) == b""
    with pytest.raises(PermissionError):
        LogTail(0, path, 10).read()
    assert (etc / "0_secret").read_text() == "root's\n"


@only_root
def test_a_fifo_in_another_users_folder_is_not_written_to(home):
    os.mkfifo(home / "logs" / "0_out")
    reader = os.open(home / "logs" / "0_out", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(PermissionError):
            open_log(str(home / "logs" / "0_out"), 0o022)
    finally:
        os.close(reader)


@only_root
def test_links_of_root_may_lead_to_anybody(home, tmp_path):
    (tmp_path / "link").symlink_to(home / "logs")
    os.close(open_log(str(tmp_path / "link" / "0_out"), 0o022))
    assert (home / "logs" / "0_out").exists()


def test_who_is_not_trusted_leads_nowhere_but_to_himself(tmp_path):
    """The same without root's rights: nobody is trusted, and all here is one user's."""
    me = os.geteuid()
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to("mine")
    trusted = frozenset({os.stat(path).st_uid for path in tmp_path.parents} - {me}) | {0} - {me}
    with safe_folder(str(tmp_path / "link"), trusted=trusted) as folder:
        assert folder.trusted == (me in trusted)
        os.close(folder.open("file", APPEND))
        assert folder.has("file")
        assert not folder.has("other")
    assert (tmp_path / "mine" / "file").exists()


def test_what_is_no_folder_is_told(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for name, number in (("file", errno.ENOTDIR), ("none", errno.ENOENT), ("loop", errno.ELOOP)):
        with pytest.raises(OSError, match=name) as caught:
            open_safely(str(tmp_path / name / "log"), APPEND)
        assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / name / "log"))


def test_dots_and_slashes_are_followed(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "up").symlink_to("./b/..//b")
    os.close(open_safely(f"{tmp_path}//a/./up/log", APPEND))
    assert (tmp_path / "a" / "b" / "log").exists()
