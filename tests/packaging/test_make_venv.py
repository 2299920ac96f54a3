"""`packaging/make-venv`: an environment from the best Python at hand, or a clear word."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "packaging" / "make-venv"

# Stand-ins for interpreters: they answer the script's questions, and note what they are asked to do.
OLD = 'case "$2" in *version_info*) echo "old 3.9.18";; esac'
BARE = """\
case "$*" in
*"import ensurepip"*) echo "bare $0";;
*"import pip, venv"*) exit 1;;
*version_info*) echo 3.12;;
esac
"""
BARE_WITH_PIP = """\
case "$*" in
*"import ensurepip"*) echo "bare $0";;
*"import pip, venv"*) exit 0;;
*) echo "$*" >> "$LOG";;
esac
"""
WHOLE = """\
case "$*" in
*"import ensurepip"*) echo "whole $0";;
*) echo "$0 $*" >> "$LOG";;
esac
"""
BROKEN = "echo no such version >&2; exit 127"


@pytest.fixture
def bench(tmp_path):
    """A place with fake interpreters, and a way to run the script there."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for tool in ("sh", "ls", "env"):
        (bin_folder / tool).symlink_to(f"/bin/{tool}")

    class Bench:
        log = tmp_path / "log"
        venv = tmp_path / "venv"

        def python(self, name, behaviour):
            program = bin_folder / name
            program.write_text(f"#!/bin/sh\n{behaviour}\n")
            program.chmod(0o755)
            return str(program)

        def run(self, **environ):
            environ = {"PATH": str(bin_folder), "LOG": str(self.log), **environ}
            return subprocess.run(["/bin/sh", SCRIPT, self.venv], env=environ, capture_output=True, text=True)

        def asked(self):
            return self.log.read_text() if self.log.exists() else ""

    return Bench()


def test_the_first_whole_one_is_taken(bench):
    bench.python("python3", OLD)
    bench.python("python3.13", BARE)
    taken = bench.python("python3.12", WHOLE)
    bench.python("python3.11", WHOLE)
    done = bench.run()
    assert done.returncode == 0, done.stderr
    assert bench.asked() == f"{taken} -m venv --clear {bench.venv}\n"


def test_a_wrapper_that_stands_for_nothing_is_passed_over(bench):
    bench.python("python3", BROKEN)
    taken = bench.python("python3.11", WHOLE)
    assert bench.run().returncode == 0
    assert taken in bench.asked()


def test_the_python_that_was_named_is_the_only_candidate(bench):
    bench.python("python3", WHOLE)
    done = bench.run(PYTHON=bench.python("mine", OLD))
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed" in done.stderr
    assert "is 3.9.18" in done.stderr
    assert bench.asked() == ""


def test_without_ensurepip_the_message_names_the_package(bench):
    bench.python("python3", BARE)
    done = bench.run()
    assert done.returncode == 1
    assert "its ensurepip is missing" in done.stderr
    assert "apt install python3.12-venv" in done.stderr


def test_without_ensurepip_a_pip_from_outside_helps(bench):
    bench.python("python3", BARE_WITH_PIP)
    assert bench.run().returncode == 0
    make, fill = bench.asked().splitlines()
    assert make == f"-m venv --clear --without-pip {bench.venv}"
    assert f"--python {bench.venv}/bin/python install --quiet pip" in fill


def test_no_python_at_all(bench):
    done = bench.run()
    assert done.returncode == 1
    assert "no Python found as python3" in done.stderr


def test_a_folder_that_is_no_environment_is_not_touched(bench):
    bench.python("python3", WHOLE)
    bench.venv.mkdir()
    (bench.venv / "thesis.txt").write_text("two years of work")
    done = bench.run()
    assert done.returncode == 1
    assert "is no virtual environment: not touching it" in done.stderr
    assert (bench.venv / "thesis.txt").exists()


def test_a_broken_environment_is_made_again(bench):
    taken = bench.python("python3", WHOLE)
    bench.venv.mkdir()
    (bench.venv / "pyvenv.cfg").write_text("home = /gone")
    assert bench.run().returncode == 0
    assert taken in bench.asked()


def test_a_real_environment_is_made_and_then_kept(bench):
    first = bench.run(PYTHON=sys.executable, PATH=os.environ["PATH"])
    assert first.returncode == 0, first.stderr
    assert subprocess.run([bench.venv / "bin/python", "-m", "pip", "--version"], capture_output=True).returncode == 0
    (bench.venv / "kept").write_text("")
    second = bench.run(PYTHON=sys.executable, PATH=os.environ["PATH"])
    assert (second.returncode, second.stderr) == (0, "")
    assert (bench.venv / "kept").exists()
