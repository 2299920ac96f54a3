"""Packing: everything that is in a report comes out again, and nothing else."""

import hashlib
import lzma
import os
import stat
import tarfile
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctld.errors import CommandFailed
from ctld.gatherer.beneath import closing
from ctld.gatherer.packing import Archive, PackingStopped, pack


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "r").mkdir()
    with closing(os.open(tmp_path, os.O_RDONLY)) as descriptor:
        yield descriptor


def packed(parent: int, folder: Path) -> Archive:
    return pack(parent, str(folder), "r", threading.Event())


def test_it_holds_what_the_directory_holds(parent: int, tmp_path: Path) -> None:
    top = tmp_path / "r"
    (top / "files/etc").mkdir(parents=True)
    (top / "files/empty").mkdir()
    (top / "files/etc/os-release").write_text("hello")
    (top / "files/etc/os-release").chmod(0o644)
    os.utime(top / "files/etc/os-release", (5, 5))
    (top / "files/etc/link").symlink_to("os-release")
    (top / "files/dangling").symlink_to("/no/where")
    (top / "files/folder").symlink_to("/etc")
    (top / "manifest.json").write_text("{}")
    (top / os.fsdecode(b"new\nline \xff")).write_text("odd")
    archive = packed(parent, tmp_path)
    data = Path(archive.path).read_bytes()
    assert archive == Archive(f"{tmp_path}/r.tar.xz", len(data), hashlib.sha256(data).hexdigest())
    with tarfile.open(archive.path) as tar:
        members = {member.name: member for member in tar}
        assert list(members)[:2] == ["r", "r/manifest.json"]
        assert {name: member.linkname for name, member in members.items() if member.issym()} == {
            "r/files/dangling": "/no/where",
            "r/files/etc/link": "os-release",
            "r/files/folder": "/etc",
        }
        assert {name for name, member in members.items() if member.isdir()} == {
            "r",
            "r/files",
            "r/files/empty",
            "r/files/etc",
        }
        release = members["r/files/etc/os-release"]
        assert (release.mode, release.mtime, release.size, release.uid) == (0o644, 5, 5, 0)
        odd = tar.extractfile("r/" + os.fsdecode(b"new\nline \xff"))
        assert odd is not None
        assert odd.read() == b"odd"
    assert stat.S_IMODE(os.stat(archive.path).st_mode) == 0o600


def test_what_does_not_go_in(parent: int, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    os.mkfifo(tmp_path / "r/fifo")
    os.link(tmp_path / "secret", tmp_path / "r/hard")
    with tarfile.open(packed(parent, tmp_path).path) as tar:
        assert tar.getnames() == ["r"]


def test_a_report_that_is_a_link(parent: int, tmp_path: Path) -> None:
    (tmp_path / "r").rmdir()
    (tmp_path / "r").symlink_to("/etc")
    with pytest.raises(CommandFailed, match="cannot pack the report 'r'"):
        packed(parent, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_an_archive_is_never_replaced(parent: int, tmp_path: Path) -> None:
    (tmp_path / "r.tar.xz").write_text("precious")
    with pytest.raises(CommandFailed, match=r"there is an archive 'r\.tar\.xz' already"):
        packed(parent, tmp_path)
    assert (tmp_path / "r.tar.xz").read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["r", "r.tar.xz"]


def test_the_rest_of_a_daemon_that_was_killed_is_replaced(parent: int, tmp_path: Path) -> None:
    (tmp_path / ".r.tar.xz.part").write_text("half")
    packed(parent, tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["r", "r.tar.xz"]


def test_stopping_leaves_nothing(parent: int, tmp_path: Path) -> None:
    (tmp_path / "r/a").write_text("a")
    stop = threading.Event()
    stop.set()
    with pytest.raises(PackingStopped):
        pack(parent, str(tmp_path), "r", stop)
    assert os.listdir(tmp_path) == ["r"]


def test_stopping_within_a_file(parent: int, tmp_path: Path) -> None:
    with (tmp_path / "r/huge").open("wb") as huge:
        huge.truncate(1 << 40)  # sparse: far more than can be packed in the life of this test
    stop = threading.Event()
    timer = threading.Timer(0.05, stop.set)
    timer.start()
    with pytest.raises(PackingStopped):
        pack(parent, str(tmp_path), "r", stop)
    timer.join()
    assert os.listdir(tmp_path) == ["r"]


def test_a_file_that_grows_while_it_is_packed(parent: int, tmp_path: Path) -> None:
    (tmp_path / "r/log").write_text("x" * 100_000)
    stop = threading.Event()

    class Growing(threading.Event):
        def is_set(self) -> bool:
            with (tmp_path / "r/log").open("a") as log:
                log.write("more")
            return stop.is_set()

    archive = pack(parent, str(tmp_path), "r", Growing())
    with tarfile.open(archive.path) as tar:
        assert 100_000 <= tar.getmember("r/log").size < 100_100
        assert tar.getnames() == ["r", "r/log"]


def test_a_file_that_shrinks_while_it_is_packed(parent: int, tmp_path: Path) -> None:
    (tmp_path / "r/log").write_text("x" * 100_000)

    class Shrinking(threading.Event):
        calls = 0

        def is_set(self) -> bool:
            self.calls += 1
            if self.calls == 3:  # it is open, and its size is known
                os.truncate(tmp_path / "r/log", 10)
            return False

    with pytest.raises(CommandFailed, match="cannot pack the report 'r': unexpected end of data"):
        pack(parent, str(tmp_path), "r", Shrinking())
    assert os.listdir(tmp_path) == ["r"]


def test_the_memory_does_not_depend_on_the_size(parent: int, tmp_path: Path) -> None:
    with (tmp_path / "r/large").open("wb") as large:
        large.truncate(64 * 1024 * 1024)
    tracemalloc.start()
    try:
        archive = packed(parent, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 24 * 1024 * 1024
    with lzma.open(archive.path) as file:
        assert sum(map(len, iter(lambda: file.read(1 << 20), b""))) > 64 * 1024 * 1024


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_archive_is_given_to_who_asked(parent: int, tmp_path: Path) -> None:
    archive = pack(parent, str(tmp_path), "r", threading.Event(), 65_534)
    assert os.stat(archive.path).st_uid == 65_534
