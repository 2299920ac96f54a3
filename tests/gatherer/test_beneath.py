"""Reading a foreign tree: no link is followed, nothing is opened that could hang."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctld.gatherer.beneath import TreeReader, closing, open_regular


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[TreeReader]:
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/one").write_text("1")
    (root / "a/b/two").write_text("2")
    (root / "a/three").write_text("3")
    (root / "four").write_text("4")
    (tmp_path / "secret").write_text("secret")
    with closing(os.open(root, os.O_RDONLY)) as descriptor:
        reader = TreeReader(descriptor)
        yield reader
        reader.close()


def read(reader: TreeReader, path: str) -> bytes:
    with closing(reader.open(path.encode().split(b"/"))) as descriptor:
        return os.read(descriptor, 10)


def test_files_in_any_order(reader: TreeReader) -> None:
    paths = ["a/b/one", "a/b/two", "a/three", "four", "a/b/one"]
    assert [read(reader, path) for path in paths] == [b"1", b"2", b"3", b"4", b"1"]


@pytest.mark.parametrize("path", ["link", "folder/secret", "fifo", "hard", "a", "none", "a/none", "four/x"])
def test_what_is_not_opened(reader: TreeReader, tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    (root / "link").symlink_to("../secret")
    (root / "folder").symlink_to("..")
    os.mkfifo(root / "fifo")
    os.link(tmp_path / "secret", root / "hard")
    with pytest.raises(OSError):
        reader.open(path.encode().split(b"/"))
    assert read(reader, "a/b/one") == b"1"  # it goes on


def test_a_component_that_becomes_a_link(reader: TreeReader, tmp_path: Path) -> None:
    assert read(reader, "a/b/one") == b"1"
    (tmp_path / "root/a").rename(tmp_path / "moved")
    (tmp_path / "root/a").symlink_to(tmp_path)
    with pytest.raises(OSError):
        reader.open([b"a", b"secret"])


def test_a_refused_file_is_closed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with closing(os.open(tmp_path, os.O_RDONLY)) as parent, pytest.raises(PermissionError):
        open_regular("fifo", parent)
