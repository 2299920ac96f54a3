"""The fuzzer finds what it is there for, and its targets survive a short run."""

import json

import pytest

from ctld.wire.native import NativeCodec
from tests.fuzz import run
from tests.fuzz.run import TARGETS, Target, check_round, fuzz, main


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_targets_survive(name):
    for number in range(400):
        check_round(TARGETS[name], number)


class Crashing(NativeCodec):
    def receive_data(self, data):
        if b"\xff" in data:
            raise ValueError("crash")
        super().receive_data(data)


class Forgetful(NativeCodec):
    """Loses the first byte of every piece after the first."""

    pieces = 0

    def receive_data(self, data):
        self.pieces += 1
        super().receive_data(data if self.pieces == 1 else data[1:])


@pytest.mark.parametrize(("codec", "finding"), [(Crashing, ValueError), (Forgetful, AssertionError)])
def test_it_finds_what_is_planted(codec, finding):
    target = Target(lambda: codec(512), TARGETS["native"].seeds)
    number, found = fuzz(target, 20, 0)
    assert isinstance(found, finding)
    with pytest.raises(finding):
        check_round(target, number)


def test_a_finding_is_reported_and_reproduced(monkeypatch, capsys):
    monkeypatch.setattr(run, "TARGETS", {"native": Target(lambda: Crashing(512), (b"\xff",))})
    assert main(["--round", "0"]) == 1
    report = capsys.readouterr().out
    assert "native: round 0: ValueError: crash" in report
    shown = report.split("input: ")[1].split(" (as")[0]
    assert "\xff" in json.loads(shown)


def test_a_run_that_finds_nothing(capsys):
    assert main(["--seconds", "0.05", "--target", "native"]) == 0
    assert main(["--round", "7"]) == 0
    assert "nothing found" in capsys.readouterr().out
