"""`examples/tour.py`, which is `make demo`: it goes as announced, or says where it does not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOUR = ROOT / "examples" / "tour.py"


@pytest.fixture
def environ(folder):
    """An environment with this checkout's programs on the PATH."""
    for program in ("ctld", "ctlctl"):
        script = folder / program
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {program} "$@"\n')
        script.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}


def take_the_tour(environ):
    return subprocess.run(
        [sys.executable, TOUR], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    )


def test_the_tour(folder, environ):
    done = take_the_tour(environ)
    assert done.returncode == 0, done.stdout
    for shown in (
        "$ ctlctl ping\npong\n",
        "sleep SECONDS [--steps]",
        "0.5 s have passed",
        "^C",
        "(exit status 6)",
        "needs the role admin",
        "(exit status 3)",
        '"allowed":false',
        "hello from a job\n\n# Break one, and it comes back.",
        "killed by SIGKILL",
        "$ ctlctl job tail -n 3 ticker\n",
        "web           0  stopped",
        "SIGTERM stopped the daemon in order",
    ):
        assert shown in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["ctlctl", "ctld"], "the tour left something behind"


def test_a_tour_that_does_not_go_as_announced(folder, environ):
    (folder / "ctlctl").write_text("#!/bin/sh\nexit 5\n")
    done = take_the_tour(environ)
    assert done.returncode == 1
    assert "the tour ends here: exit status 5 instead of 0" in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["ctlctl", "ctld"]


def test_a_daemon_that_does_not_start(folder, environ):
    (folder / "ctld").write_text("#!/bin/sh\necho no >&2\nexit 1\n")
    done = take_the_tour(environ)
    assert done.returncode == 1
    assert "the daemon did not start" in done.stdout
