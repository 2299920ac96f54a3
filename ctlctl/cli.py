"""A run of `ctlctl`: from the arguments to the exit status.

The commands that ctlctl itself has are in one table.  Each lives in a module of its own with
`run(caller, words) -> int`, loaded when it is asked for.  They win over commands of the
daemon of the same name; `ctlctl -- NAME` asks the daemon.
"""

from __future__ import annotations

import sys

from ctlctl import exits
from ctlctl.arguments import help_text, parse_arguments
from ctlctl.caller import Caller
from ctlctl.output import OutputGone, complain, error_line, write_line
from ctld.errors import ConnectFailed, CtldError

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LOCAL", "guarded", "run", "run_words"]

LOCAL: dict[str, tuple[str, str, str]] = {
    "help": ("ctlctl.help", "[COMMAND]", "list the commands, or explain one"),
    "shell": ("ctlctl.shell", "", "a prompt for many commands over one connection"),
    "exec": (
        "ctlctl.exec",
        "[-t] [-u USER] [-e NAME=VALUE]... [-C DIR] [--osctl] [--] PROGRAM [ARGUMENT...]",
        "run a program where the daemon runs; -t gives it a terminal",
    ),
    "console": ("ctlctl.console", "[--osctl] [--] [PROGRAM ARGUMENT...]", "a shell where the daemon runs"),
    "session attach": (
        "ctlctl.attach",
        "[--read-only] [--osctl] ID",
        "join a session; ctrl-p ctrl-q (with --osctl: ctrl-a q) leaves it",
    ),
    "monitor": ("ctlctl.monitor", "[TYPE...] [KEY=VALUE...]", "show events as they happen"),
    "raw": ("ctlctl.raw", "", "type JSON, see every frame with its time"),
    "policy": ("ctlctl.policy", "", "who may do what"),
    "gather report": ("ctlctl.gather_report", "SPEC -o FILE", "collect a report of the daemon's machine, and fetch it"),
    "lock graph": ("ctlctl.lock_graph", "", "draw who waits for whom"),
    "job attach": (
        "ctlctl.job_attach",
        "[--read-only] [--osctl] JOB",
        "join the terminal of a job; ctrl-p ctrl-q (with --osctl: ctrl-a q) leaves it",
    ),
    "job tail": (
        "ctlctl.jobs",
        "[-f] [-n LINES] [-e] JOB",
        "show what a job has written; -f goes on, -e shows its errors",
    ),
    "taskmaster": (
        "ctlctl.taskmaster",
        "[-c HOST[:PORT]] [-s] COMMAND [ARG]",
        "do what taskmasterctl does; -s for a prompt",
    ),
    "control": (
        "ctlctl.control",
        "[-R] [-s SETTINGS] [-k SOCKET] [-n NAME] ACTION WORD...",
        "ask an FSS controller; -R prints one line for scripts",
    ),
    "guest send": (
        "ctlctl.guest",
        "[--socket PATH | --listener NAME [--dir DIR]] [--timeout S] JSON|-",
        "ask a guest agent's command monitor",
    ),
    "completion": ("ctlctl.completion", "bash|zsh|fish", "print what makes a shell complete commands"),
    "dial-stdio": ("ctlctl.dial_stdio", "", "connect the standard streams to the daemon, for ssh://"),
    "__complete": ("ctlctl.completion", "", ""),
}
"""Words: the module, what may follow, one line for people; hidden without it."""

_TAKING = frozenset(("__complete",))


def run(argv: Sequence[str] | None, prog: str, address: str | None) -> int:
    """Run a command line and return its exit status."""
    prog = prog.rpartition("/")[2]
    try:
        arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
        if arguments.help:
            write_line(help_text(prog).rstrip())
            return exits.OK
        if arguments.version:
            from ctld.version import VERSION

            write_line(f"{prog} (ctld) {VERSION}")
            return exits.OK
    except CtldError as error:
        complain(prog, error_line(error))
        return exits.status_of(error)
    except OutputGone:
        return exits.BROKEN_PIPE
    caller = Caller(arguments, prog, address)
    try:
        return guarded(caller, arguments.words or ["help"])
    finally:
        caller.close()


def guarded(caller: Caller, words: Sequence[str]) -> int:
    """Run words, and make of whatever goes wrong one line and an exit status."""
    try:
        return run_words(caller, words)
    except CtldError as error:
        from ctlctl.hints import explained

        complain(caller.prog, explained(caller, words, error, LOCAL))
        return exits.status_of(error)
    except KeyboardInterrupt:
        return exits.CANCELLED
    except OutputGone:
        return exits.BROKEN_PIPE


def run_words(caller: Caller, words: Sequence[str]) -> int:
    """Run words: a command of ours, or one of the daemon's.

    Raises:
        CtldError: It could not be done; the message says why.
    """
    try:
        key = None if caller.arguments.literal else _find_local(words)
        return caller.run(words) if key is None else _run_local(key, caller, words)
    except exits.HelpWanted as wish:
        return _run_local("help", caller, ["help", *wish.words])
    except ConnectFailed:
        from ctlctl.hints import usage_of_group

        usage = "" if caller.arguments.literal else usage_of_group(caller.prog, words[:1], LOCAL)
        if usage and list(words[1:]) == ["--help"]:
            return _run_local("help", caller, ["help", words[0]])
        if not usage or words[1:]:
            raise
        raise exits.UsageError(usage) from None


def _find_local(words: Sequence[str]) -> str | None:
    """Return the key of the command of ours that these words begin with.

    One that takes no words is not meant where some follow: `policy` is, `policy list` is not.
    """
    for length in (2, 1):
        key = " ".join(words[:length])
        if key in LOCAL and (LOCAL[key][1] or key in _TAKING or not any(w[:2] != "--" for w in words[length:])):
            return key
    return None


def _run_local(key: str, caller: Caller, words: Sequence[str]) -> int:
    """Run a command of ours and return the exit status."""
    from importlib import import_module

    further = list(words[len(key.split()) :])
    if further[:1] == ["--help"]:
        key, further = "help", key.split()
    status: int = import_module(LOCAL[key][0]).run(caller, further)
    return status
