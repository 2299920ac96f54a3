"""The daemon whose hijacks are measured: `exec` is built in, `hand_over` gives its socket to a program."""

import asyncio
import sys

import ctld

commands = ctld.CommandRegistry[None]()


@commands.command("hand_over", role="admin", session=True)
async def hand_over(ctx: ctld.Context, cmd: list[str]) -> None:
    """Run a program on the client's own socket."""
    async with ctx.hijack() as hijack:
        sock, _unread = hijack.detach()
        with sock:
            process = await asyncio.create_subprocess_exec(*cmd, stdin=sock.fileno(), stdout=sock.fileno())
        await process.wait()


async def main(path: str) -> None:
    """Serve on a UNIX socket until killed."""
    server = ctld.Server(commands=commands, listen=[f"unix:{path}"])
    await server.start()
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    ctld.run(main(*sys.argv[1:]))
