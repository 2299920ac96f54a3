"""The two servers under test: a bare handler, and the full path with typed options and policy."""

import sys
from dataclasses import replace

import ctld

commands = ctld.CommandRegistry[None]()


# A reading command: those above `observe` also write events and history, as `record` does.
@commands.command("echo", role="observe")
async def echo(ctx: ctld.Context, text: str) -> str:
    """Return the text."""
    return text


@commands.command("record", role="operate")
async def record(ctx: ctld.Context, text: str) -> str:
    """Return the text, and have it told to subscribers and noted in the audit log."""
    return text


@commands.command("count", role="observe")
async def count(ctx: ctld.Context, count: int) -> int:
    """Say how far it is, so many times."""
    for number in range(count):
        await ctx.progress(f"step {number}")
    return count


@commands.command("publish", role="observe")
async def publish(ctx: ctld.Context, count: int) -> int:
    """Publish so many events."""
    for number in range(count):
        ctx.events.publish("tick", number=number)
    return count


class Bare(ctld.ClientHandler):
    """Answers by itself, without the dispatcher: what the transport alone costs."""

    async def on_connect(self) -> None:
        """Bypassing the dispatcher takes the role admin."""
        self.peer = replace(self.peer, role="admin")

    async def handle_cmd(self, request: ctld.Request, /) -> ctld.Reply | ctld.Failure:
        """Answer ping and echo."""
        if request.cmd == "ping":
            return ctld.Reply("pong")
        return ctld.Reply(request.opts["text"])


async def main(path: str, kind: str) -> None:
    """Serve on a UNIX socket until killed."""
    handler = Bare if kind == "bare" else ctld.ClientHandler
    limits = ctld.Limits(max_connections=32768)  # one uid gets half of them
    server = ctld.Server(handler, commands=commands, listen=[f"unix:{path}"], limits=limits)
    await server.start()
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    ctld.run(main(*sys.argv[1:]))
