"""The fuzzer finds what it is there for, reports it, and does it again."""

import ast

import pytest

from tests.fuzz.run import MAX_SIZE, Target, fuzz, main, make_input, targets


@pytest.mark.parametrize("name", sorted(targets()))
def test_targets_survive(name):
    target = targets()[name]
    for number in range(300):
        target.fuzz_one(make_input(target, number))


def test_the_same_number_makes_the_same_input():
    target = Target(len, (b"seed one", b"seed two"))
    inputs = [make_input(target, number) for number in range(200)]
    assert inputs == [make_input(target, number) for number in range(200)]
    assert len(set(inputs)) > 150
    assert all(len(data) <= MAX_SIZE for data in inputs)


def crash_on_ff(data):
    if b"\xff" in data:
        raise ValueError("crash")


def test_it_finds_what_is_planted():
    target = Target(crash_on_ff, (b'{"cmd": "ping"}\n',))
    number, found = fuzz(target, 20, 0)
    assert isinstance(found, ValueError)
    with pytest.raises(ValueError, match="crash"):
        target.fuzz_one(make_input(target, number))


def test_a_finding_is_reported_and_reproduced(capsys):
    known = {"planted": Target(crash_on_ff, (b"\xff" * 100,))}
    assert main(["--seconds", "0.05"], known) == 1
    reported = capsys.readouterr().out
    number = reported.split("round ")[1].split(":")[0]
    assert main(["--round", number], known) == 1
    report = capsys.readouterr().out
    assert f"planted: round {number}: ValueError: crash" in report
    assert b"\xff" in ast.literal_eval(report.split("input: ")[1].strip())


def test_a_run_that_finds_nothing(capsys):
    assert main(["--seconds", "0.05", "--target", "native"]) == 0
    assert main(["--round", "7", "--target", "native"]) == 0
    assert "native: 1 rounds, nothing found" in capsys.readouterr().out
