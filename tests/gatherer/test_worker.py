"""The worker as a process: every vector, every phase, every way to end."""

import json
import os
import pty
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ctld.errors import ConfigError
from ctld.gatherer.worker import main, parse_arguments

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/gatherer.json").read_text())["cases"]
BOTH = pytest.mark.parametrize("revision", ["v1", "v2"])

Drive = Callable[..., "Driver"]  # noqa: F821 - tests/gatherer/conftest.py has it


@BOTH
@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_vectors(drive: Drive, case: dict, revision: str) -> None:
    driver = drive(f"--sigint={revision}")
    for step in case["steps"]:
        if step.startswith("sleep "):
            driver.settle()
        elif step.startswith("SIG"):
            driver.kill(getattr(signal, step))
        else:
            driver.send(step.encode())
    want = case["spec" if revision == "v1" else "v2"]
    assert driver.end() == (want["stdout"].encode(), want["stderr"].encode(), want["rc"])


GOLDEN = {
    b"glob\n/bin/ech[o]\n": b"1\n/bin/echo\n",
    b"glob\n/?kyzh?\n": b"0\n",
    b"exec\necho lol\n": b"0\n4\nlol\n\n0\n\n",
    b"exec\nprintf abc\n": b"0\n3\nabc\n0\n\n",
    b"exec\nprintf '\\303\\251\\000\\377'; echo e >&2; exit 7\n": b"7\n4\n\xc3\xa9\x00\xff\n2\ne\n\n",
    b"exec\nkill -9 $$\n": b"-9\n0\n\n0\n\n",
    b"exec\nprintf '#1#\\n'\n": b"0\n4\n#1#\n\n0\n\n",
    b"exec\n\n": b"0\n0\n\n0\n\n",
    b"noop\n": b"",
}


@pytest.mark.parametrize(("request_", "returns"), GOLDEN.items(), ids=[key.decode() for key in GOLDEN])
def test_golden_bytes(drive: Drive, request_: bytes, returns: bytes) -> None:
    driver = drive()
    driver.send(request_ + b"exit\n")
    assert driver.end() == (b"#0#\n" + returns + b"#1#\n", b"", 0)
