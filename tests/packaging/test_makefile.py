"""The Makefile and `.ci/run`: what they promise, as far as it can be told without doing it all."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def make(*words, folder=ROOT):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", *words], cwd=folder, env=environ, capture_output=True, text=True, timeout=60)


def test_make_alone_explains_and_does_nothing(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    done = make(folder=tmp_path)
    assert done.returncode == 0
    for target in ("demo", "test", "run", "lint", "types", "docs", "bench", "bench-full", "bench-micro", "fuzz"):
        assert f"make {target} " in done.stdout
    assert os.listdir(tmp_path) == ["Makefile"]


@pytest.mark.parametrize(
    "target", ["demo", "test", "suite", "run", "lint", "types", "docs", "bench", "bench-full", "bench-micro", "fuzz"]
)
def test_each_target_brings_its_own_set_up(target, tmp_path):
    done = make("-n", target, f"VENV={tmp_path}/venv")
    assert done.returncode == 0, done.stderr
    assert "packaging/make-venv" in done.stdout
    assert "pip" in done.stdout


def test_a_second_call_sets_up_nothing(tmp_path):
    stamps = tmp_path / "venv" / ".stamps"
    stamps.mkdir(parents=True)
    for name in ("venv", "install", "test"):
        (stamps / name).write_text("")
    done = make("-n", "test", f"VENV={tmp_path}/venv")
    assert "pip" not in done.stdout
    assert "pytest" in done.stdout


def test_clean_leaves_alone_what_is_no_environment(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("home", "venv"):
        (tmp_path / name).mkdir()
    (tmp_path / "venv/pyvenv.cfg").write_text("")
    for name in ("home", "venv"):
        assert make("clean", f"VENV={name}", folder=tmp_path).returncode == 0
    assert (tmp_path / "home").is_dir()
    assert not (tmp_path / "venv").exists()


@pytest.fixture
def checkout(tmp_path):
    """`.ci/run` in a folder where `make` is played by a script that notes its calls."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    programs = tmp_path / "programs"
    programs.mkdir()
    (tmp_path / ".venv/bin").mkdir(parents=True)

    def program(name, text):
        path = programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    program("make", f'echo "$*" >> {tmp_path}/calls; env > {tmp_path}/environ; echo "==== 7 passed in 0.10s ===="')
    program("python3.12", "exit 1")
    program("python3.13", "echo /the/real/python3.13")
    for tool in ("socat", "jq", "tmux", "systemd-socket-activate"):
        program(tool, "exit 0")
    (tmp_path / ".venv/bin/python").write_text("#!/bin/sh\necho 3.11\n")
    (tmp_path / ".venv/bin/python").chmod(0o755)

    class Checkout:
        folder = tmp_path

        def run(self, **environ):
            environ = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path), **environ}
            return subprocess.run(
                [tmp_path / ".ci/run"],
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
            )

        def calls(self):
            return (tmp_path / "calls").read_text().splitlines()

    checkout = Checkout()
    checkout.program = program
    return checkout


def test_ci_does_everything_and_repeats_the_closing_lines(checkout):
    done = checkout.run(PYTHONDONTWRITEBYTECODE="1", CTLD_SOCKET="/x", PYTEST_ADDOPTS="-x")
    assert done.returncode == 0, done.stdout
    assert checkout.calls() == [
        "test ARGS=--reruns 2 --reruns-delay 2",
        "lint types docs",
        "demo",
        "suite PYTHON=/the/real/python3.13 VENV=.tmp/venv-3.13 ARGS=--reruns 2 --reruns-delay 2 -n auto -m 'not slow' tests/wire tests/commands/test_dispatch.py tests/test_connection.py tests/test_conversation.py tests/test_beside.py",  # noqa: E501 - a command line as it is
    ]
    assert done.stdout.splitlines()[-1] == "test: ==== 7 passed in 0.10s ===="
    assert "Python 3.12 is not here" in done.stdout
    environ = (checkout.folder / "environ").read_text()
    assert "CTLD_INTEROP=required" in environ
    for name in ("PYTHONDONTWRITEBYTECODE", "CTLD_SOCKET", "PYTEST_ADDOPTS"):
        assert name not in environ


@pytest.mark.parametrize("step", ["test", "lint", "demo", "suite"])
def test_ci_fails_with_the_step_that_fails(checkout, step):
    checkout.program("make", f'[ "$1" != {step} ] || {{ echo "==== 1 failed in 0.10s ===="; exit 2; }}')
    done = checkout.run()
    assert done.returncode != 0
    assert "FAILED with status" in done.stdout
    assert "all is well" not in done.stdout


def test_the_readme_names_the_two_commands():
    quick_start = (ROOT / "README.md").read_text().split("## Quick start")[1].split("##")[0]
    assert "make demo" in quick_start
    assert "make test" in quick_start
