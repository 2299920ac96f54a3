"""A daemon with the command names of osctld, for its unmodified client.

python examples/osctld_like.py /tmp/osctld.sock

Its containers are the machine it runs on: `ct_exec` runs the program right here.  What the
porting guide (docs/how-to/port-from-osctld.md) says can be seen at work in this file.
"""

import asyncio
import logging
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import ctld
from ctld.sessions.session import Session

# `event_subscribe` is built in, and answers as osctld does.  The CLI sends more options than
# this daemon knows: `**opts` accepts them.
Cmd = Annotated[list[str], ctld.Option("the program and its arguments")]


@dataclass
class Host:
    """The daemon's own object: the consoles that are open, by container and tty."""

    consoles: dict[tuple[str, int], Session] = field(default_factory=dict)

    async def console(self, name: str, tty: int) -> Session:
        """Return the console of a container; it outlives whoever looks at it."""
        session = self.consoles.get((name, tty))
        if session is None or session.ended:
            session = self.consoles[name, tty] = await Session.spawn(["/bin/sh"], env={"PS1": f"{name}# "})
        return session


Ctx = ctld.Context[Host]
commands = ctld.CommandRegistry[Host]()


@commands.command("self_ping", role="anyone")
async def self_ping(ctx: Ctx, /, **opts: Any) -> str:
    """Answer "pong"."""
    return "pong"


@commands.command("ping", role="anyone")
async def ping(ctx: Ctx, /, **opts: Any) -> str:
    """Answer "pong"."""
    return "pong"


@commands.command("echo", role="anyone")
async def echo(ctx: Ctx, /, **opts: Any) -> dict[str, Any]:
    """Return the options."""
    return opts


@commands.command("progress", role="operate")
async def progress(ctx: Ctx, /, n: int = 3, **opts: Any) -> int:
    """Report progress so many times."""
    for step in range(1, n + 1):
        await ctx.progress(f"[{step}/{n}] working")
    return n


@commands.command("fail", role="anyone")
async def fail(ctx: Ctx, /, message: str = "failed", **opts: Any) -> None:
    """Fail; the ancestor's `error!`."""
    raise ctld.CommandFailed(message)


@commands.command("sleep", role="operate")
async def sleep(ctx: Ctx, /, seconds: float, **opts: Any) -> float:
    """Let time pass, or the daemon stop."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ctx.stopping.wait()
            raise ctld.ShuttingDown("osctld is shutting down")
    return seconds


@commands.command("ct_exec", role="admin", session=True)
async def ct_exec(
    ctx: Ctx, /, cmd: Cmd, id: str = "", pool: str | None = None, run: bool = False, network: bool = False, **opts: Any
) -> dict[str, int]:
    """Run a program on the three descriptors that the client sends."""
    return {"exitstatus": await ctx.exec(cmd, io="fds")}


@commands.command("ct_runscript", role="admin", session=True)
async def ct_runscript(
    ctx: Ctx,
    /,
    script: Annotated[str | None, ctld.Option("its path; else it is read from the client's standard input")] = None,
    arguments: list[str] | None = None,
    id: str = "",
    pool: str | None = None,
    run: bool = False,
    network: bool = False,
    **opts: Any,
) -> dict[str, int]:
    """Run a script on the three descriptors that the client sends."""
    cmd = ["/bin/sh", "-s", "--"] if script in (None, "-") else [str(script)]
    return {"exitstatus": await ctx.exec([*cmd, *(arguments or [])], io="fds")}


@commands.command("ct_console", role="admin", session=True)
async def ct_console(ctx: Ctx, /, id: str = "", pool: str | None = None, tty: int = 0, **opts: Any) -> int | None:
    """Attach to a console, as all do who ask for the same one."""
    name = f"{pool}:{id}" if pool else id
    return await ctx.attach(await ctx.app.console(name, tty), io="console")


@commands.command("emit", role="operate")
async def emit(ctx: Ctx, /, id: str, state: str, pool: str | None = None, **opts: Any) -> None:
    """Publish that a container has another state."""
    ctx.events.publish("state", id=id, state=state, **({} if pool is None else {"pool": pool}))


@commands.command("ct_passwd", role="admin")
async def ct_passwd(
    ctx: Ctx, /, id: str, user: str, password: ctld.Secret, pool: str | None = None, **opts: Any
) -> None:
    """Set a password, which no event, log or history will ever show."""
    await ctx.progress(f"setting the password of {user}")


class Handler(ctld.ClientHandler[Host]):
    """Speaks as osctld does: its clients wait for a banner."""

    def server_version(self) -> str:
        """Tell the version that the client shows."""
        return "24.05.0"


async def main(socket: Path) -> None:
    """Serve until told to stop."""
    with tempfile.TemporaryDirectory() as state:
        await ctld.Server(
            Handler,
            app=Host(),
            commands=commands,
            listen=[ctld.Listen(address=f"unix:{socket}", mode="0600")],
            state_dir=state,
        ).serve_forever()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    ctld.run(main(Path(sys.argv[1]).absolute()))
