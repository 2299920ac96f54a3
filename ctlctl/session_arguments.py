"""The command lines of sessions: `exec`, `console`, `session attach` and `job attach`; pure."""

from __future__ import annotations

from ctlctl.exits import UsageError

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DOCKER_KEYS", "OSCTL_KEYS", "SessionArguments", "parse_session_arguments"]

DOCKER_KEYS = b"\x10\x11"
"""ctrl-p ctrl-q: what leaves a session running, unless something else is said."""

OSCTL_KEYS = b"\x01q"
"""ctrl-a q: what the ancestor's users have in their fingers."""


class SessionArguments:
    """What a command line about a session asks for.

    Attributes:
        command: The command of the daemon.
        opts: Its options.
        tty: Whether the program gets a terminal, and this one is joined to it.
        env: Variables to add to its environment.
        cwd: The directory to start in; None: the daemon's.
        detach_keys: What leaves the session running.
        shown: The words as locks and the history may show them: without values of variables.
    """

    __slots__ = ("command", "cwd", "detach_keys", "env", "opts", "shown", "tty")

    def __init__(self, command: str) -> None:
        self.command = command
        self.opts: dict[str, object] = {}
        self.tty = command != "exec"
        self.env: dict[str, str] = {}
        self.cwd: str | None = None
        self.detach_keys = DOCKER_KEYS
        self.shown = command.split("_")


def parse_session_arguments(command: str, words: Sequence[str]) -> SessionArguments:
    """Return what a command line about a session means.

    Args:
        command: `exec`, `console`, `session_attach` or `job_attach`.
        words: What follows it.

    Raises:
        UsageError: It cannot be understood.
    """
    arguments = SessionArguments(command)
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        _option(arguments, word, rest)
    if command == "session_attach":
        if len(rest) != 1:
            raise UsageError("session attach takes the id of one session")
        arguments.opts["id"] = rest[0]
    elif command == "job_attach":
        if len(rest) != 1:
            raise UsageError("job attach takes the name of one job")
        arguments.opts["name"] = rest[0]
    elif rest:
        arguments.opts["cmd"] = rest
    elif command == "exec":
        raise UsageError("exec needs a program to run")
    arguments.shown += rest
    return arguments


def _option(arguments: SessionArguments, word: str, rest: list[str]) -> None:
    command = arguments.command
    arguments.shown.append(word)
    if word == "--osctl":
        arguments.detach_keys = OSCTL_KEYS
    elif word == "--read-only" and command.endswith("_attach"):
        arguments.opts["read_only"] = True
    elif command == "exec" and word in ("-t", "--tty"):
        arguments.tty = True
    elif command == "exec" and word in ("-e", "--env", "-C", "--cwd", "-u", "--user"):
        if not rest:
            raise UsageError(f"{word} needs a value")
        value = rest.pop(0)
        arguments.shown.append(value if word not in ("-e", "--env") else f"{value.partition('=')[0]}=***")
        if word in ("-C", "--cwd"):
            arguments.cwd = value
        elif word in ("-u", "--user"):
            arguments.opts["user"] = value
        else:
            name, equals, text = value.partition("=")
            if not name or not equals:
                raise UsageError(f"{word} takes NAME=VALUE, not {value!r}")
            arguments.env[name] = text
    else:
        raise UsageError(f"{command.replace('_', ' ')} has no option {word}")
