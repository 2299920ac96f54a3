"""A disk that is full, and has room again."""

import subprocess
import sys

import pytest

from benchmarks.soak.disk import LimitedDisk

WRITER = """
import sys
for _ in sys.stdin:
    try:
        with open(sys.argv[1], "ab") as file:
            file.write(bytes(8192))
        print("written", flush=True)
    except OSError as exc:
        print(exc.errno, flush=True)
"""


def test_files_cannot_grow_and_then_can(tmp_path):
    disk = LimitedDisk()
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "file")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:

        def attempt() -> str:
            writer.stdin.write("\n")
            writer.stdin.flush()
            return writer.stdout.readline().strip()

        assert attempt() == "written"
        disk.fill(writer.pid)
        assert attempt() == "27"  # EFBIG
        disk.empty(writer.pid)
        assert attempt() == "written"
        writer.stdin.close()


SMALL = """
import sys
from pathlib import Path

from benchmarks.soak.disk import SmallDisk, make_disk

folder = Path(sys.argv[1], "disk")
disk, kind = make_disk(folder)
if not isinstance(disk, SmallDisk):
    sys.exit(kind)


def attempt():
    try:
        (folder / "file").write_bytes(bytes(8192))
    except OSError as exc:
        return exc.errno
    return "written"


disk.fill(0)
print(attempt())
disk.empty(0)
print(attempt())
disk.empty(0)
"""


def test_a_small_disk_is_full_to_the_last_page_and_seen_by_nobody_else(tmp_path):
    done = subprocess.run([sys.executable, "-c", SMALL, str(tmp_path)], capture_output=True, text=True, timeout=50)
    if done.returncode:
        pytest.skip(done.stderr)  # to mount one takes root
    assert done.stdout.split() == ["28", "written"]  # ENOSPC
    assert not list((tmp_path / "disk").iterdir())
