import errno
import os

import pytest

from ctld.errors import Busy, CommandFailed, NotFound
from ctld.processes.reasons import explain, explain_report


def os_error(number: int, filename: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), filename)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (os_error(errno.ENOENT, "prog"), NotFound, "cannot start 'prog': no such program"),
        (os_error(errno.ENOTDIR, "prog"), NotFound, "cannot start 'prog': no such program"),
        (os_error(errno.EACCES, "prog"), CommandFailed, "cannot start 'prog': Permission denied"),
        (os_error(errno.ENOEXEC, "prog"), CommandFailed, "cannot start 'prog': Exec format error"),
        (os_error(errno.E2BIG, "prog"), CommandFailed, "cannot start 'prog': Argument list too long"),
        (os_error(errno.EAGAIN), Busy, "cannot start 'prog': Resource temporarily unavailable"),
        (os_error(errno.EMFILE), Busy, "cannot start 'prog': Too many open files"),
        (os_error(errno.ENOENT, "/dir"), NotFound, "cannot start 'prog': directory '/dir': No such file or directory"),
        (os_error(errno.EACCES, "/dir"), CommandFailed, "cannot start 'prog': directory '/dir': Permission denied"),
        (os_error(errno.EPERM, "/dir"), CommandFailed, "cannot start 'prog': not permitted to run it as 'www'"),
        (os_error(errno.EPERM), CommandFailed, "cannot start 'prog': not permitted to run it as 'www'"),
        (os_error(errno.EPERM, "prog"), CommandFailed, "cannot start 'prog': Operation not permitted"),
        (ValueError("embedded null byte"), CommandFailed, "cannot start 'prog': embedded null byte"),
        (OSError("odd"), CommandFailed, "cannot start 'prog': odd"),
    ],
)
def test_every_reason_names_the_program_and_the_thing(error, kind, message):
    explained = explain(error, "prog", cwd="/dir", account="www")
    assert type(explained) is kind
    assert str(explained) == message


def test_the_fields_name_what_is_missing():
    assert explain(os_error(errno.ENOENT, "prog"), "prog").fields == {"kind": "program", "name": "prog"}
    fields = explain(os_error(errno.ENOENT, "/dir"), "prog", cwd="/dir").fields
    assert fields == {"kind": "directory", "name": "/dir"}


def test_a_missing_interpreter_is_not_a_missing_program(tmp_path):
    (tmp_path / "script").touch()
    error = explain(os_error(errno.ENOENT, "./script"), "./script", cwd=str(tmp_path))
    assert str(error) == "cannot start './script': the interpreter in its first line is missing"


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("limit 1 Operation", "cannot start 'prog': cannot set its limits: Operation not permitted"),
        ("limit 0 not allowed to raise", "cannot start 'prog': cannot set its limits: not allowed to raise"),
        ("set_priority 13 x", "cannot start 'prog': cannot set its priority: Permission denied"),
        ("take_terminal 1 x", "cannot start 'prog': cannot give it the terminal: Operation not permitted"),
        ("change_user 1 x", "cannot start 'prog': cannot change its user: Operation not permitted"),
        ("bind_to_parent 22 x", "cannot start 'prog': cannot bind it to the daemon: Invalid argument"),
        ("execute 2 x", "cannot start 'prog': no such program"),
        ("execute 0 embedded null byte", "cannot start 'prog': embedded null byte"),
    ],
)
def test_the_launchers_report_reads_as_any_other(report, message):
    assert str(explain_report(report, "prog")) == message
