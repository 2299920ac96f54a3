"""`ctlctl taskmaster`: what the original's `taskmasterctl` does, with its words and exit statuses (specification B9).

It talks to this daemon's Taskmaster socket or to the original.  Everything goes to the
standard output, errors too, because scripts for the original look there.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from ctlctl import exits
from ctlctl.output import is_terminal, neutral, write_line
from ctld.dialects.taskmaster.client import (
    DEFAULT_HOST,
    DEFAULT_PORT,
    Base64Error,
    JsonError,
    Response,
    TaskmasterClient,
)
from ctld.errors import ConnectFailed, ConnectionLost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctlctl.caller import Caller

__all__ = ["run"]

_SUFFIX = ".tm.json"
_MAX_PORT = 65535

_WITHOUT_JOB = frozenset(("list", "restart"))
_WITH_JOB = frozenset(("start", "stop", "kill", "repair", "status", "pull", "push", "delete", "reload"))


class _Refusal(Exception):
    """It goes no further.

    Attributes:
        status: The exit status.
    """

    def __init__(self, text: str, status: int = exits.FAILED) -> None:
        super().__init__(text)
        self.status = status


class _Options(NamedTuple):
    """What the command line says."""

    host: str
    port: int
    shell: bool
    words: list[str]


def run(caller: Caller, words: Sequence[str]) -> int:
    """Run a command, or a shell, and return the exit status."""
    try:
        options = _parse(words)
        with TaskmasterClient(options.host, options.port) as client:
            if options.shell:
                return _shell(client, options.host)
            return _command(client, options.words)
    except _Refusal as refusal:
        _say(str(refusal))
        return refusal.status


def _parse(words: Sequence[str]) -> _Options:
    host, port, shell = DEFAULT_HOST, DEFAULT_PORT, False
    rest = list(words)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in ("-s", "--shell"):
            shell = True
        elif option == "-c" and rest:
            host, port = _address(rest.pop(0))
        else:
            raise _Refusal("Invalid command.")
    if not shell and not rest:
        raise _Refusal("No command?!")
    return _Options(host, port, shell, rest)


def _address(text: str) -> tuple[str, int]:
    if text.startswith("["):  # an IPv6 address
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    if not port:
        return host or DEFAULT_HOST, DEFAULT_PORT
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= _MAX_PORT):
        raise _Refusal(f'Invalid port: "{port}".\nPlease use a valid port number.')
    return host or DEFAULT_HOST, int(port)


def _shell(client: TaskmasterClient, host: str) -> int:
    """Run one command per line, until the end."""
    _connect(client)
    while True:
        try:
            line = input(f"{host} >>> ")
        except EOFError:
            sys.stdout.write("\n")
            return exits.OK
        words = line.split()
        if words == ["exit"]:
            return exits.OK
        if words:
            try:
                _command(client, words)
            except _Refusal as refusal:
                _say(str(refusal))


def _connect(client: TaskmasterClient) -> None:
    try:
        client.connect()
    except ConnectFailed:
        raise _Refusal("Could not connect to server.\nConnection timed out.") from None


def _command(client: TaskmasterClient, words: list[str]) -> int:
    cmd, arguments = words[0].lower(), words[1:]
    wanted = 0 if cmd in _WITHOUT_JOB else 1
    if cmd not in _WITHOUT_JOB | _WITH_JOB or len(arguments) != wanted:
        raise _Refusal("Invalid command.")
    job, data = (arguments[0] if arguments else ""), b""
    if cmd == "push":
        job, data = _file(job)
    _connect(client)
    try:
        response = client.ask(cmd, job, data)
    except ConnectionLost:
        raise _Refusal("Connection to server lost.") from None
    except JsonError:
        raise _Refusal("Json error!", exits.OK) from None
    except Base64Error:
        raise _Refusal("B64 error!", exits.OK) from None
    return _print(cmd, response)


def _file(path: str) -> tuple[str, bytes]:
    """Return the job's name that a file stands for, and its content."""
    if not path.endswith(_SUFFIX):
        raise _Refusal(f'Invalid file.\nTaskmasterd config files must end with "{_SUFFIX}"')
    try:
        with open(path, "rb") as file:
            return path.removesuffix(_SUFFIX), file.read()
    except (OSError, ValueError):
        raise _Refusal("File read error!", exits.OK) from None


def _print(cmd: str, response: Response) -> int:
    match response.kind:
        case "success":
            _say("Success!")
        case "status" | "file":
            try:
                _say(response.data.decode())
            except UnicodeDecodeError:
                raise _Refusal("File encoding error!", exits.OK) from None
        case "list":
            for name in response.names:
                _say(name)
        case "fail":
            raise _Refusal(f"Error: {response.error}")
        case "invalid":
            raise _Refusal("Invalid command.")
        case "redundant":
            raise _Refusal("Already running." if cmd == "start" else "Already stopped.")
        case _:
            raise _Refusal("Unknown response.")
    return exits.OK


def _say(text: str) -> None:
    """Write a line; to a terminal nothing that steers it."""
    write_line(neutral(text) if is_terminal(1) else text)
