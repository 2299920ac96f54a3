"""Servers that start, and servers that do not."""

import sys

import pytest

from benchmarks.processes import BenchmarkError, running


def python(code):
    return [sys.executable, "-c", code]


def test_a_server_runs_until_the_block_ends():
    with running(python("import signal; print('ready', flush=True); signal.pause()"), "it") as process:
        assert process.poll() is None
    assert process.returncode is not None


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("raise ImportError('no module named x')", "it does not start: ImportError: no module named x"),
        ("import signal; print('hello', flush=True); signal.pause()", "it does not start: it says nothing"),
        ("pass", "it does not start: it says nothing"),
    ],
)
def test_one_that_does_not_start_says_why(code, complaint):
    with pytest.raises(BenchmarkError, match=complaint), running(python(code), "it"):
        pass
