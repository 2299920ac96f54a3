"""What /proc tells about a caller: right, or nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ctld.callers import CallerDetails, caller_details

UNKNOWN = CallerDetails(None, "")


def expected_loginuid(pid: int) -> int | None:
    try:
        number = int(Path(f"/proc/{pid}/loginuid").read_text())
    except OSError:
        return None
    return None if number == 2**32 - 1 else number


def test_it_describes_this_process():
    assert caller_details(os.getpid()) == (expected_loginuid(os.getpid()), os.path.realpath("/proc/self/exe"))


def test_it_describes_another_process(tmp_path: Path):
    """Its program, not what it calls itself."""
    link = tmp_path / "friendly-name"
    link.symlink_to("/bin/cat")
    with subprocess.Popen([link], stdin=subprocess.PIPE) as child:
        try:
            assert caller_details(child.pid).executable == os.path.realpath("/bin/cat")
        finally:
            child.communicate()


@pytest.mark.parametrize("pid", [None, 0, -1, 2**31 - 1])
def test_an_unknown_process_is_no_error(pid: int | None):
    assert caller_details(pid) == UNKNOWN


def test_a_process_that_has_ended_is_no_error():
    child = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert caller_details(child.pid).executable == ""  # a zombie has none
    child.wait()
    assert caller_details(child.pid) == UNKNOWN


def test_a_name_that_is_no_text_becomes_text(tmp_path: Path):
    program = os.fsencode(tmp_path) + b"/cat\xff\n"
    with open("/bin/cat", "rb") as source, open(program, "wb") as copy:
        copy.write(source.read())
    os.chmod(program, 0o700)
    with subprocess.Popen([program], stdin=subprocess.PIPE) as child:
        try:
            name = caller_details(child.pid).executable
        finally:
            child.communicate()
    name.encode()
    assert name.endswith("cat\\xff\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user's process")
def test_what_may_not_be_read_is_left_out():
    code = "import sys, ctld.callers as c; import os; os.setuid(65534); print(c.caller_details(int(sys.argv[1])))"
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as child:
        try:
            answer = subprocess.run(
                [sys.executable, "-c", code, str(child.pid)], capture_output=True, text=True, check=True, timeout=30
            )
        finally:
            child.communicate()
    assert "executable=''" in answer.stdout


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"1000", 1000),
        (b"0\n", 0),
        (b"4294967295", None),
        (b"", None),
        (b"nonsense", None),
        (None, None),
        (b"-1", None),
    ],
)
def test_loginuid(tmp_path: Path, content: bytes | None, expected: int | None):
    from ctld.callers import _loginuid

    if content is not None:
        (tmp_path / "loginuid").write_bytes(content)
    directory = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        assert _loginuid(directory) == expected
    finally:
        os.close(directory)


def test_a_loginuid_that_cannot_be_read(tmp_path: Path):
    from ctld.callers import _loginuid

    (tmp_path / "loginuid").mkdir()  # opens, and does not read
    directory = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    try:
        assert _loginuid(directory) is None
    finally:
        os.close(directory)
