"""Moving from supervisord: its configuration turned into job files; pure.

Most options have a counterpart.  What has none, or means something else here, is told in a
note for the person who moves, never dropped in silence.
"""

import configparser
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ctld.errors import ConfigError
from ctld.jobs.jobfile import InvalidJobFile, parse_job_file
from ctld.jobs.store import InvalidJobName, check_name
from ctld.wire.jsontext import encode

__all__ = ["Imported", "import_supervisord"]

_EXPANSION: Final = re.compile(r"%\((\w+)\)(0?\d*)([sd])|%%")

# Stands for the number of the process until the command has been quoted; no command holds a NUL.
_NUMBER: Final = "\0"

_TRUE: Final = frozenset(("true", "yes", "on", "1"))
_SIZES: Final = {"kb": 1024, "mb": 1024**2, "gb": 1024**3}

# What there is no need to tell: it is so here anyway, or it is translated with its neighbour.
_SILENT: Final = frozenset(
    ("stopasgroup", "killasgroup", "stdout_logfile_backups", "stderr_logfile_backups", "redirect_stderr")
)

# Sections that are about supervisord itself.
_ITS_OWN: Final = frozenset(("supervisord", "supervisorctl", "unix_http_server", "inet_http_server"))


@dataclass
class Imported:
    """What a configuration becomes.

    Attributes:
        files: The content of each job file, by the job's name.
        notes: What to look at, in lines.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def import_supervisord(text: str, env: Mapping[str, str], here: str) -> Imported:
    """Turn a configuration of supervisord into job files.

    Args:
        text: The configuration.
        env: What `%(ENV_X)s` stands for.
        here: What `%(here)s` stands for: the directory of the configuration.

    Raises:
        ConfigError: It is none.
    """
    parser = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ConfigError(" ".join(str(error).split())) from None
    imported = Imported()
    groups = _groups(parser)
    for section in parser.sections():
        kind, _, name = section.partition(":")
        if kind == "program":
            known = {"program_name": name, "group_name": groups.get(name, name), "here": here}
            program = _Program(name, dict(parser[section]), {**known, **_prefixed(env)})
            _add(imported, f"{groups[name]}/{name}" if name in groups else name, program)
        elif kind == "include":
            imported.notes.append(f"[include]: import these files, too: {parser[section].get('files', '')}")
        elif kind != "group" and section not in _ITS_OWN:
            imported.notes.append(f"[{section}]: there is no such thing here")
    return imported


def _groups(parser: configparser.RawConfigParser) -> dict[str, str]:
    """Return in which group a program is."""
    found = {}
    for section in parser.sections():
        kind, _, group = section.partition(":")
        if kind == "group":
            found.update(dict.fromkeys(re.split(r"[\s,]+", parser[section].get("programs", "").strip()), group))
    return found


def _prefixed(env: Mapping[str, str]) -> dict[str, str]:
    return {f"ENV_{name}": value for name, value in env.items()}


def _add(imported: Imported, name: str, program: "_Program") -> None:
    try:
        check_name(name)
        data = encode(program.job())
        parse_job_file(data)
    except (InvalidJobFile, InvalidJobName, ConfigError) as error:
        imported.notes.append(f"[program:{program.name}]: not imported: {error}")
    else:
        imported.files[name] = data + b"\n"
    imported.notes += [f"[program:{program.name}]: {note}" for note in program.notes]


class _Program:
    """One `[program:NAME]`, on its way to a job file."""

    def __init__(self, name: str, options: dict[str, str], known: Mapping[str, str]) -> None:
        self.name = name
        self.notes: list[str] = []
        self._options = options
        self._known = known

    def job(self) -> dict[str, Any]:
        """Return the keys of the job file.

        Raises:
            ConfigError: An option makes no sense.
        """
        job: dict[str, Any] = {"cmd": self._command()}
        for option, (key, read) in _SIMPLE.items():
            if option in self._options:
                job[key] = self._read(option, read)
        job.setdefault("stopTime", 10)  # the defaults differ
        job |= self._restarts()
        job |= self._logs()
        if job.get("startTime") == 0:
            job["startTime"] = 1
            self.notes.append("startsecs=0: here a process has to live for a second to count as started")
        for option in self._options:
            if option not in _SIMPLE and option not in _TRANSLATED and option not in _SILENT:
                self.notes.append(f"{option}: {_NO_COUNTERPART.get(option, 'it has no counterpart')}")
        return job

    def _command(self) -> str:
        if "command" not in self._options:
            raise ConfigError("it has no command")
        try:
            words = shlex.split(self._expand(self._options["command"]))
        except ValueError as error:
            raise ConfigError(f"command: {error}") from None
        # A shell reads it here, and none did before: quoted, the words stay what they were.
        return shlex.join(words).replace(_NUMBER, "'\"$CTLD_PROCESS\"'")

    def _restarts(self) -> dict[str, Any]:
        word = self._options.get("autorestart", "unexpected").strip().lower()
        if word != "unexpected" and word not in _TRUE:
            if "startretries" in self._options:
                self.notes.append("startretries: with autorestart=false nothing is tried again here")
            return {"restart": 0}
        self.notes.append(
            "it is restarted without bound, no more often than every startTime seconds; restartTimes is the bound"
        )
        return {"restart": 1 if word == "unexpected" else 2, "restartTimes": -1}

    def _logs(self) -> dict[str, Any]:
        logs: dict[str, Any] = {"stdout": self._log("stdout"), "stderr": self._log("stderr")}
        if self._options.get("redirect_stderr", "").strip().lower() in _TRUE:
            logs["stderr"] = logs["stdout"]
        if logs["stdout"] or logs["stderr"]:
            size = self._options.get("stdout_logfile_maxbytes", self._options.get("stderr_logfile_maxbytes", "50MB"))
            logs["logMaxBytes"] = _size(size)
            backups = self._options.get("stdout_logfile_backups", self._options.get("stderr_logfile_backups", "10"))
            logs["logBackups"] = _integer(backups)
        return logs

    def _log(self, stream: str) -> str:
        given = self._options.get(f"{stream}_logfile", "AUTO").strip()
        if given.upper() in ("NONE", "/DEV/NULL"):
            return ""
        if given.upper() == "AUTO":
            if stream == "stdout" or self._options.get("redirect_stderr", "").strip().lower() not in _TRUE:
                self.notes.append(f"{stream}_logfile: none is named, so {stream} is discarded; say where it goes")
            return ""
        path = self._expand(given)
        if given.startswith("/dev/") or given == "syslog" or _NUMBER in path.rstrip(_NUMBER):
            self.notes.append(f"{stream}_logfile={given}: output goes to plain files here; it is discarded")
            return ""
        self.notes.append(f"{stream}_logfile: the file's name begins with the number of the process: 0_NAME")
        return path.replace(_NUMBER, "")

    def _read(self, option: str, read: Callable[[str], Any]) -> Any:
        text = self._expand(self._options[option])
        if _NUMBER in text:
            raise ConfigError(f"{option}: it cannot depend on the number of the process")
        try:
            return read(text)
        except ValueError as error:
            raise ConfigError(f"{option}: {error}") from None

    def _expand(self, text: str) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name is None:
                return "%"
            if name == "process_num":
                if match[2]:
                    self.notes.append("process_num: here it is not padded with zeros")
                return _NUMBER
            if name not in self._known:
                raise ConfigError(f"nobody knows what %({name})s is")
            return self._known[name]

        return _EXPANSION.sub(value, text)


def _integer(text: str) -> int:
    try:
        return int(text.strip())
    except ValueError:
        raise ConfigError(f"{text!r} is no number") from None


def _boolean(text: str) -> bool:
    return text.strip().lower() in _TRUE


def _size(text: str) -> int:
    text = text.strip().lower()
    unit = _SIZES.get(text[-2:], 1)
    return _integer(text[:-2] if unit > 1 else text) * unit


def _codes(text: str) -> list[int]:
    return [_integer(code) for code in text.split(",")]


def _umask(text: str) -> str:
    return text.strip().rjust(3, "0")


def _signal(text: str) -> str | int:
    text = text.strip()
    return int(text) if text.isdecimal() else text


def _environment(text: str) -> list[dict[str, str]]:
    """Read `A="1",B=2`."""
    return [{"name": name, "value": value} for name, value in _pairs(text)]


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = ",\n", True, ""
    for pair in lexer:
        name, equals, value = pair.strip().partition("=")
        if not equals:
            raise ConfigError(f"environment: {pair.strip()!r} is not NAME=VALUE")
        yield name.strip(), value.strip()


_SIMPLE: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "numprocs": ("procNr", _integer),
    "autostart": ("autoStart", _boolean),
    "startsecs": ("startTime", _integer),
    "exitcodes": ("normalExitCode", _codes),
    "stopsignal": ("stopSig", _signal),
    "stopwaitsecs": ("stopTime", _integer),
    "user": ("user", str.strip),
    "directory": ("dir", str.strip),
    "umask": ("umask", _umask),
    "environment": ("env", _environment),
}
"""Options that are one key here."""

_TRANSLATED: Final = frozenset(
    (
        "command", "autorestart", "startretries", "stdout_logfile", "stderr_logfile",
        "stdout_logfile_maxbytes", "stderr_logfile_maxbytes",
    )
)  # fmt: skip

_NO_COUNTERPART: Final = {
    "priority": "say with dependsOn what has to be there first",
    "process_name": "processes have the job's name and a number",
    "numprocs_start": "processes are numbered from 0",
}
