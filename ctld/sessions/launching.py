"""From what a client asks for to a running program: environment, terminal or pipes."""

import signal
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ctld.processes import PIPE, Spawn, find_account, inherited_environment, open_terminal

if TYPE_CHECKING:
    from ctld.sessions.session import Session

__all__ = ["environment", "start_program"]

# What a terminal is taken for whose client does not say: what nearly all of them understand.
_PLAIN_TERMINAL: Final = "xterm"


def environment(extra: Mapping[str, str] | None, *, user: str | None, tty: bool) -> dict[str, str]:
    """Return the environment of a session's program.

    Args:
        extra: What the client adds.
        user: Whom it runs as; None: the daemon's own user.
        tty: Whether it has a terminal.

    Raises:
        NotFound: There is no such user.
    """
    found = inherited_environment()
    if user is not None:
        found |= find_account(user).environment()
    if tty:
        found["TERM"] = _PLAIN_TERMINAL  # and not the daemon's, which has nothing to do with the client
    return found | dict(extra or {})


async def start_program(
    session: "Session",
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    user: str | None = None,
    rows: int = 24,
    cols: int = 80,
    fds: tuple[int, int, int] | None = None,
) -> None:
    """Start the program of a session.

    Args:
        session: The session, with its arguments.
        env: Variables to add to its environment.
        cwd: The directory to start in.
        user: Whom it runs as.
        rows: The height of its terminal, if it has one.
        cols: The width.
        fds: Its standard input, output and error; they stay the caller's.  None: pipes or a terminal.

    Raises:
        CommandFailed: It cannot be started; the session has ended.
    """
    with ExitStack() as undo:
        undo.callback(session.fail)
        variables = environment(env, user=user, tty=session.tty)
        terminal = None
        stdin, stdout, stderr = fds or (PIPE, PIPE, PIPE)
        spec = Spawn(argv=session.argv, env=variables, cwd=cwd, user=user, death_signal=signal.SIGHUP)
        if session.tty and fds is None:
            terminal = open_terminal(rows, cols)
            undo.callback(terminal.close)
            spec = replace(spec, terminal=terminal)
        else:
            spec = replace(spec, stdin=stdin, stdout=stdout, stderr=stderr)
        await session.start(spec, terminal)
        undo.pop_all()
