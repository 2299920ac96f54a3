"""ctlctl.suggest: what a mistyped word was likely to be."""

import pytest

from ctlctl.suggest import closest_commands, no_such_command, no_such_option

NAMES = ["job_list", "job_start", "job_stop", "ping", "status", "vm_console_open"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["jb", "start"], "this daemon has no command 'jb start'; did you mean 'job start'?"),
        (["pnig"], "this daemon has no command 'pnig'; did you mean 'ping'?"),
        (["job", "strat", "web"], "this daemon has no command 'job strat web'; did you mean 'job start'"),
        (["zebra"], "this daemon has no command 'zebra'"),
        (["job"], "job needs a further word: list, start, stop"),
        (["vm"], "vm needs a further word: console open"),
    ],
)
def test_commands(words: list[str], text: str) -> None:
    assert no_such_command(words, NAMES).startswith(text)


def test_a_large_group_is_not_named_whole() -> None:
    text = no_such_command(["x"], [f"x_{number}" for number in range(20)])
    assert text.endswith(", ...")
    assert text.count(",") == 8


def test_at_most_three_and_the_likeliest_first() -> None:
    assert closest_commands(["job_sta"], [*NAMES, "job_stat", "job_stay"])[0] in ("job_stat", "job_stay", "job_start")
    assert len(closest_commands(["job_sta"], [*NAMES, "job_stat", "job_stay"])) == 3


def test_options() -> None:
    assert no_such_option("x", "--nmae", ["--name", "--size"]) == "x has no option --nmae; did you mean '--name'?"
    assert no_such_option("x", "--zebra", ["--name"]) == "x has no option --zebra"
