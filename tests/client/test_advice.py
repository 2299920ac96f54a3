"""ctld.client.advice: every reason why a connection fails, in one line that says what to do."""

import errno
import grp
import os
import pwd
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from ctld.address import parse_address
from ctld.client import advice
from ctld.client.advice import connect_failed


def said(address: str, error: OSError) -> str:
    text = str(connect_failed(parse_address(address), error))
    assert "\n" not in text
    return text


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR])
def test_nobody_listens(number: int) -> None:
    assert said("/run/x", os_error(number)) == "no daemon listens on unix:/run/x: is it running?"
    assert said("tcp:[::1]:5", os_error(number)) == "no daemon listens on tcp:[::1]:5: is it running?"


@pytest.mark.parametrize("error", [TimeoutError("timed out"), BlockingIOError(errno.EAGAIN, "again")])
def test_nobody_accepts(error: OSError) -> None:
    assert said("/run/x", error) == "no daemon takes connections on unix:/run/x: is it stuck?"


def test_no_such_host() -> None:
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert said("tcp:nowhere:5", error) == "cannot find the host 'nowhere': Name or service not known"


def test_anything_else() -> None:
    assert said("tcp:x:5", os_error(errno.EHOSTUNREACH)) == "cannot connect to tcp:x:5: No route to host"
    assert said("tcp:x:5", OSError("odd")) == "cannot connect to tcp:x:5: odd"


def test_tls() -> None:
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")
    error.reason = "WRONG_VERSION_NUMBER"
    assert said("tls:x:5", error) == "TLS with tls:x:5 failed: wrong version number"
    refused = ssl.SSLCertVerificationError(1, "certificate verify failed")
    refused.verify_message = "self-signed certificate"
    assert said("tls:x:5", refused) == "TLS with tls:x:5 failed: self-signed certificate"


@pytest.fixture
def guarded(tmp_path: Path) -> Path:
    path = tmp_path / "ctld.sock"
    path.touch()
    return path


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int, int]]:
    """Give paths another owner, group and mode than this test could give them."""
    table: dict[str, tuple[int, int, int]] = {}
    real = os.stat

    def fake(path: Any, **further: Any) -> os.stat_result:
        if path not in table:
            return real(path, **further)
        uid, gid, mode = table[path]
        if mode < 0:
            raise PermissionError
        values = list(real("/"))
        values[0], values[4], values[5] = mode, uid, gid
        return os.stat_result(values)

    monkeypatch.setattr(advice.os, "stat", fake)
    return table


SOCKET = 0o140000
FOLDER = 0o040000
GROUP = grp.getgrall()[1]
USER = pwd.getpwall()[1]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_b44_the_group_of_the_socket(guarded: Path, owner: dict[str, tuple[int, int, int]], number: int) -> None:
    owner[str(guarded)] = (0, GROUP.gr_gid, SOCKET | 0o660)
    assert said(str(guarded), os_error(number)) == (
        f"permission denied on {guarded}: join the group {GROUP.gr_name}, or run as root"
    )


def test_b44_a_group_that_has_no_name(guarded: Path, owner: dict[str, tuple[int, int, int]]) -> None:
    owner[str(guarded)] = (0, 4_000_000, SOCKET | 0o660)
    assert "join the group 4000000, or run as root" in said(str(guarded), os_error(errno.EACCES))


@pytest.mark.parametrize(("gid", "mode"), [(0, 0o660), (GROUP.gr_gid, 0o640)], ids=["root's", "may not write"])
def test_b44_a_group_that_does_not_help(
    guarded: Path, owner: dict[str, tuple[int, int, int]], gid: int, mode: int
) -> None:
    owner[str(guarded)] = (0, gid, SOCKET | mode)
    assert said(str(guarded), os_error(errno.EACCES)) == f"permission denied on {guarded}: run as root"


def test_b44_somebody_elses_socket(guarded: Path, owner: dict[str, tuple[int, int, int]]) -> None:
    owner[str(guarded)] = (USER.pw_uid, 0, SOCKET | 0o600)
    assert f"run as {USER.pw_name}, or as root" in said(str(guarded), os_error(errno.EACCES))
    owner[str(guarded)] = (4_000_000, 0, SOCKET | 0o600)
    assert "run as uid 4000000, or as root" in said(str(guarded), os_error(errno.EACCES))


def test_b44_the_folder_denies(guarded: Path, owner: dict[str, tuple[int, int, int]]) -> None:
    owner[str(guarded)] = (0, 0, -1)
    owner[str(guarded.parent)] = (0, GROUP.gr_gid, FOLDER | 0o750)
    assert f"join the group {GROUP.gr_name}" in said(str(guarded), os_error(errno.EACCES))
    owner[str(guarded.parent)] = (0, GROUP.gr_gid, FOLDER | 0o700)
    assert said(str(guarded), os_error(errno.EACCES)).endswith(": run as root")


def test_nothing_can_be_looked_at(owner: dict[str, tuple[int, int, int]]) -> None:
    for path in ("/a/b", "/a", "/"):
        owner[path] = (0, 0, -1)
    assert said("/a/b", os_error(errno.EACCES)) == "permission denied on /a/b: run as root"


def test_abstract_sockets_have_no_group() -> None:
    assert said("unix:@x", os_error(errno.EACCES)) == "cannot connect to unix:@x: Permission denied"
