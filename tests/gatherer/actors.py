"""Programs that stand in for a worker and misbehave, and waiting for processes without blocking the loop."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ctld.gatherer.restarts import Patience

QUICK = Patience(start=20, grace=0.2, probe=0.2, probe_interval=1000, first_delay=0.001, last_delay=0.01, crashes=1000)

PRELUDE = """\
import os, signal, sys, time
def say(text): os.write(1, text)
def mutter(text): os.write(2, text)
def hear():
    line = b""
    while not line.endswith(b"\\n"):
        byte = os.read(0, 1)
        if not byte: sys.exit(0)
        line += byte
    return line.rstrip(b"\\n")
"""


def actor(path: Path, role: str) -> str:
    """Write a program that takes a worker's place; return what a profile's `python` names."""
    path.write_text(f"#!{sys.executable} -IS\n{PRELUDE}{role}")
    path.chmod(0o755)
    return str(path)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for the state of another process."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


def usable_interpreter() -> str:
    """An interpreter that nobody may run."""
    if os.geteuid():
        pytest.skip("only root may become somebody else")
    repository = Path(__file__).parents[2]
    for path in [*repository.parents, repository]:
        if not path.stat().st_mode & 0o001:
            pytest.skip("the checkout is out of reach for other users")
    for name in (
        "/usr/bin/python3.13",
        "/usr/bin/python3.12",
        "/usr/bin/python3.11",
        "/usr/local/bin/python3",
        "/usr/bin/python3",
    ):
        check = "import sys; sys.exit(sys.version_info < (3, 11))"
        if os.path.exists(name) and not subprocess.run([name, "-IS", "-c", check], user="nobody").returncode:
            return name
    pytest.skip("no interpreter that another user may run")
