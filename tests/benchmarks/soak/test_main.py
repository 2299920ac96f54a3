"""A short soak of a real daemon: a few seconds of everything."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_short_soak_passes():
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", "0.1", "--seed", "7", "--clients", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=220)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    assert done.stdout.endswith("all is well\n")
    for line in ("seed 7, 0.1 minutes, 4 clients at once", "every answered request is in the log exactly once"):
        assert line in done.stdout
