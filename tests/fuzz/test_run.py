"""The fuzzer finds what it is there for, reports it with its input, and does it again."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import engine
from tests.fuzz.mutator import make_input, mutate_for
from tests.fuzz.run import main
from tests.fuzz.targets import TARGETS, Target
from tests.fuzz.targets.go_json import TooDeep, command_of
from tests.fuzz.targets.target import CountedBytes, ways_to_cut

ROOT = Path(__file__).parents[2]


# A server for each input takes its time.
ROUNDS = dict.fromkeys(TARGETS, 60) | {"serving": 5}


@pytest.mark.parametrize("name", TARGETS)
def test_targets_survive(name):
    target = TARGETS[name]
    seeds, words = [path.read_bytes() for path in target.seeds()], target.words()
    for number in range(ROUNDS[name]):
        data = make_input(seeds, words, target.max_size, number)
        try:
            target.fuzz_one(data)
        except Exception as exc:
            exc.add_note(f"the input is {data!r}")
            raise


def test_the_same_number_makes_the_same_input():
    source = ([b"seed one", b"seed two"], [b"word"], 100)
    inputs = [make_input(*source, number) for number in range(200)]
    assert inputs == [make_input(*source, number) for number in range(200)]
    assert len(set(inputs)) > 150
    assert any(b"word" in data for data in inputs)
    assert all(len(data) <= 100 for data in inputs)


def crash_on_ff(data):
    """Bytes are anything but 0xff."""
    if b"\xff" in data:
        raise ValueError("crash")


PLANTED = Target("planted", crash_on_ff)


def test_it_finds_what_is_planted():
    rounds, data, found = mutate_for(PLANTED, 20, 0)
    assert rounds > 0
    assert isinstance(found, ValueError)
    with pytest.raises(ValueError, match="crash"):
        crash_on_ff(data)


def test_a_finding_is_reported_and_replayed(capsys, tmp_path):
    known = {"planted": PLANTED}
    assert main(["--seconds", "20", "--engine", "own", "--work", str(tmp_path)], known) == 1
    report = capsys.readouterr().out
    assert "A FINDING" in report
    assert "ValueError: crash" in report
    (path,) = (tmp_path / "findings").iterdir()
    assert b"\xff" in path.read_bytes()
    assert f"planted --replay {path}" in report
    assert main(["planted", "--replay", str(path)], known) == 1
    path.write_bytes(b"mended")
    assert main(["planted", "--replay", str(path)], known) == 0


def test_a_run_that_finds_nothing(capsys, tmp_path):
    assert main(["--seconds", "0.05", "--engine", "own", "--work", str(tmp_path), "frames"]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_it_says_plainly_where_there_is_no_guidance(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.fuzz.run.has_atheris", lambda: False)
    assert main(["--seconds", "0.05", "--work", str(tmp_path), "frames"]) == 0
    assert "atheris is not installed for Python" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["nonsense"], ["--replay", "file"]])
def test_mistakes_of_the_command_line(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "target" in capsys.readouterr().err


def test_the_program_runs_from_anywhere(tmp_path):
    command = [sys.executable, str(ROOT / "tests/fuzz/run.py"), "--seconds", "0.05", "--engine", "own", "frames"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "frames:" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not engine.has_atheris(), reason="atheris is not installed")
def test_guided_by_coverage(tmp_path):
    outcome = engine.guided(TARGETS["frames"], 1, tmp_path / "findings", tmp_path / "grown")
    assert not outcome.found, outcome.report
    assert outcome.executions > 0
    assert outcome.edges > 10
    assert list((tmp_path / "grown").iterdir())


def test_what_takes_another_way_is_kept_and_nothing_else(tmp_path):
    target, grown, kept = Target("new", TARGETS["frames"].fuzz_one), tmp_path / "grown", tmp_path / "kept"
    grown.mkdir()
    for name, data in (("short", b"\1\0\0\0\0"), ("same way", b"\2\0\0\0\0"), ("lines", b"{}"), ("long", b"{" * 9999)):
        (grown / name).write_bytes(data)
    assert engine.keep(target, grown, kept) == 2
    assert sorted(path.read_bytes() for path in kept.iterdir()) == [b"\1\0\0\0\0", b"{}"]
    assert engine.keep(TARGETS["frames"], grown, kept) == 0


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 3])
def test_cuts_lose_nothing_and_are_always_the_same(data):
    cuts = list(ways_to_cut(data))
    assert cuts == list(ways_to_cut(data))
    assert all(b"".join(pieces) == data for pieces in cuts)


def test_counted_bytes_count():
    data = CountedBytes(b"ab\ncd")
    assert data.find(b"\n") == 2
    assert data.find(b"x", 3) == -1
    assert data.rfind(b"\n", 1) == 2
    assert data[1:3] == b"b\n"
    data += b"ef"
    assert data.work == 2 + 2 + 3 + 2 + 2


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (b' {"Command":"a"}\n', "a"), (b'{"COMMAND":"a","command":null}', "a"), (b"null", ""), (b"{}", ""),
        (b'{"command":"\\u0061\\ud83d\\ude00\\ud800"}', "a\U0001f600\ufffd"), (b'{"command":"\xff"}', "\ufffd"),
        (b'{"a":[1,-0.5e+3,{"b":null}],"command":"x"}', "x"),
        (b"[]", None), (b"1", None), (b'{"Command":1}', None), (b'{"a":01}', None), (b'{"a":NaN}', None),
        (b"{} {}", None),
        (b'{"a":"\t"}', None), (b'{"a":"\\x"}', None), (b'{"a"}', None), (b"{", None), (b"", None), (b'{"a":1,}', None),
    ],
)  # fmt: skip
def test_the_slow_reading_of_requests(text, command):
    assert command_of(text) == command


def test_the_slow_reading_says_where_it_cannot_say():
    with pytest.raises(TooDeep):
        command_of(b"[" * 301)
