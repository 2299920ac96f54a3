"""`examples/support-report.toml`: something real of the machine on which it runs."""

import asyncio
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

from ctld.commands.gather import gather_commands
from ctld.gatherer.pool import Pool
from ctld.gatherer.profile import Profile
from ctld.gatherer.report_store import ReportStore
from tests.native import serving

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "examples" / "support-report.toml"


@pytest.fixture
def folder():
    # Not tmp_path: the path of a UNIX socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ctld-") as folder:
        yield Path(folder)


async def test_it_collects_this_machine(folder):
    output = folder / "report.tar.xz"
    commands = [sys.executable, "-m", "ctlctl", "-s", f"unix:{folder}/s", "gather", "report", SPEC, "-o", output]
    async with (
        Pool({"support": Profile(forbid=("/var/log/auth*",))}) as pool,
        serving(folder, gather_commands(pool, ReportStore(folder / "reports"))),
    ):
        process = await asyncio.create_subprocess_exec(
            *commands, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        out, err = await process.communicate()
    assert process.returncode == 0, err
    assert out.startswith(os.fsencode(output))
    with tarfile.open(output) as tar:
        top = tar.getnames()[0]
        manifest = json.load(tar.extractfile(f"{top}/manifest.json"))
        items = {item["what"]: item for item in manifest["items"]}
        uname = tar.extractfile(f"{top}/commands/0002-uname.out").read()
        meminfo = tar.extractfile(f"{top}/files/proc/meminfo").read()
    assert manifest["complete"] is True
    assert items["/etc/os-release"]["outcome"] == "ok"
    assert uname.split()[1] == os.fsencode(os.uname().nodename)
    assert meminfo.startswith(b"MemTotal:")
    assert items["/proc/net/*dev*"]["files"]
    assert manifest["outcomes"].get("timeout", 0) == 0
