"""What is published: a wheel and an sdist, which install and run where there is nothing else."""

import os
import select
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

import pytest

from ctld.version import VERSION

ROOT = Path(__file__).parents[2]
WHEEL = f"ctld-{VERSION}-py3-none-any.whl"
SDIST = f"ctld-{VERSION}.tar.gz"
SHARED = (
    "man/man1/ctlctl.1",
    "man/man5/ctld.toml.5",
    "man/man8/ctld.8",
    "bash-completion/completions/ctlctl",
    "zsh/site-functions/_ctlctl",
    "fish/vendor_completions.d/ctlctl.fish",
)

pytestmark = pytest.mark.slow


def run(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, timeout=170, env=environ(), **options)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def environ(**more):
    """Nothing of this process's environment that could stand in for what is not installed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CTLD_", "COVERAGE_"))}
    return {**kept, **more}


def build(source, target, where):
    run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", where, cwd=source)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, "sdist", folder)
    # As pip does it: the wheel is made from the sdist, so that nothing can be missing there.
    with tarfile.open(folder / SDIST) as archive:
        archive.extractall(folder, filter="data")
    build(folder / f"ctld-{VERSION}", "wheel", folder)
    return folder


def test_the_wheel_has_what_runs_and_what_explains(distributions):
    with zipfile.ZipFile(distributions / WHEEL) as wheel:
        names = set(wheel.namelist())
    for package in ("ctld", "ctlctl"):
        wanted = {str(path.relative_to(ROOT)) for path in (ROOT / package).rglob("*.py")}
        assert wanted <= names
        assert f"{package}/py.typed" in names
    data = f"ctld-{VERSION}.data/data/share/"
    assert {f"{data}{name}" for name in SHARED} == {name for name in names if ".data/" in name}
    foreign = [name for name in names if not name.startswith(("ctld/", "ctlctl/", "ctld-"))]
    assert not foreign


def test_the_sdist_has_all_that_it_takes_to_work_on_it(distributions):
    with tarfile.open(distributions / SDIST) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("Makefile", "README.md", "CHANGELOG.md", "LICENSE", "mkdocs.yml", "docs/index.md", "docs/generate.py"):
        assert name in names
    for name in ("tests/conftest.py", "examples/minimal.py", "benchmarks/load.c", "packaging/systemd/ctld.service"):
        assert name in names
    assert not [name for name in names if "__pycache__" in name or name.startswith((".venv", "site/"))]


@pytest.mark.timeout(180)
def test_it_runs_from_an_environment_with_nothing_else(distributions):
    # Not tmp_path: the path of a UNIX socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ctld-wheel-") as folder:
        place = Path(folder, "venv")
        venv.create(place, with_pip=True, symlinks=True)
        pip = (place / "bin" / "python", "-m", "pip", "--disable-pip-version-check")
        run(*pip, "install", "--quiet", "--no-compile", distributions / WHEEL)
        run(*pip, "check")
        assert run(place / "bin" / "ctlctl", "--version", cwd=folder) == f"ctlctl (ctld) {VERSION}\n"
        for name in SHARED:
            assert (place / "share" / name).is_file()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
            notifications.bind(f"{folder}/notify")
            daemon = subprocess.Popen(
                [place / "bin" / "ctld", "serve", "--runtime-dir", folder],
                env=environ(NOTIFY_SOCKET=f"{folder}/notify"),
                cwd=folder,
            )
            try:
                ready, _, _ = select.select([notifications], [], [], 30)
                assert ready
                assert b"READY=1" in notifications.recv(4096)
                assert run(place / "bin" / "ctlctl", "-s", f"{folder}/ctld.sock", "ping", cwd=folder) == "pong\n"
            finally:
                daemon.send_signal(signal.SIGTERM)
                assert daemon.wait(30) == 0
