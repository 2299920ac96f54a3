"""The environment of the peers."""

import re

import pytest

from benchmarks import peers_venv
from benchmarks.machine import PEERS
from benchmarks.processes import BenchmarkError


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


def test_where_there_can_be_none_it_says_why(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchmarkError, match="no environment for the peers"):
        peers_venv.peers_python(tmp_path / "file" / "venv")
