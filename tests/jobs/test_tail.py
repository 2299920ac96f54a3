"""The end of a file and what is written to it: the last lines, pieces, rotation, what is no line."""

import os

import pytest

from ctld.jobs.tail import LogLine, LogTail


@pytest.fixture
def path(tmp_path):
    return tmp_path / "0_out"


@pytest.fixture
def tail(path):
    tails = []

    def tail(lines: int = 10) -> LogTail:
        tails.append(LogTail(0, str(path), lines))
        return tails[-1]

    yield tail
    for made in tails:
        made.close()


def texts(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines]


@pytest.mark.parametrize(
    ("content", "lines", "expected"),
    [
        (b"", 3, []),
        (b"\n", 1, [""]),
        (b"a\nb\nc\n", 2, ["b", "c"]),
        (b"a\nb\nc", 2, ["b"]),  # and "c", once it is waited for
        (b"a\n\n\n", 2, ["", ""]),
        (b"a\nb\n", 0, []),
        (b"a\nb\n", 100, ["a", "b"]),
    ],
)
def test_the_last_lines(path, tail, content, lines, expected):
    path.write_bytes(content)
    assert texts(tail(lines).read()) == expected


def test_the_last_lines_of_a_large_file(path, tail):
    path.write_bytes(b"".join(b"%d %s\n" % (number, b"x" * 300) for number in range(3000)))
    one = tail(1000)
    found = texts(one.read() + one.read())
    assert [line.split()[0] for line in found] == [str(number) for number in range(2000, 3000)]


def test_the_search_for_lines_has_an_end(path, tail):
    with path.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    one = tail(1)
    assert sum(len(line.text) for line in one.read()) <= 256 * 1024
    assert os.lseek(one._fd, 0, os.SEEK_CUR) > 59 * 1024 * 1024


def test_a_file_that_comes_later_is_read_from_its_beginning(path, tail):
    one = tail(0)
    assert one.read() == []
    path.write_text("first\n")
    assert texts(one.read()) == ["first"]


def test_an_unfinished_line_is_waited_for_and_then_passed_on(path, tail):
    one = tail()
    path.write_text("prompt> ")
    assert one.read() == []
    assert one.read() == []
    assert one.read() == [LogLine(process=0, text="prompt> ", partial=True)]
    with path.open("a") as file:
        file.write("answer\n")
    assert one.read() == [LogLine(process=0, text="answer")]
    assert one.flush() == []


def test_a_character_in_two_pieces_is_one(path, tail):
    one = tail()
    path.write_bytes(b"\xc3")
    assert one.read() == []
    with path.open("ab") as file:
        file.write(b"\xbc\n")
    assert texts(one.read()) == ["ü"]


def test_a_long_line_comes_in_parts(path, tail):
    path.write_bytes(b"x" * 150_000 + b"\nend\n")
    found = tail().read()
    assert [(len(line.text), line.partial) for line in found] == [
        (65536, True),
        (65536, True),
        (18928, False),
        (3, False),
    ]


def test_a_line_without_end_is_not_hoarded(path, tail):
    path.write_bytes(b"x" * 200_000)
    one = tail()
    assert [len(line.text) for line in one.read()] == [65536] * 3
    assert [(len(line.text), line.partial) for line in one.flush()] == [(200_000 - 3 * 65536, True)]


def test_copy_and_truncate_is_followed(path, tail):
    path.write_text("one\ntwo\nthr")
    one = tail()
    assert texts(one.read()) == ["one", "two"]
    path.write_text("new\n")
    assert texts(one.read()) == ["new"]


def test_a_file_that_takes_its_place_is_followed(path, tail):
    path.write_text("one\n")
    one = tail()
    assert texts(one.read()) == ["one"]
    path.rename(path.with_suffix(".1"))
    assert one.read() == []
    path.write_text("two\n")
    assert texts(one.read()) == ["two"]


def test_only_plain_files_are_read(path, tail):
    os.mkfifo(path)
    with pytest.raises(OSError, match="it is no plain file"):
        tail().read()
    path.unlink()
    path.symlink_to("/etc/hostname")
    with pytest.raises(OSError, match="symbolic links"):
        tail().read()
