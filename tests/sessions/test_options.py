"""The `session` member of a request, typed (N4, N5)."""

import pytest

from ctld.errors import Denied, InvalidOptions
from ctld.sessions.options import SessionOptions, refuse_steering, session_options


def test_nothing_said_is_the_defaults():
    assert session_options(None, {}) == session_options({}, {}) == SessionOptions()
    assert SessionOptions().on_disconnect == "hangup"
    assert (SessionOptions().rows, SessionOptions().cols) == (24, 80)


def test_the_member_wins_over_the_options():
    wanted = session_options({"rows": 5, "tty": True}, {"rows": 6, "cols": 7})
    assert (wanted.rows, wanted.cols, wanted.tty) == (5, 7, True)


def test_null_is_nothing_said():
    assert session_options({"rows": None, "io": None, "cwd": None}, {}) == SessionOptions()


@pytest.mark.parametrize(
    ("member", "path"),
    [
        ({"rows": 0}, "$.session.rows"),
        ({"cols": 65536}, "$.session.cols"),
        ({"rows": "5"}, "$.session.rows"),
        ({"tty": 1}, "$.session.tty"),
        ({"io": "tcp"}, "$.session.io"),
        ({"env": {"A": 1}}, "$.session.env[...]"),
        ({"on_disconnect": "stay"}, "$.session.on_disconnect"),
        ({"nope": 1}, "$.session"),
    ],
)
def test_what_is_wrong_is_named(member, path):
    with pytest.raises(InvalidOptions) as wrong:
        session_options(member, {})
    assert wrong.value.fields == {"path": path}
    assert wrong.value.message.startswith("session option")


@pytest.mark.parametrize(
    "env",
    [
        {"LD_PRELOAD": "x"},
        {"PATH": "/tmp"},
        {"TERM": "../../evil"},
        {"LANG": "a\nb"},
        {"LC_": ""},
        {"xTERM": "a"},
        {"": ""},
    ],
)
def test_who_may_not_run_just_any_program_chooses_nothing_around_this_one(env):
    with pytest.raises(Denied, match="only the role admin") as caught:
        refuse_steering(SessionOptions(env={"TERM": "xterm", **env}))
    assert str(caught.value).isprintable()
    with pytest.raises(Denied, match="the directory"):
        refuse_steering(SessionOptions(cwd="/tmp"))


def test_the_terminal_and_the_language_are_the_clients():
    refuse_steering(SessionOptions())
    refuse_steering(
        SessionOptions(env={"TERM": "xterm-256color", "LANG": "de_AT.UTF-8", "LC_TIME": "C", "COLUMNS": "80"})
    )
