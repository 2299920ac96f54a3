"""Files that people write: jobs, configurations of supervisord, the daemon's own TOML."""

import os
import shlex
import tempfile
import tomllib
from typing import Any

from ctld.commands.schedule_file import read_entries, write_entries
from ctld.config import TomlDocument
from ctld.errors import ConfigError
from ctld.jobs.jobfile import InvalidJobFile, parse_job_file
from ctld.jobs.ledger import Ledger
from ctld.jobs.plan import exec_digest_input
from ctld.jobs.store import InvalidJobName, check_name
from ctld.jobs.supervisord import import_supervisord
from ctld.settings import load_settings
from ctld.toml_lines import toml_lines
from tests.fuzz.targets.target import Target

__all__ = ["TARGETS"]


def fuzz_job_file(data: bytes) -> None:
    """A job file is a job that makes sense, or invalid; nothing else is raised."""
    try:
        spec = parse_job_file(data)
    except InvalidJobFile as error:
        assert error.message
        return
    assert spec.command.strip()
    assert 1 <= spec.processes <= 1000
    assert 0 <= spec.umask <= 0o777
    assert all(name and "=" not in name and "\0" not in name + value for name, value in spec.env.items())
    assert exec_digest_input(spec)


def fuzz_supervisord(data: bytes) -> None:
    """A configuration of supervisord is job files that can be loaded, and notes; or one line of error."""
    text = data.decode("utf-8", "replace")
    for config in (text, f"[program:a]\ncommand=/bin/a\n{text}"):
        try:
            imported = import_supervisord(config, {"HOME": "/home", "PATH": "/bin"}, "/etc")
        except ConfigError as error:
            assert "\n" not in str(error)
            continue
        for name, content in imported.files.items():
            check_name(name)
            spec = parse_job_file(content)
            assert shlex.split(spec.command)


def fuzz_job_names(data: bytes) -> None:
    """A name of a job stays within its directory."""
    name = data.decode("utf-8", "surrogateescape")
    try:
        check_name(name)
    except InvalidJobName as error:
        assert error.message.isprintable()
        return
    path = os.path.normpath(os.path.join("/jobs", name))
    assert path == f"/jobs/{name}"
    assert "\0" not in name
    assert name.isprintable()


def fuzz_toml(data: bytes) -> None:
    """Every key has its line, and a configuration is settings or one line of error that names one of its lines."""
    descriptor = os.memfd_create("ctld.toml")
    try:
        os.write(descriptor, data)
        path = f"/proc/self/fd/{descriptor}"
        try:
            load_settings(path)
        except ConfigError as error:
            _check_error(str(error), path, data)
    finally:
        os.close(descriptor)
    try:
        tables = tomllib.loads(data.decode())
        lines = toml_lines(data.decode())
    except (ValueError, RecursionError):
        return
    last = data.count(b"\n") + 1
    assert all(1 <= line <= last for line in lines.values())
    _check_lines(tables, lines, ())
    document = TomlDocument("x", data.decode())
    try:
        document.convert(dict[str, dict[str, int]])
    except ConfigError as error:
        assert str(error).isprintable()


def _check_error(text: str, path: str, data: bytes) -> None:
    assert text.isprintable(), text
    if text.startswith(f"{path}:"):
        line = text.removeprefix(f"{path}:").partition(":")[0]
        assert not line.isdigit() or 1 <= int(line) <= data.count(b"\n") + 1, text


def _check_lines(value: Any, lines: dict[Any, int], path: tuple[Any, ...]) -> None:
    assert not path or path in lines, f"{path} has no line"
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_lines(inner, lines, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_lines(inner, lines, (*path, index))


def fuzz_state_files(data: bytes) -> None:
    """Whatever a disk has made of what a daemon left, the next one starts: with what it understands of it."""
    with tempfile.TemporaryDirectory(prefix="ctld-fuzz-") as folder:
        path = os.path.join(folder, "x.json")
        _write(path, data)
        ledger = Ledger(folder)
        for entry in ledger.entries():
            ledger.write(entry)
            assert ledger.entries() == [entry, entry]
            ledger.forget(entry.job, entry.index)
        _write(path, data)
        if entries := read_entries(path):
            write_entries(path, entries)
            assert read_entries(path) == entries


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


TARGETS = (
    Target("state_files", fuzz_state_files),
    Target("job_file", fuzz_job_file),
    Target("supervisord", fuzz_supervisord),
    Target("job_names", fuzz_job_names),
    Target("toml", fuzz_toml),
)
