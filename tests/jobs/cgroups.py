"""Cgroups for jobs: those of the kernel where a test may make one, else files that look like one."""

import contextlib
import itertools
import os
import signal
from pathlib import Path

import pytest

from ctld.jobs.freezer import Freezer

__all__ = ["FakeTree", "kernel_cgroup"]

_numbers = itertools.count(1)


class FakeTree:
    """Cgroups as the kernel shows them, in a directory; this process is in one of its own.

    `cgroup.freeze` holds what was written to it last, and nothing is frozen by it.
    """

    def __init__(self, folder: Path) -> None:
        self.proc, self.cgroups = folder / "proc", folder / "cgroup"
        self.freezer = Freezer(self.proc, self.cgroups)
        self.put(os.getpid(), "/system/ctld")

    def put(self, pid: int, name: str, *, line: str | None = None) -> Path:
        """Put a process into a cgroup, and return its folder."""
        (self.proc / str(pid)).mkdir(parents=True, exist_ok=True)
        (self.proc / str(pid) / "cgroup").write_text(line or f"1:cpu:/x\n0::{name}\n")
        folder = self.cgroups / name[1:]
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "cgroup.procs", "a") as file:
            file.write(f"{pid}\n")
        if not (folder / "cgroup.freeze").exists():
            (folder / "cgroup.freeze").write_text("0")
        return folder


@pytest.fixture
def kernel_cgroup():
    """A cgroup of version 2 for a test; what is left in it at the end is killed."""
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    mount = next((Path(line[1]) for line in lines if line[2] == "cgroup2"), None)
    if mount is None:
        pytest.skip("there is no cgroup v2 here")
    folder = mount / f"ctld-test-{os.getpid()}-{next(_numbers)}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"a cgroup cannot be made here: {error.strerror}")
    if not (folder / "cgroup.freeze").exists():
        folder.rmdir()
        pytest.skip("this cgroup v2 has no freezer")
    yield folder
    (folder / "cgroup.freeze").write_text("0")
    while folder.exists():
        for pid in (folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(OSError):  # busy, as long as there is one that dies
            folder.rmdir()
