"""The `session` member of a request, typed (N4, N5)."""

import pytest

from ctld.errors import InvalidOptions
from ctld.sessions.options import SessionOptions, session_options


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
