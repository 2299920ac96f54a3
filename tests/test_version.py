"""The version is one place: the build, the banner and both programs read it there."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import ctld
from ctld.testing import serving
from ctld.version import VERSION

ROOT = Path(__file__).parents[1]


def test_it_is_one_that_packages_may_have():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?(\.dev\d+)?", VERSION)


def test_the_build_finds_it():
    source = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["version"]
    match = re.search(source["pattern"], (ROOT / source["path"]).read_text())
    assert match
    assert match["version"] == VERSION


def test_both_programs_and_the_package_tell_it():
    assert ctld.__version__ == VERSION
    for module, said in (("ctld", f"ctld {VERSION}\n"), ("ctlctl", f"ctlctl (ctld) {VERSION}\n")):
        command = [sys.executable, "-m", module, "--version"]
        assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout == said


async def test_the_banner_tells_it():
    async with serving() as client:
        assert await client.call("ping") == "pong"
        assert client.banner is not None
        assert client.banner["version"] == VERSION
