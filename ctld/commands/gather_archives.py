"""The commands about reports that are there: pack, list, hand over, remove.

`gather_fetch` hands a packed one over on any transport; a caller on a UNIX socket may also take
the archive from the directory of reports, because it becomes its own.
"""

import base64
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Final

import msgspec

from ctld.commands.context import Context
from ctld.commands.options import Option
from ctld.commands.registry import CommandRegistry
from ctld.gatherer.names import check_report_name
from ctld.gatherer.packing import Archive
from ctld.gatherer.report_store import ReportInfo, ReportStore
from ctld.gatherer.threads import in_thread
from ctld.locks import Manipulable

__all__ = ["Piece", "ReportLock", "archive_commands", "pack_report"]

# Bytes in one piece of a fetched report; a multiple of 3, so that base64 needs no padding within.
_PIECE: Final = 192 * 1024

_Name = Annotated[str, Option("the name of the report", complete="gather_reports.name")]


class Piece(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A part of a packed report, in the stream of `gather_fetch`.

    Attributes:
        offset: Where it belongs.
        data: Its bytes, as base64.
        sha256: In the last one, which is empty: the SHA-256 of all that came before.
    """

    offset: int
    data: str
    sha256: str = ""


class ReportLock(Manipulable):
    """The manipulation lock of a report, whether there is such a report or not yet."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = check_report_name(name)

    def lock_resource(self) -> tuple[str, str]:
        """Name the resource."""
        return ("report", self._name)


def archive_commands(store: ReportStore) -> CommandRegistry[Any]:
    """Make the registry of these commands."""
    commands = CommandRegistry[Any]()

    @commands.command("gather_pack", role="admin")
    async def gather_pack(ctx: Context, name: _Name) -> Archive:
        """Pack a report that is a directory, such as what a cancelled one has left."""
        async with ctx.manipulate(ReportLock(name)):
            return await pack_report(ctx, store, name)

    @commands.command("gather_reports", role="admin", record=False)
    async def gather_reports(ctx: Context) -> list[ReportInfo]:
        """List the reports on the daemon's machine."""
        return await in_thread(store.list)

    @commands.command("gather_fetch", role="admin", on_disconnect="cancel")
    async def gather_fetch(ctx: Context, name: _Name) -> AsyncIterator[Piece]:
        """Hand over a packed report, piece by piece."""
        check_report_name(name)
        descriptor = await in_thread(partial(store.open_archive, name), undo=os.close)
        sha256, offset = hashlib.sha256(), 0
        try:
            while data := await in_thread(partial(os.read, descriptor, _PIECE)):
                sha256.update(data)
                yield Piece(offset=offset, data=base64.b64encode(data).decode("ascii"))
                offset += len(data)
            yield Piece(offset=offset, data="", sha256=sha256.hexdigest())
        finally:
            os.close(descriptor)

    @commands.command("gather_forget", role="admin")
    async def gather_forget(ctx: Context, name: _Name) -> None:
        """Remove a report from the daemon's machine."""
        async with ctx.manipulate(ReportLock(name)):
            await in_thread(partial(store.remove, name))

    return commands


async def pack_report(ctx: Context[Any], store: ReportStore, name: str) -> Archive:
    """Pack a report, and give the archive to who asks for it.

    Raises:
        CommandFailed: It cannot be packed.
    """
    await ctx.progress("packing")
    stop = threading.Event()
    owner = ctx.peer.uid if ctx.peer.transport == "unix" else None
    return await in_thread(partial(store.pack, name, stop, owner), stop=stop.set)
