"""Built-in commands about sessions: run a program, open a console, list, attach, signal and kill."""

import os
import pwd
from typing import Annotated, Any

import msgspec

from ctld.commands.context import Context
from ctld.commands.options import Option
from ctld.commands.registry import CommandRegistry
from ctld.secret import Secret
from ctld.sessions.viewers import signal_number

__all__ = ["ProgramEnd", "SessionInfo", "session_commands"]

_Id = Annotated[str, Option("the session", complete="session_list.id")]
_Cmd = Annotated[list[str], msgspec.Meta(min_length=1), Option("the program and its arguments")]


class ProgramEnd(msgspec.Struct):
    """The answer of `exec`: 0 to 255; 128 + N after signal N."""

    exitstatus: int


class SessionInfo(msgspec.Struct):
    """One session, in the answer of `session_list`.

    Attributes:
        id: Its id.
        cmd: The program and its arguments.
        owner: Who asked for it.
        uid: The owner's user id.
        pid: The process id of the program, while it runs.
        tty: Whether it has a terminal.
        state: What is going on with it.
        started: Since when, in seconds since the epoch.
        age: For how many seconds.
        viewers: How many clients look at it.
        bytes_in: What they have typed.
        bytes_out: What it has written, where that passes through the daemon.
        operation: The operation that made it.
        exitstatus: What it ended with.
    """

    id: str
    cmd: list[str]
    owner: str
    uid: int | None
    pid: int | None
    tty: bool
    state: str
    started: float
    age: float
    viewers: int
    bytes_in: int
    bytes_out: int
    operation: str
    exitstatus: int | None


def session_commands() -> CommandRegistry[Any]:
    """Make the registry of these commands."""
    commands = CommandRegistry[Any]()

    @commands.command("exec", role="admin", session=True)
    async def exec(
        ctx: Context,
        cmd: _Cmd,
        env: Annotated[dict[str, Secret] | None, Option("variables to add to its environment")] = None,
        cwd: Annotated[str | None, Option("the directory to start in")] = None,
        user: Annotated[str | None, Option("whom it runs as")] = None,
    ) -> ProgramEnd:
        """Run a program, on the client's descriptors or as frames, and tell its exit status."""
        variables = {name: value.reveal() for name, value in (env or {}).items()}
        return ProgramEnd(await ctx.exec(cmd, env=variables, cwd=cwd, user=user))

    @commands.command("console", role="admin", session=True)
    async def console(
        ctx: Context, cmd: Annotated[list[str] | None, Option("the program; else the login shell")] = None
    ) -> ProgramEnd:
        """Open a terminal, with a shell in it if nothing else is said."""
        return ProgramEnd(await ctx.exec(cmd or [_login_shell(), "-l"], io="console"))

    @commands.command("session_list", role="admin")
    async def session_list(ctx: Context) -> list[SessionInfo]:
        """List the sessions: who runs what, since when, and who looks on."""
        return [SessionInfo(**session.describe()) for session in ctx.runtime.sessions]

    @commands.command("session_attach", role="admin", session=True)
    async def session_attach(
        ctx: Context, id: _Id, read_only: Annotated[bool, Option("only look on")] = False
    ) -> dict[str, int | None]:
        """Join a session: its latest output first, then what comes, until it ends or you leave."""
        return {"exitstatus": await ctx.attach(ctx.runtime.sessions.find(id), read_only=read_only)}

    @commands.command("session_signal", role="admin")
    async def session_signal(
        ctx: Context, id: _Id, signal: Annotated[str, Option("its name or number, such as INT")]
    ) -> bool:
        """Send a signal to the program of a session and its children; false if it has ended."""
        return ctx.runtime.sessions.find(id).signal(signal_number(signal))

    @commands.command("session_kill", role="admin")
    async def session_kill(ctx: Context, id: _Id) -> None:
        """Kill the program of a session and its children at once."""
        ctx.runtime.sessions.find(id).kill()

    return commands


def _login_shell() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_shell or "/bin/sh"
    except KeyError:
        return "/bin/sh"
