"""A report while it is made: outputs, and what workers have copied."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctld.errors import CommandFailed
from ctld.gatherer.beneath import closing
from ctld.gatherer.draft import Draft, digest_of
from ctld.gatherer.manifest import FileEntry
from ctld.gatherer.replies import Copied, Executed
from ctld.processes.accounts import Account


@pytest.fixture
def draft(tmp_path: Path) -> Iterator[Draft]:
    with closing(os.open(tmp_path, os.O_RDONLY)) as parent:
        draft = Draft(parent, str(tmp_path), "r", Account(None, None, None), {})
    yield draft
    draft.abandon()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_outputs(draft: Draft) -> None:
    data = b"\xff\x00" * 300_000
    kept = draft.keep_output(3, "uname -a", Executed(1, data, b"oh"))
    assert [(file.path, file.bytes, file.sha256) for file in kept] == [
        ("0003-uname_-a.out", 600_000, sha256(data)),
        ("0003-uname_-a.err", 2, sha256(b"oh")),
    ]
    assert (draft.path / kept[0].stored).read_bytes() == data
    assert len(draft.keep_output(4, "true", Executed(0, b"", b""))) == 1


def test_an_output_that_cannot_be_kept(draft: Draft) -> None:
    draft.keep_output(1, "a", Executed(0, b"first", b""))
    assert draft.keep_output(1, "a", Executed(0, b"second", b"")) == (
        FileEntry(path="0001-a.out", outcome="FAIL", detail="EEXIST"),
    )
    assert (draft.path / "commands/0001-a.out").read_bytes() == b"first"


def test_copies_are_looked_at_again(draft: Draft) -> None:
    (draft.root / "etc").mkdir()
    (draft.root / "etc/a").write_text("hello")
    (draft.root / "etc/log.tailed").write_text("end")
    (draft.root / os.fsdecode(b"etc/\xff")).write_text("x")
    (draft.root / "etc/link").symlink_to("/etc/passwd")
    results = draft.describe_copies(
        [
            Copied("DIR", "0", b"/etc"),
            Copied("FILE", "5", b"/etc/a"),
            Copied("TAIL", "3", b"/etc/log"),
            Copied("FILE", "1", b"/etc/\xff"),
            Copied("SKIP", "special", b"/dev/null"),
            Copied("FILE", "1", b"/etc/gone"),
            Copied("FILE", "9", b"/etc/link"),
        ]
    )
    assert results == (
        FileEntry(path="/etc", outcome="DIR"),
        FileEntry(path="/etc/a", outcome="FILE", bytes=5, sha256=sha256(b"hello"), stored="files/etc/a"),
        FileEntry(path="/etc/log", outcome="TAIL", bytes=3, sha256=sha256(b"end"), stored="files/etc/log.tailed"),
        FileEntry(path="/etc/�", base64="L2V0Yy//", outcome="FILE", bytes=1, sha256=sha256(b"x"), stored="files/etc/�"),
        FileEntry(path="/dev/null", outcome="SKIP", detail="special"),
        FileEntry(path="/etc/gone", outcome="FAIL", detail="ENOENT"),
        FileEntry(path="/etc/link", outcome="FAIL", detail="ELOOP"),
    )


def test_the_digest_of_many() -> None:
    files = (FileEntry(path="a", outcome="FILE", sha256="aa"), FileEntry(path="b", outcome="SKIP"))
    assert digest_of(files) == sha256(b"aa\n")
    assert digest_of(()) == sha256(b"")


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with (
        closing(os.open(tmp_path, os.O_RDONLY)) as parent,
        pytest.raises(CommandFailed, match="cannot make the report 'r': No space left on device"),
    ):
        Draft(parent, str(tmp_path), "r", Account(None, None, None), {})
    assert os.listdir(tmp_path) == []


def test_an_end_that_cannot_be_written(draft: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(CommandFailed, match="cannot finish the report 'r': Input/output error"):
        draft.finish({})
