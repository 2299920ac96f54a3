"""The environment of the peers."""

import re

from benchmarks import peers_venv
from benchmarks.machine import PEERS


def test_every_version_is_pinned():
    assert all(re.fullmatch(r"[\w.-]+==[\d.]+", pin) for pin in peers_venv.pins())
    assert {"aiohttp", "grpcio", "starlette", "supervisor", "uvicorn", "uvloop", "varlink"} <= set(
        peers_venv.versions()
    )
    assert set(PEERS) <= set(peers_venv.versions())


def test_an_environment_with_these_packages_is_kept(tmp_path):
    (tmp_path / "requirements.txt").write_text(peers_venv.REQUIREMENTS.read_text())
    assert peers_venv.peers_python(tmp_path) == tmp_path / "bin" / "python"
    assert not (tmp_path / "bin").exists()
