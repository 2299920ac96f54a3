"""The manifest: JSON whatever happens, entries in the order in which items end."""

import errno
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctld.gatherer.manifest import FileEntry, ItemEntry, Manifest


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def entry(index: int, *files: FileEntry) -> ItemEntry:
    return ItemEntry(
        item=index, kind="copy", what="/a", outcome="ok", seconds=0.5, bytes=3, digest="d", files=tuple(files)
    )


def test_an_empty_one(folder: int, tmp_path: Path) -> None:
    manifest = Manifest(folder, {"report": "r"})
    manifest.finish({"complete": True})
    assert json.loads((tmp_path / "manifest.json").read_bytes()) == {
        "format": 1,
        "report": "r",
        "items": [],
        "items_omitted": 0,
        "complete": True,
    }
    assert (tmp_path / "manifest.json").read_bytes().endswith(b"}\n")


def test_entries_with_any_name(folder: int, tmp_path: Path) -> None:
    manifest = Manifest(folder, {})
    manifest.add(entry(1, FileEntry(path="/a\nb�", base64="L2E=", outcome="FILE", bytes=3, sha256="s")))
    manifest.add(entry(0))
    manifest.finish({})
    text = (tmp_path / "manifest.json").read_text()
    items = json.loads(text)["items"]
    assert [item["item"] for item in items] == [1, 0]
    assert items[0]["files"] == [{"path": "/a\nb�", "base64": "L2E=", "outcome": "FILE", "bytes": 3, "sha256": "s"}]
    assert "files" not in items[1]
    assert "status" not in items[1]
    assert len(text.splitlines()) == 2 + 2 + 2  # a line for each


def test_more_than_is_reserved_at_a_time(folder: int, tmp_path: Path) -> None:
    manifest = Manifest(folder, {})
    files = tuple(FileEntry(path=f"/{number}" * 100, outcome="FILE") for number in range(2000))
    for index in range(3):
        manifest.add(entry(index, *files))
    manifest.finish({})
    assert [len(item["files"]) for item in json.loads((tmp_path / "manifest.json").read_bytes())["items"]] == [2000] * 3


def test_a_full_disk_omits_entries_and_counts_them(
    folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Manifest(folder, {})
    manifest.add(entry(0))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    manifest.add(entry(1, *[FileEntry(path="/a" * 200, outcome="FILE")] * 2000))
    manifest.add(entry(2))
    manifest.finish({"complete": False})
    read = json.loads((tmp_path / "manifest.json").read_bytes())
    assert [item["item"] for item in read["items"]] == [0, 2]
    assert read["items_omitted"] == 1


def test_no_room_for_any(folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="full"):
        Manifest(folder, {})


def test_one_that_is_there_is_not_opened(folder: int, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "manifest.json").symlink_to("target")
    with pytest.raises(FileExistsError):
        Manifest(folder, {})
    assert (tmp_path / "target").read_text() == "precious"


def test_closing_twice(folder: int) -> None:
    manifest = Manifest(folder, {})
    manifest.close()
    others = [os.dup(folder) for _ in range(3)]  # one of them has its number now
    manifest.close()
    for other in others:
        os.close(other)  # and has kept it


def test_entries_from_many_threads(folder: int, tmp_path: Path) -> None:
    manifest = Manifest(folder, {})
    barrier = threading.Barrier(8)

    def add(index: int) -> None:
        barrier.wait()
        manifest.add(entry(index))

    threads = [threading.Thread(target=add, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manifest.finish({})
    items = json.loads((tmp_path / "manifest.json").read_bytes())["items"]
    assert sorted(item["item"] for item in items) == list(range(8))
