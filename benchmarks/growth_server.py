"""The server whose growth is measured: with as many commands as are wanted."""

import sys

import ctld

__all__ = ["name_of"]


def name_of(number: int) -> str:
    """Return the name of one of many commands."""
    return f"command_{number}"


async def echo(ctx: ctld.Context, text: str) -> str:
    """Return the text."""
    return text


async def main(path: str, count: str) -> None:
    """Serve on a UNIX socket until killed."""
    commands = ctld.CommandRegistry[None]()
    for number in range(int(count)):
        commands.command(name_of(number), role="observe")(echo)
    limits = ctld.Limits(max_connections=32768)  # one uid gets half of them
    server = ctld.Server(commands=commands, listen=[f"unix:{path}"], limits=limits)
    await server.start()
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    ctld.run(main(*sys.argv[1:]))
