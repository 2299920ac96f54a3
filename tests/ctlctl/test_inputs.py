"""ctlctl.inputs: values from files, the standard input, the environment and a terminal."""

import errno
import io
import os
import sys
from pathlib import Path

import pytest

from ctlctl import inputs as module
from ctlctl.exits import UsageError
from ctlctl.inputs import Inputs


def test_a_word_is_itself(tmp_path: Path) -> None:
    for word in ("x", "", "@", "a@b", "--"):
        assert Inputs().value(word) == word
    assert Inputs().value("@@x") == "@x"


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"a\nb\n", "a\nb"), (b"a\r\n", "a"), (b"a\n\n", "a\n"), (b"", ""), ("é".encode(), "é")],
)
def test_a_file_without_its_last_line_break(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "f").write_bytes(data)
    assert Inputs().value(f"@{tmp_path}/f") == text
    assert Inputs().file(f"{tmp_path}/f") == text


@pytest.mark.parametrize(
    ("path", "error"),
    [("/nowhere", "cannot read /nowhere: No such file or directory"), ("a\0b", "null"), ("/", "Is a directory")],
)
def test_a_file_that_cannot_be_read(path: str, error: str) -> None:
    with pytest.raises(UsageError, match=error):
        Inputs().file(path)


def test_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="/f is no UTF-8"):
        Inputs().file(f"{tmp_path}/f")
    monkeypatch.setattr(module, "MAX_LINE", 3)
    with pytest.raises(UsageError, match="/dev/zero has more than 3 bytes"):
        Inputs().file("/dev/zero")


def test_the_standard_input_is_one_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"long\ntext\n")))
    inputs = Inputs()
    assert inputs.value("-") == "long\ntext"
    for again in (inputs.value, inputs.file):
        with pytest.raises(UsageError, match="only one value"):
            again("-")


def test_no_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="the standard input is closed"):
        Inputs().value("-")
    assert Inputs().secret("password: ") is None


def test_a_standard_input_that_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": Broken()}))
    with pytest.raises(UsageError, match="cannot read the standard input: Input/output error"):
        Inputs().value("-")


def test_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTLD_TEST_SECRET", "s3")
    assert Inputs().variable("CTLD_TEST_SECRET") == "s3"
    with pytest.raises(UsageError, match="there is no environment variable NOPE_NOPE"):
        Inputs().variable("NOPE_NOPE")


@pytest.mark.parametrize("typed", ["s3", None])
def test_what_is_typed_unseen(monkeypatch: pytest.MonkeyPatch, typed: str | None) -> None:
    def getpass(prompt: str) -> str:
        assert prompt == "password: "
        if typed is None:
            raise EOFError
        return typed

    monkeypatch.setattr("getpass.getpass", getpass)
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"isatty": lambda self: True})())
    if typed is None:
        with pytest.raises(UsageError, match="nothing was typed"):
            Inputs().secret("password: ")
    else:
        assert Inputs().secret("password: ") == typed
