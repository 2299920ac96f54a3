"""Draw `ctlctl` at work: a real run on a terminal, as an SVG image for the README.

`python docs/picture.py` draws it; with `--check` it only says whether it is out of date.
The daemon, the commands and what they print are real; only prompt and `^C` are drawn by hand.
"""

import codecs
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from typing import Final

from screen import Screen, svg

HERE: Final = Path(__file__).parent
PICTURE: Final = HERE / "images" / "ctlctl.svg"
COLUMNS, LINES = 102, 50
PATIENCE: Final = 20.0  # seconds for one command

# Commands; and a text, where Ctrl-C is pressed as soon as that is on the screen.
SCENES: Final = (
    ("ctlctl container list --sort -memory", ""),
    ("ctlctl container backup web1", "62% 622 MiB/1000 MiB\n"),
    ("ctlctl container stop db1", ""),
    ("ctlctl contaner list", ""),
    ("ctlctl help container backup", ""),
)

DAEMON: Final = '''
import asyncio, sys
from typing import Annotated, Literal, TypedDict
import ctld

class Container(TypedDict):
    name: str
    state: Literal["running", "stopped", "failed"]
    memory: int
    uptime: float | None

commands = ctld.CommandRegistry()

@commands.command("container_list", role="observe")
async def container_list(ctx: ctld.Context) -> list[Container]:
    """List the containers."""
    return [
        {"name": "web1", "state": "running", "memory": 734003200, "uptime": 1209600.0},
        {"name": "db1", "state": "running", "memory": 3435973836, "uptime": 5184000.0},
        {"name": "mail", "state": "failed", "memory": 0, "uptime": None},
    ]

@commands.command("container_backup", role="operate")
async def container_backup(
    ctx: ctld.Context,
    name: Annotated[str, ctld.Option("which container")],
    keep: Annotated[int, ctld.Option("how many backups to keep")] = 7,
    force: Annotated[bool, ctld.Option("even if nothing has changed")] = False,
) -> str:
    """Copy a container to the backup pool."""
    await ctx.progress(f"copying {name}", current=652214272, total=1048576000, unit="bytes")
    await asyncio.Event().wait()
    return name

@commands.command("container_stop", role="operate")
async def container_stop(ctx: ctld.Context, name: str) -> None:
    """Stop a container."""
    raise ctld.Locked(f"{name} is held by container_backup, for 3 minutes by now", resource=name)

ctld.run(ctld.Server(commands=commands, listen=[sys.argv[1]]).serve_forever())
'''


def play(screen: Screen, command: str, interrupt_at: str, environ: dict[str, str]) -> None:
    """Run a command on a terminal of its own; press Ctrl-C when a text has appeared."""
    screen.write(f"\x1b[1m\x1b[32m$\x1b[0m {command}\r\n")
    already = len(screen.text())
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (LINES, COLUMNS))
    child = subprocess.Popen(
        ["/bin/sh", "-c", command], stdin=slave, stdout=slave, stderr=slave, env=environ, start_new_session=True
    )
    os.close(slave)
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while chunk := _read(master):
            screen.write(decoder.decode(chunk))
            if interrupt_at and interrupt_at in screen.text()[already:]:
                interrupt_at = ""
                screen.write("^C\r\n")
                os.killpg(child.pid, signal.SIGINT)
    finally:
        os.close(master)
        child.wait(PATIENCE)


def _read(terminal: int) -> bytes:
    """Return what a program has written; empty when it has left the terminal."""
    ready, _, _ = select.select([terminal], [], [], PATIENCE)
    if not ready:
        raise SystemExit("the command says nothing more, and does not end")
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def perform() -> Screen:
    """Start the daemon, and play all scenes."""
    screen = Screen()
    with tempfile.TemporaryDirectory(prefix="ctld-") as folder:
        place = Path(folder)
        environ = _environ(place)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
            notifications.settimeout(PATIENCE)
            notifications.bind(f"{folder}/notify")
            daemon = subprocess.Popen(
                [sys.executable, "-c", DAEMON, f"{folder}/demo.sock"],
                env={**environ, "NOTIFY_SOCKET": f"{folder}/notify"},
            )
            try:
                notifications.recv(4096)
                for number, (command, interrupt_at) in enumerate(SCENES):
                    screen.write("\r\n" if number else "")
                    play(screen, command, interrupt_at, environ)
            finally:
                daemon.terminate()
                daemon.wait(PATIENCE)
    return screen


def _environ(folder: Path) -> dict[str, str]:
    """Return an environment in which everybody's run looks the same."""
    program = folder / "ctlctl"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ctlctl "$@"\n')
    program.chmod(0o755)
    return {
        "CTLD_SOCKET": f"{folder}/demo.sock",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(HERE.parent),
        "TERM": "xterm-256color",
        "TZ": "UTC",
    }


def main(arguments: list[str]) -> int:
    fresh = svg(perform().lines, COLUMNS, "ctlctl at work on a terminal")
    if PICTURE.exists() and PICTURE.read_text() == fresh:
        return 0
    if "--check" in arguments:
        sys.stderr.write(f"out of date: {PICTURE.name}; run python docs/picture.py\n")
        return 1
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(fresh)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
