"""The environment of the peers: made when it is first needed, and again when what it has changes."""

import subprocess
import sys
from pathlib import Path

from benchmarks.processes import ROOT, BenchmarkError

__all__ = ["VENV", "peers_python", "versions"]

REQUIREMENTS = Path(__file__).parent / "peers" / "requirements.txt"
VENV = ROOT / ".tmp" / "venv-bench"

PIP = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet")


def pins() -> list[str]:
    """Return the packages, each with its version."""
    lines = (line.strip() for line in REQUIREMENTS.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def versions() -> dict[str, str]:
    """Return the version that each package is pinned to."""
    return dict(pin.split("==") for pin in pins())


def peers_python(venv: Path = VENV) -> Path:
    """Return the interpreter of the environment, which is made if need be.

    A package that cannot be had does not keep the others away: its server says what it lacks.

    Raises:
        BenchmarkError: There can be no such environment here.
    """
    python = venv / "bin" / "python"
    stamp = venv / "requirements.txt"
    if stamp.exists() and stamp.read_text() == REQUIREMENTS.read_text():
        return python
    print(f"installing the peers into {venv.relative_to(ROOT) if venv.is_relative_to(ROOT) else venv}", flush=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True, capture_output=True)
    except subprocess.CalledProcessError as exc:
        raise BenchmarkError("no environment for the peers: this Python cannot make one") from exc
    if subprocess.run([python, *PIP, "-r", str(REQUIREMENTS)], capture_output=True).returncode:
        for pin in pins():
            subprocess.run([python, *PIP, "--no-deps", pin], capture_output=True)
    stamp.write_text(REQUIREMENTS.read_text())
    return python
