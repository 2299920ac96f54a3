"""Manual pages are those that the reference makes, completions those that ctlctl prints; and both can be used."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "packaging" / "man").iterdir())


def test_they_are_fresh():
    command = [sys.executable, ROOT / "docs" / "packaged.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("shell", "name"), [("bash", "ctlctl.bash"), ("zsh", "_ctlctl"), ("fish", "ctlctl.fish")])
def test_completions_are_what_ctlctl_prints(shell, name):
    command = [sys.executable, "-m", "ctlctl", "completion", shell]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == (ROOT / "packaging" / "completions" / name).read_text()
    if shutil.which(shell):
        subprocess.run([shell, "-n", ROOT / "packaging" / "completions" / name], check=True, timeout=60)


def test_they_are_all_there():
    assert [path.name for path in PAGES] == ["ctlctl.1", "ctld.8", "ctld.toml.5"]


@pytest.mark.interop
@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_groff_finds_no_fault(path):
    command = ["groff", "-man", "-Tutf8", "-ww", "-z", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.interop
@pytest.mark.skipif(not shutil.which("man"), reason="man is not installed")
def test_man_knows_what_they_are_about():
    done = subprocess.run(["man", "-l", *PAGES], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for line in ("ctlctl - ask a control daemon", "ctld - a control daemon", "ctld.toml - configuration"):
        assert line in done.stdout
