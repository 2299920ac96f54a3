"""`ctlctl job attach`: its words."""

import pytest

from ctlctl.exits import UsageError
from ctlctl.session_arguments import OSCTL_KEYS, parse_session_arguments


def test_words():
    arguments = parse_session_arguments("job_attach", ["--read-only", "--osctl", "web/api"])
    assert (arguments.command, arguments.tty) == ("job_attach", True)
    assert arguments.opts == {"name": "web/api", "read_only": True}
    assert arguments.detach_keys == OSCTL_KEYS
    assert arguments.shown == ["job", "attach", "--read-only", "--osctl", "web/api"]


@pytest.mark.parametrize("words", [[], ["a", "b"]])
def test_one_job(words):
    with pytest.raises(UsageError, match="job attach takes the name of one job"):
        parse_session_arguments("job_attach", words)


def test_it_is_a_terminals_affair(run):
    status, out, err = run.against([], "job", "attach", "web")
    assert (status, out) == (2, "")
    assert "the standard input is no terminal: a job is joined with one" in err
