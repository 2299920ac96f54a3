import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctld.gatherer.tree import Place, Tree, identity

Owner = tuple[int, int]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(os.fsencode(tmp_path))
    yield tree
    tree.close()


def test_a_root_must_be_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError):
        Tree(os.fsencode(tmp_path / "file"))
    with pytest.raises(FileNotFoundError):
        Tree(os.fsencode(tmp_path / "none"))


def test_a_place_is_made_when_it_is_needed(tree: Tree, tmp_path: Path) -> None:
    place = Place(tree, [b"a", b"b"])
    assert os.listdir(tmp_path) == []
    place.close()  # nothing to close
    descriptor = place.descriptor
    assert place.descriptor == descriptor
    status = (tmp_path / "a/b").stat()
    assert identity(os.fstat(descriptor)) == identity(status)
    assert tree.contains(status)
    assert tree.contains((tmp_path / "a").stat())
    assert tree.contains(tmp_path.stat())
    assert not tree.contains(Path("/").stat())
    place.close()
    place.close()


def test_entering_tells_what_was_made(tree: Tree, tmp_path: Path) -> None:
    root = tree.open_root()
    for made in (True, False):
        descriptor, told = tree.enter(root, b"a")
        assert told is made
        os.close(descriptor)
    descriptor, told = tree.enter(root, b"")
    assert (identity(os.fstat(descriptor)), told) == (tree.root, False)
    os.close(descriptor)
    os.close(root)


@pytest.mark.parametrize("kind", ["link", "broken", "file", "fifo"])
def test_what_is_no_directory_is_not_entered(tree: Tree, tmp_path: Path, kind: str) -> None:
    (tmp_path / "there").mkdir()
    {
        "link": lambda path: path.symlink_to("there"),
        "broken": lambda path: path.symlink_to("nowhere"),
        "file": lambda path: path.write_text(""),
        "fifo": os.mkfifo,
    }[kind](tmp_path / "x")
    place = Place(tree, [b"x", b"below"])
    with pytest.raises(NotADirectoryError):
        _ = place.descriptor
    assert os.listdir(tmp_path / "there") == []


def test_file_systems_that_say_eloop_of_a_link(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree.open_root()

    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.ELOOP, "as 9p has it")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(NotADirectoryError):
        tree.enter(root, b"x")
    monkeypatch.undo()
    os.close(root)


def test_links(tree: Tree, tmp_path: Path) -> None:
    root = tree.open_root()
    tree.link(root, b"x", b"\xff text")
    assert os.readlink(os.fsencode(tmp_path / "x")) == b"\xff text"
    with pytest.raises(FileExistsError):
        tree.link(root, b"x", b"other")
    os.close(root)


@AS_ROOT
def test_an_owner_gets_all_that_is_made(tmp_path: Path) -> None:
    tree = Tree(os.fsencode(tmp_path), (1234, 4321))
    place = Place(tree, [b"a", b"b"])
    tree.link(place.descriptor, b"l", b"x")
    for name in ("a", "a/b", "a/b/l"):
        status = (tmp_path / name).lstat()
        assert (status.st_uid, status.st_gid) == (1234, 4321)
    place.close()
    tree.close()


def test_nothing_is_left_where_the_owner_cannot_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no")

    monkeypatch.setattr(os, "chown", refuse)
    tree = Tree(os.fsencode(tmp_path), (1234, 4321))
    root = tree.open_root()
    with pytest.raises(PermissionError):
        tree.enter(root, b"d")
    with pytest.raises(PermissionError):
        tree.link(root, b"l", b"x")
    assert os.listdir(tmp_path) == []
    os.close(root)
    tree.close()
