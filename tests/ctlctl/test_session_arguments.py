"""The command lines of sessions."""

import pytest

from ctlctl.exits import UsageError
from ctlctl.session_arguments import DOCKER_KEYS, OSCTL_KEYS, parse_session_arguments


def test_exec_takes_a_program_and_leaves_its_options_alone():
    arguments = parse_session_arguments("exec", ["ls", "-t", "-e", "--osctl", "--"])
    assert arguments.opts == {"cmd": ["ls", "-t", "-e", "--osctl", "--"]}
    assert not arguments.tty
    assert arguments.detach_keys == DOCKER_KEYS == b"\x10\x11"


def test_options_of_exec():
    words = ["-t", "-e", "A=1", "--env", "B=x=y", "-C", "/tmp", "-u", "nobody", "--osctl", "--", "-weird"]
    arguments = parse_session_arguments("exec", words)
    assert arguments.tty
    assert arguments.env == {"A": "1", "B": "x=y"}
    assert arguments.cwd == "/tmp"
    assert arguments.opts == {"user": "nobody", "cmd": ["-weird"]}
    assert arguments.detach_keys == OSCTL_KEYS == b"\x01q"


def test_values_of_variables_are_not_shown():
    arguments = parse_session_arguments("exec", ["-e", "TOKEN=s3cret", "env"])
    assert arguments.shown == ["exec", "-e", "TOKEN=***", "env"]


def test_console_and_attach():
    assert parse_session_arguments("console", []).opts == {}
    assert parse_session_arguments("console", []).tty
    assert parse_session_arguments("console", ["--", "top", "-d1"]).opts == {"cmd": ["top", "-d1"]}
    attach = parse_session_arguments("session_attach", ["--read-only", "abc"])
    assert attach.opts == {"read_only": True, "id": "abc"}
    assert attach.tty
    assert attach.shown == ["session", "attach", "--read-only", "abc"]


@pytest.mark.parametrize(
    ("command", "words", "complaint"),
    [
        ("exec", [], "needs a program"),
        ("exec", ["--"], "needs a program"),
        ("exec", ["-x", "ls"], "exec has no option -x"),
        ("exec", ["-e"], "-e needs a value"),
        ("exec", ["-e", "A", "ls"], "NAME=VALUE"),
        ("exec", ["-e", "=A", "ls"], "NAME=VALUE"),
        ("console", ["-t"], "console has no option -t"),
        ("session_attach", [], "the id of one session"),
        ("session_attach", ["a", "b"], "the id of one session"),
        ("session_attach", ["-e", "A=1", "x"], "session attach has no option -e"),
        ("exec", ["--read-only", "ls"], "no option"),
    ],
)
def test_mistakes(command, words, complaint):
    with pytest.raises(UsageError, match=complaint):
        parse_session_arguments(command, words)
