"""The file of the schedule: whole or not at all, and nothing in it is lost."""

import json
import os
from pathlib import Path

import pytest

from ctld.commands.schedule_file import ScheduledCommand, read_entries, write_entries
from ctld.errors import CommandFailed

ENTRY = ScheduledCommand(
    id="a", at=2000.5, command="job_stop", options={"name": "web", "wait": False}, peer="me", role="operate", uid=7
)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "state/schedule.json")


def test_what_is_written_is_read(path):
    assert read_entries(path) == []
    write_entries(path, [ENTRY])
    assert read_entries(path) == [ENTRY]
    write_entries(path, [])
    assert read_entries(path) == []
    assert os.listdir(os.path.dirname(path)) == ["schedule.json"]


def test_nobody_else_reads_it(path):
    before = os.umask(0)
    try:
        write_entries(path, [ENTRY])
    finally:
        os.umask(before)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700


@pytest.mark.parametrize("junk", ["junk", "[{}]", '[{"id": 1}]', "[", "\udcff", "[" * 100_000, "null"])
def test_what_is_not_understood_is_told_and_kept_aside(path, caplog, junk):
    file = Path(path)
    file.parent.mkdir()
    raw = junk.encode("utf-8", "surrogateescape")
    file.write_bytes(raw)
    assert read_entries(path) == []
    assert "the schedule is not understood, and nothing of it will run" in caplog.text
    assert f"kept as {path}.broken)" in caplog.text
    assert Path(f"{path}.broken").read_bytes() == raw
    write_entries(path, [ENTRY])
    assert read_entries(path) == [ENTRY]


def test_no_broken_file_replaces_an_older_one(path):
    file = Path(path)
    file.parent.mkdir()
    for content in ("first", "second", "third"):
        file.write_text(content)
        read_entries(path)
    assert [Path(f"{path}.broken{end}").read_text() for end in ("", ".2", ".3")] == ["first", "second", "third"]


def test_what_can_neither_be_understood_nor_moved_is_an_error(path, monkeypatch):
    file = Path(path)
    file.parent.mkdir()
    file.write_text("junk")

    def rename(old, new):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(CommandFailed, match=r"cannot read the schedule .*nor move it: Read-only file system"):
        read_entries(path)


def test_what_cannot_be_read_is_an_error_and_stays(path):
    os.makedirs(path)  # a directory is in the way
    with pytest.raises(CommandFailed, match=r"cannot read the schedule .*/schedule\.json: Is a directory"):
        read_entries(path)
    with pytest.raises(CommandFailed, match="cannot write the schedule"):
        write_entries(path, [ENTRY])


def test_a_draft_that_was_left_or_put_there_is_no_obstacle(path, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    os.makedirs(os.path.dirname(path))
    os.symlink(precious, f"{path}.new")
    write_entries(path, [ENTRY])
    assert precious.read_text() == "keep me"
    assert read_entries(path) == [ENTRY]


def test_what_cannot_be_written_leaves_the_file_as_it_was(path, monkeypatch):
    write_entries(path, [ENTRY])

    def fsync(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(CommandFailed, match="No space left on device"):
        write_entries(path, [])
    assert read_entries(path) == [ENTRY]
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]  # a draft would take what is left of the disk


def test_a_folder_that_cannot_be_synced_is_no_failure(path, monkeypatch):
    fsync = os.fsync

    def only_files(file):
        if os.path.isdir(f"/proc/self/fd/{file}"):
            raise OSError(22, "Invalid argument")
        fsync(file)

    monkeypatch.setattr(os, "fsync", only_files)
    write_entries(path, [ENTRY])
    assert read_entries(path) == [ENTRY]


def test_people_can_read_it(path):
    write_entries(path, [ENTRY])
    assert json.loads(Path(path).read_text())[0]["options"] == {"name": "web", "wait": False}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_a_file_of_another_user_is_not_read(path):
    write_entries(path, [ENTRY])
    os.chown(path, 54321, -1)
    with pytest.raises(CommandFailed, match="somebody else's"):
        read_entries(path)


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_file_that_others_may_write_is_not_read(path, mode):
    write_entries(path, [ENTRY])
    os.chmod(path, mode)
    with pytest.raises(CommandFailed, match="somebody else's"):
        read_entries(path)


def test_a_link_is_not_followed(path, tmp_path):
    write_entries(str(tmp_path / "other"), [ENTRY])
    Path(path).parent.mkdir()
    Path(path).symlink_to(tmp_path / "other")
    with pytest.raises(CommandFailed, match="cannot read"):
        read_entries(path)
