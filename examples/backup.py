"""A long command done properly: progress in bytes, cancelled at any time, nothing left behind.

    python examples/backup.py /home /tmp/pool /tmp/backupd.sock
    ctlctl -s /tmp/backupd.sock backup alice      # Ctrl-C cancels it, and removes the half copy

A caller names a folder below the root that the daemon was started with, and never a path.
"""

import asyncio
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

import ctld

CHUNK = 1024 * 1024  # between two chunks a cancellation gets its turn

# No slash and no leading dot; the last part because `$` alone also matches before a final newline.
FolderName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$(?!\n)", max_length=255)]


class Report(msgspec.Struct):
    """What a backup has done."""

    files: int
    size: int


@dataclass
class Backups:
    """The daemon's own object.

    Attributes:
        root: The folder whose folders are backed up.
        pool: Where the copies go.
    """

    root: Path
    pool: Path


commands = ctld.CommandRegistry[Backups]()


@commands.command("backup", role="operate", on_disconnect="cancel")
async def backup(ctx: ctld.Context[Backups], name: FolderName) -> Report:
    """Copy a folder into the pool: all of it, or nothing."""
    source, target = ctx.app.root / name, ctx.app.pool / name
    if not source.is_dir():
        raise ctld.NotFound(f"there is no folder {name!r}", kind="folder", name=name)
    if target.exists():
        raise ctld.CommandFailed(f"{name} is in the pool already", name=name)
    sizes = await asyncio.to_thread(files_below, source)
    partial = ctx.app.pool / f".{name}.partial"
    try:
        partial.mkdir()
    except FileExistsError:
        raise ctld.Busy(f"{name} is being backed up by somebody else") from None
    total, done = sum(sizes.values()), 0
    try:
        for file in sizes:
            done = await copy(ctx, source / file, partial / file, done, total)
        async with ctx.shield():  # from here on it is too late to cancel
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Report(len(sizes), done)


async def copy(ctx: ctld.Context[Backups], source: Path, target: Path, done: int, total: int) -> int:
    """Copy one file, and return how many bytes have been copied in all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := await asyncio.to_thread(reader.read, CHUNK):
            await asyncio.to_thread(writer.write, chunk)
            done += len(chunk)
            await ctx.progress(source.name, current=done, total=total, unit="bytes")
    return done


def files_below(folder: Path) -> dict[Path, int]:
    """List the plain files below a folder, with their sizes; links are not followed."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if path.is_file() and not path.is_symlink():
                found[path.relative_to(folder)] = path.stat().st_size
    return found


async def main(root: str, pool: str, address: str) -> None:
    """Serve until told to stop."""
    await ctld.Server(commands=commands, app=Backups(Path(root), Path(pool)), listen=[address]).serve_forever()


if __name__ == "__main__":
    ctld.run(main(*sys.argv[1:4]))
