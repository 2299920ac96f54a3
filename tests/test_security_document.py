"""SECURITY.md: every threat has its tests, every test exists, and the table of roles is that of the daemon."""

import ast
import os
import re
from functools import cache
from pathlib import Path

import pytest

from ctld.daemon import make_jobs, make_pool, make_server
from ctld.dialects.fss_control.handler import FssListen
from ctld.gatherer.profile import GathererSettings, Profile
from ctld.jobs.settings import JobSettings
from ctld.policy import ROLES
from ctld.settings import DaemonSettings, Settings

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text()

ROWS = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if re.match(r"\| T\d+ \|", line)]


@cache
def collected_from(path: str) -> frozenset[str]:
    """The tests that pytest would collect from a file, each as it names them."""
    found = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            methods = [each for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
            found.update(f"{node.name}::{method.name}" for method in methods)
    return frozenset(name for name in found if name.rpartition("::")[2].startswith("test_"))


def test_the_threats_are_numbered_without_a_gap() -> None:
    assert [row[0] for row in ROWS] == [f"T{number}" for number in range(1, len(ROWS) + 1)]
    assert len(ROWS) > 50


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_stands_against_a_threat_is_proved(row: list[str]) -> None:
    assert len(row) == 4
    _, tried, against, proof = row
    assert tried
    assert against
    named = re.findall(r"`([^`]+)`", proof)
    assert named, "no test"
    assert not re.sub(r"`[^`]+`| ", "", proof), "something that is no test"
    for name in named:
        path, _, test = name.partition("::")
        assert path.startswith("tests/")
        assert (ROOT / path).is_file(), path
        assert Path(path).name.startswith("test_")
        assert test in collected_from(path), name


def test_the_table_of_roles_is_that_of_the_daemon(tmp_path: Path) -> None:
    listen = FssListen(address=f"unix:{tmp_path}/s", reboot_command=("true",), kexec_command=("true",))
    settings = Settings(
        daemon=DaemonSettings(runtime_dir=str(tmp_path), state_dir=str(tmp_path)),
        jobs=JobSettings(directory=str(tmp_path)),
        gatherer=GathererSettings(profiles={"any": Profile()}),
        listen=(listen,),
    )
    server = make_server(settings, os.environ, make_jobs(settings, os.environ), make_pool(settings))
    commands = {command.name: command.role for command in server._dispatcher.commands.values()}
    told = dict(re.findall(r"^\| `(anyone|observe|operate|admin)` \| ([^|]+) \|", TEXT, re.MULTILINE))
    for role in ROLES:
        assert re.findall(r"`(\w+)`", told[role]) == sorted(name for name, needed in commands.items() if needed == role)
