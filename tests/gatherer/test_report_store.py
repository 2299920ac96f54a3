"""The directory of reports: names stay names, and nobody else's directory is used."""

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from ctld.errors import CommandFailed, NotFound
from ctld.gatherer.report_store import ReportStore
from ctld.processes.accounts import Account

ME = Account(None, None, None)


@pytest.fixture
def store(tmp_path: Path) -> ReportStore:
    return ReportStore(tmp_path / "state/reports")


def made(store: ReportStore, name: str) -> Path:
    draft = store.create(name, ME, {"report": name})
    draft.finish({})
    return draft.path


def test_a_life(store: ReportStore) -> None:
    assert store.list() == []
    path = made(store, "one")
    assert path == Path(store.directory, "one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert sorted(os.listdir(path)) == ["commands", "files", "manifest.json"]
    assert [(info.name, info.kind, info.bytes) for info in store.list()] == [("one", "directory", None)]
    archive = store.pack("one", threading.Event())
    assert not path.exists()
    assert [(info.name, info.kind, info.bytes) for info in store.list()] == [("one", "archive", archive.bytes)]
    descriptor = store.open_archive("one")
    os.close(descriptor)
    store.remove("one")
    assert store.list() == []


def test_a_name_that_is_taken(store: ReportStore) -> None:
    made(store, "one")
    with pytest.raises(CommandFailed, match="there is a report 'one' already"):
        made(store, "one")
    store.pack("one", threading.Event())
    with pytest.raises(CommandFailed, match="there is a report 'one' already"):
        made(store, "one")


def test_what_is_not_there(store: ReportStore) -> None:
    with pytest.raises(NotFound):
        store.pack("none", threading.Event())
    with pytest.raises(NotFound):
        store.remove("none")
    with pytest.raises(NotFound, match="no packed report"):
        store.open_archive("none")


def test_what_else_lies_there_is_not_listed(store: ReportStore) -> None:
    made(store, "one")
    folder = Path(store.directory)
    (folder / "link").symlink_to("/etc")
    (folder / "note.txt").write_text("")
    (folder / ".two.tar.xz.part").write_text("")
    (folder / "evil.tar.xz").symlink_to("/etc/passwd")
    assert [info.name for info in store.list()] == ["one"]
    with pytest.raises(NotFound):
        store.open_archive("evil")


def test_workers_of_others_pass_through_and_list_nothing(store: ReportStore) -> None:
    before = os.umask(0o077)
    try:
        store.list()
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(store.directory).st_mode) == 0o711


@pytest.mark.parametrize("mode", [0o733, 0o777, 0o771 | stat.S_ISVTX])
def test_a_directory_that_others_may_write_to(store: ReportStore, mode: int) -> None:
    os.makedirs(store.directory)
    os.chmod(store.directory, mode)
    with pytest.raises(CommandFailed, match="others may write to the directory of reports"):
        made(store, "one")
    assert os.listdir(store.directory) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else(store: ReportStore) -> None:
    os.makedirs(store.directory, 0o755)
    os.chown(store.directory, 65_534, -1)
    with pytest.raises(CommandFailed, match="others may write"):
        store.list()


def test_a_directory_that_is_a_link_or_a_file(store: ReportStore, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    Path(store.directory).symlink_to(tmp_path)
    with pytest.raises(CommandFailed, match="cannot be used"):
        store.list()
    Path(store.directory).unlink()
    Path(store.directory).write_text("")
    with pytest.raises(CommandFailed, match="cannot be used: File exists"):
        store.list()


def test_a_report_that_cannot_be_removed(store: ReportStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made(store, "one")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(CommandFailed, match="cannot remove the report 'one': Device or resource busy"):
        store.remove("one")
    store.pack("one", threading.Event())  # the archive counts, not the rest
    assert {info.kind for info in store.list()} == {"directory", "archive"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_copies_belong_to_the_workers_and_the_rest_does_not(store: ReportStore) -> None:
    draft = store.create("one", Account(65_534, 65_533, ()), {})
    assert (draft.root.stat().st_uid, draft.root.stat().st_gid) == (65_534, 65_533)
    assert stat.S_IMODE(draft.path.stat().st_mode) == 0o711
    assert (draft.path / "commands").stat().st_uid == 0
    draft.finish({"complete": True})
    assert stat.S_IMODE(draft.path.stat().st_mode) == 0o700
    assert json.loads((draft.path / "manifest.json").read_bytes())["complete"] is True
