"""`ctlctl exec`, `console`, `session attach` and `job attach`."""

from __future__ import annotations

import os

from ctlctl.caller import command_line
from ctlctl.exits import UsageError
from ctlctl.output import complain, error_line
from ctlctl.session_arguments import parse_session_arguments
from ctld.client.wire import MAX_LINE
from ctld.errors import NotFound

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctlctl.caller import Caller
    from ctlctl.session_arguments import SessionArguments
    from ctld.address import Address

__all__ = ["NO_PROGRAM", "run_session"]

_WITHOUT_TERMINAL = {
    "exec": "leave -t away",
    "console": "a console needs one, exec does not",
    "session_attach": "a session is joined with one",
    "job_attach": "a job is joined with one; job tail shows what it writes",
}

NO_PROGRAM = 127
"""The exit status for a program that does not exist, as shells have it."""


def run_session(caller: Caller, command: str, words: Sequence[str]) -> int:
    """Run a command line about a session, and return the exit status: that of the program.

    Args:
        caller: The run of `ctlctl`.
        command: `exec`, `console`, `session_attach` or `job_attach`.
        words: What follows it.

    Raises:
        CtldError: It did not work.
    """
    _fill_standard_streams()
    arguments = parse_session_arguments(command, words)
    arguments.opts["cli"] = command_line(caller.prog, arguments.shown)
    address = caller.conversation.address
    try:
        if arguments.tty or address.kind != "unix":
            return _relay(arguments, address, caller)
        from ctlctl.passing import run_on_own_descriptors

        session: dict[str, object] = {}
        if arguments.env:
            session["env"] = arguments.env
        if arguments.cwd is not None:
            session["cwd"] = arguments.cwd
        return run_on_own_descriptors(address, command, arguments.opts, session)
    except NotFound as error:
        if error.fields.get("kind") != "program":
            raise
        complain(caller.prog, error_line(error))
        return NO_PROGRAM


def _fill_standard_streams() -> None:
    """Open what whoever started us had closed, or the connection would get such a number, and be passed on."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _relay(arguments: SessionArguments, address: Address, caller: Caller) -> int:
    from contextlib import ExitStack

    from ctlctl.relay import Ended, relay
    from ctlctl.terminal import Terminal
    from ctld.client.blocking_session import open_blocking_session

    terminal = None
    wanted: dict[str, object] = {"tty": arguments.tty, "env": arguments.env, "cwd": arguments.cwd}
    if arguments.tty:
        if not os.isatty(0):
            raise UsageError(f"the standard input is no terminal: {_WITHOUT_TERMINAL[arguments.command]}")
        terminal = Terminal(0)
        wanted["rows"], wanted["cols"] = terminal.size()
        wanted["env"] = {"TERM": os.environ.get("TERM", "xterm"), **arguments.env}
    opened = open_blocking_session(
        address, caller.tls(), MAX_LINE, arguments.command, arguments.opts, wanted, remote=caller.prog
    )
    ended: Ended | None = None
    status = 0
    with opened as session:
        with ExitStack() as stack:
            if terminal is not None:
                stack.enter_context(terminal)
            try:
                status = relay(session, terminal, arguments.detach_keys)
            except Ended as exc:
                ended = exc
        if ended is not None and ended.detached:
            complain(caller.prog, f"left session {session.id} running")
    return status if ended is None else ended.status
