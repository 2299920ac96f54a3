"""Job files: the `.tm.json` format, validated into a frozen value.

The format is JSON with `//` comments.  Unknown keys are ignored, as files for the original
program carry what they like; a key that is known and wrong makes the file invalid, and the
error names it.
"""

import os
import re
import resource
import signal
from typing import Annotated, Any, Final

import msgspec

from ctld.errors import CommandFailed
from ctld.jobs.state import Policy, RestartMode

__all__ = ["MAX_JOB_FILE", "InvalidJobFile", "JobSpec", "parse_job_file"]

# No job needs more; the file is held in memory, and travels in one message of any dialect.
MAX_JOB_FILE: Final = 1024 * 1024

# A typing error must not start a million processes.
_MAX_PROCESSES: Final = 1000

# A year: longer waits are a mistake, and timers take no infinite ones.
_MAX_SECONDS: Final = 366 * 86400

_MAX_SIGNAL: Final = int(max(signal.valid_signals()))

_STRING_OR_COMMENT: Final = re.compile(rb'("(?:\\.|[^"\\])*")|//[^\r\n]*')

_LIMITS: Final = {
    name.removeprefix("RLIMIT_").lower(): getattr(resource, name)
    for name in dir(resource)
    if name.startswith("RLIMIT_")
}

_Seconds = Annotated[int, msgspec.Meta(ge=1, le=_MAX_SECONDS)]
_Signal = Annotated[int, msgspec.Meta(ge=1, le=_MAX_SIGNAL)] | str
# An exit code, or a signal as a negative number.
_Exit = Annotated[int, msgspec.Meta(ge=-_MAX_SIGNAL, le=255)]
_Limit = int | str
_Size = Annotated[int, msgspec.Meta(ge=0)]


class InvalidJobFile(CommandFailed):
    """A job file that cannot be used; `fields["key"]` says which key is wrong, where it is one."""

    code = "job.invalid"


class _Variable(msgspec.Struct, frozen=True):
    name: str
    value: str


class _File(msgspec.Struct, frozen=True, rename="camel"):
    """The file as it stands, before what types cannot say."""

    cmd: str
    runas: str = ""
    proc_nr: Annotated[int, msgspec.Meta(ge=1, le=_MAX_PROCESSES)] = 1
    auto_start: bool = True
    restart: Annotated[int, msgspec.Meta(ge=0, le=2)] = 1
    start_time: _Seconds = 1
    normal_exit_code: _Exit | list[_Exit] | msgspec.UnsetType = msgspec.UNSET
    normal_exit_sig: _Exit | list[_Exit] = 0
    restart_times: int = 3
    stop_sig: _Signal = int(signal.SIGTERM)
    stop_time: _Seconds = 5
    stdout: str = ""
    stderr: str = ""
    env: list[_Variable] = []
    dir: str = "."
    umask: str = "022"
    # What follows is ctld's own.
    tty: bool = False
    reload_sig: _Signal = int(signal.SIGHUP)
    user: str = ""
    group: str = ""
    limits: dict[str, _Limit | Annotated[list[_Limit], msgspec.Meta(min_length=2, max_length=2)]] = {}
    log_max_bytes: _Size = 0
    log_backups: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 3
    depends_on: list[str] = []


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a job is, as its file says.

    Attributes:
        command: A shell command, run as `sh -c "exec COMMAND"`.
        processes: How many of it there are.
        auto_start: Whether it starts when it is loaded.
        policy: When it is restarted, and what it may take its time for.
        stop_signal: What asks it to stop.
        reload_signal: What asks it to read its own configuration again.
        stdout: Where its output goes: a file name, which gets the number of the process; empty: nowhere.
        stderr: The same for its errors.
        env: What is added to the daemon's environment.
        directory: Where it runs, and where its files go; relative to the daemon's own.
        umask: Its file mode mask.
        tty: Whether it gets a terminal.
        user: Whom it runs as; empty: the daemon's user.
        group: Its primary group; empty: the user's.
        limits: Its resource limits: number of the resource to (soft, hard).
        log_max_bytes: From which size a file of its output is rotated; 0: never.
        log_backups: How many rotated ones are kept.
        depends_on: The jobs that have to be alive before it starts.
    """

    command: str
    processes: int = 1
    auto_start: bool = True
    policy: Policy = Policy()
    stop_signal: int = int(signal.SIGTERM)
    reload_signal: int = int(signal.SIGHUP)
    stdout: str = ""
    stderr: str = ""
    env: dict[str, str] = {}
    directory: str = "."
    umask: int = 0o022
    tty: bool = False
    user: str = ""
    group: str = ""
    limits: dict[int, tuple[int, int]] = {}
    log_max_bytes: int = 0
    log_backups: int = 3
    depends_on: tuple[str, ...] = ()


def parse_job_file(data: bytes) -> JobSpec:
    """Make sense of a job file.

    Raises:
        InvalidJobFile: It makes none; the message names the key and the reason.
    """
    if len(data) > MAX_JOB_FILE:
        raise InvalidJobFile(f"it has {len(data)} bytes, and no job file needs more than {MAX_JOB_FILE}")
    try:
        file = msgspec.json.decode(_without_comments(data), type=_File)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJobFile(f"not JSON: {error}") from None
    return JobSpec(
        command=_command(file),
        processes=file.proc_nr,
        auto_start=file.auto_start,
        policy=_policy(file),
        stop_signal=_signal("stopSig", file.stop_sig),
        reload_signal=_signal("reloadSig", file.reload_sig),
        stdout=_output("stdout", file.stdout),
        stderr=_output("stderr", file.stderr),
        env=_environment(file),
        directory=_path("dir", file.dir) or ".",
        umask=_umask(file.umask),
        tty=file.tty,
        user=_user(file),
        group=_path("group", file.group),
        limits=_limits(file),
        log_max_bytes=file.log_max_bytes,
        log_backups=file.log_backups,
        depends_on=tuple(dict.fromkeys(file.depends_on)),
    )


def _without_comments(data: bytes) -> bytes:
    """Blank out the comments, so that positions in errors stay true."""
    return _STRING_OR_COMMENT.sub(lambda found: found[1] or b" " * len(found[0]), data)


def _invalid(error: msgspec.ValidationError) -> InvalidJobFile:
    text, _, path = str(error).partition(" - at `$")
    key = path.rstrip("`").lstrip(".")
    if not key:
        return InvalidJobFile(_uncapitalised(text))
    return _bad(key, _uncapitalised(text))


def _bad(key: str, reason: str) -> InvalidJobFile:
    return InvalidJobFile(f"{key}: {reason}", key=key)


def _uncapitalised(text: str) -> str:
    return text[:1].lower() + text[1:]


def _command(file: _File) -> str:
    if not file.cmd.strip():
        raise _bad("cmd", "it is empty")
    return _path("cmd", file.cmd)


def _path(key: str, value: str) -> str:
    """Refuse what the system cannot take as an argument or a name."""
    if "\0" in value:
        raise _bad(key, "it holds a NUL")
    return value


def _output(key: str, value: str) -> str:
    if value and not os.path.basename(_path(key, value)):
        raise _bad(key, f"{value!r} names no file")
    return value


def _policy(file: _File) -> Policy:
    exits = file.normal_exit_sig if isinstance(file.normal_exit_code, msgspec.UnsetType) else file.normal_exit_code
    return Policy(
        restart=RestartMode(file.restart),
        restart_times=max(file.restart_times, -1),
        start_time=file.start_time,
        stop_time=file.stop_time,
        normal_exits=frozenset(exits if isinstance(exits, list) else [exits]),
    )


def _signal(key: str, value: int | str) -> int:
    if isinstance(value, int):
        return value
    name = value.upper()
    try:
        return int(signal.Signals[name if name.startswith("SIG") else f"SIG{name}"])
    except KeyError:
        raise _bad(key, f"there is no signal {value!r}") from None


def _environment(file: _File) -> dict[str, str]:
    env = {}
    for number, variable in enumerate(file.env):
        key = f"env[{number}].name"
        if not variable.name or "=" in variable.name:
            raise _bad(key, f"{variable.name!r} is no name of a variable")
        env[_path(key, variable.name)] = _path(f"env[{number}].value", variable.value)
    return env


def _umask(value: str) -> int:
    if not re.fullmatch("0?[0-7]{1,3}|0o[0-7]{1,3}", value):
        raise _bad("umask", f"{value!r} is no octal number from 0 to 0777")
    return int(value, 8)


def _user(file: _File) -> str:
    if file.runas and file.user and file.runas != file.user:
        raise _bad("user", f"it is {file.user!r}, and runas is {file.runas!r}")
    return _path("user", file.user or file.runas)


def _limits(file: _File) -> dict[int, tuple[int, int]]:
    limits = {}
    for name, value in file.limits.items():
        key = f"limits.{name}"
        if name.lower() not in _LIMITS:
            raise _bad(key, f"there is no such limit; there are {', '.join(sorted(_LIMITS))}")
        soft, hard = (_limit(key, one) for one in (value if isinstance(value, list) else [value, value]))
        if hard != resource.RLIM_INFINITY and not 0 <= soft <= hard:
            raise _bad(key, "the soft limit is above the hard one")
        limits[_LIMITS[name.lower()]] = (soft, hard)
    return limits


def _limit(key: str, value: Any) -> int:
    if value in ("unlimited", "infinity", -1):
        return int(resource.RLIM_INFINITY)
    if not isinstance(value, int) or not 0 <= value < 2**63:
        raise _bad(key, f'{value!r} is neither a number nor "unlimited"')
    return value
