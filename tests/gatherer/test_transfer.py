import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctld.errors import CtldError
from ctld.gatherer.transfer import TooLong, measure, write_new

CONTENT = bytes(range(256)) * 3000  # three steps


def go_on() -> None:
    """Nobody interrupts."""


@pytest.fixture
def source(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "source").write_bytes(CONTENT)
    descriptor = os.open(tmp_path / "source", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "parent").mkdir()
    descriptor = os.open(tmp_path / "parent", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def names(parent: int) -> list[str]:
    return os.listdir(parent)


def test_whole(source: int, parent: int, tmp_path: Path) -> None:
    os.chmod(source, 0o6711)
    os.utime(source, ns=(1, 999))
    assert write_new(source, parent, b"new", os.fstat(source), check=go_on) == len(CONTENT)
    status = (tmp_path / "parent/new").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_atime_ns) == (0o711, 999, 1)
    assert (tmp_path / "parent/new").read_bytes() == CONTENT


def test_from_where_the_source_stands(source: int, parent: int, tmp_path: Path) -> None:
    os.lseek(source, -10, os.SEEK_END)
    assert write_new(source, parent, b"new", os.fstat(source), check=go_on) == 10
    assert (tmp_path / "parent/new").read_bytes() == CONTENT[-10:]


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, len(CONTENT) - 1])
def test_too_long_leaves_nothing_or_is_cut(source: int, parent: int, tmp_path: Path, size: int) -> None:
    with pytest.raises(TooLong):
        write_new(source, parent, b"new", os.fstat(source), check=go_on, at_most=size)
    assert names(parent) == []
    os.lseek(source, 0, os.SEEK_SET)
    assert write_new(source, parent, b"new", os.fstat(source), check=go_on, at_most=size, cut=True) == size
    assert (tmp_path / "parent/new").read_bytes() == CONTENT[:size]


def test_exactly_fits(source: int, parent: int) -> None:
    assert write_new(source, parent, b"new", os.fstat(source), check=go_on, at_most=len(CONTENT)) == len(CONTENT)


def test_what_is_there_stays(source: int, parent: int, tmp_path: Path) -> None:
    (tmp_path / "parent/new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_new(source, parent, b"new", os.fstat(source), check=go_on)
    assert names(parent) == ["new"]
    assert not (tmp_path / "elsewhere").exists()


def test_an_interruption_leaves_nothing(source: int, parent: int) -> None:
    class Stop(CtldError):
        pass

    for last in range(3):
        left = [None] * last

        def stop(left: list[None] = left) -> None:
            if not left:
                raise Stop
            left.pop()

        os.lseek(source, 0, os.SEEK_SET)
        with pytest.raises(Stop):
            write_new(source, parent, b"new", os.fstat(source), check=stop)
        assert names(parent) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_owner(source: int, parent: int, tmp_path: Path) -> None:
    write_new(source, parent, b"new", os.fstat(source), check=go_on, owner=(123, 321))
    status = (tmp_path / "parent/new").stat()
    assert (status.st_uid, status.st_gid) == (123, 321)


def test_measure(source: int) -> None:
    steps: list[None] = []
    os.lseek(source, 5, os.SEEK_SET)
    assert measure(source, lambda: steps.append(None)) == len(CONTENT)
    assert len(steps) == 3
