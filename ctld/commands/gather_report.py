"""The commands that make reports out of what gatherers collect.

A caller names a report and never a path: everything is written below the daemon's directory of
reports.
"""

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, Final

import msgspec

from ctld.commands.context import Context
from ctld.commands.gather_archives import ReportLock, pack_report
from ctld.commands.gather_rows import ProfileName, Seconds
from ctld.commands.options import Option
from ctld.commands.registry import CommandRegistry
from ctld.errors import CommandFailed, DeadlineExceeded
from ctld.gatherer.collection import Collection, Item, Tally, check_items
from ctld.gatherer.draft import Draft
from ctld.gatherer.manifest import FileEntry, ItemEntry
from ctld.gatherer.packing import Archive
from ctld.gatherer.pool import Pool
from ctld.gatherer.report_store import ReportStore
from ctld.gatherer.threads import in_thread
from ctld.processes.accounts import find_account

__all__ = ["ReportDone", "report_commands"]

# Seconds between two progress messages: a bar need not move more often.
_INTERVAL: Final = 0.1

_NewName = Annotated[str, Option("what to call the report; a plain name")]
_Items = Annotated[
    Annotated[tuple[Item, ...], msgspec.Meta(min_length=1, max_length=10_000)], Option("what to collect, in order")
]
_Path = Annotated[str, msgspec.Meta(max_length=128 * 1024)]


class ReportDone(msgspec.Struct, kw_only=True):
    """A report that has been made.

    Attributes:
        name: Its name.
        path: Its directory on the daemon's machine; empty if it is packed.
        outcomes: How many items ended in which way.
        files: How many files it has.
        bytes: How many bytes they have.
        seconds: How long it took.
        archive: The packed report, if it was to be packed.
    """

    name: str
    path: str
    outcomes: dict[str, int]
    files: int
    bytes: int
    seconds: float
    archive: Archive | None


def report_commands(pool: Pool, store: ReportStore) -> CommandRegistry[Any]:
    """Make the registry of these commands."""
    commands = CommandRegistry[Any]()

    @commands.command("gather_copy", role="admin", on_disconnect="cancel")
    async def gather_copy(
        ctx: Context,
        profile: ProfileName,
        destination: _NewName,
        source: Annotated[_Path, Option("a file or tree")] = "",
        pattern: Annotated[_Path, Option("a shell pattern of paths, instead")] = "",
        limit: Annotated[Annotated[int, msgspec.Meta(ge=0)], Option("bytes of a pattern's files, newest first")] = 0,
        timeout: Seconds = None,
    ) -> AsyncIterator[FileEntry]:
        """Have a worker copy files into a new report, and list what became of each."""
        items = (Item(copy=source, pattern=pattern, limit=limit, timeout=timeout),)
        entries: list[ItemEntry] = []

        async def keep(entry: ItemEntry, tally: Tally) -> None:
            entries.append(entry)

        async with _collecting(ctx, pool, store, profile, items, destination) as collection:
            await collection.run(keep)
        for entry in entries:
            for file in entry.files:
                yield file
            if not entry.files and entry.outcome != "ok":
                raise (DeadlineExceeded if entry.outcome == "timeout" else CommandFailed)(entry.detail)

    @commands.command("gather_report", role="admin")
    async def gather_report(
        ctx: Context,
        profile: ProfileName,
        items: _Items,
        destination: _NewName,
        archive: Annotated[bool, Option("pack it")] = False,
    ) -> ReportDone:
        """Collect files and the output of commands, side by side, with a manifest of all of it."""
        started = time.monotonic()
        async with _collecting(ctx, pool, store, profile, items, destination) as collection:
            await collection.run(_Teller(ctx).tell)
        tally = collection.tally
        packed = await pack_report(ctx, store, destination) if archive else None
        return ReportDone(
            name=destination,
            path="" if packed else os.path.join(store.directory, destination),
            outcomes={str(outcome): count for outcome, count in sorted(tally.outcomes.items())},
            files=tally.files,
            bytes=tally.bytes,
            seconds=round(time.monotonic() - started, 3),
            archive=packed,
        )

    return commands


@asynccontextmanager
async def _collecting(
    ctx: Context[Any], pool: Pool, store: ReportStore, profile: str, items: Sequence[Item], destination: str
) -> AsyncIterator[Collection]:
    """Make a report for the time of a block, and end it whatever becomes of the block."""
    settings = pool.profile(profile)
    check_items(items)
    async with ctx.manipulate(ReportLock(destination)):
        owner = find_account(settings.user, settings.group)
        head = {
            "report": destination,
            "host": os.uname().nodename,
            "profile": profile,
            "started": round(time.time(), 3),
        }
        draft = await in_thread(partial(store.create, destination, owner, head), undo=Draft.abandon)
        collection = Collection(pool, profile, items, draft, max_bytes=store.max_bytes)
        refused = False
        try:
            yield collection
        except CommandFailed:
            refused = not collection.tally.done
            raise
        finally:
            await in_thread(partial(draft.finish, _tail(collection.tally)))
            if refused:
                await in_thread(partial(store.remove, destination))  # it never began: the name is free again


def _tail(tally: Tally) -> dict[str, object]:
    done = tally.done - tally.outcomes["cancelled"]
    return {
        "finished": round(time.time(), 3),
        "complete": done == tally.total,
        "items_total": tally.total,
        "outcomes": {outcome: count for outcome, count in tally.outcomes.items() if count},
        "files": tally.files,
        "bytes": tally.bytes,
    }


class _Teller:
    """Tells how far a collection is, not more often than anybody could see."""

    def __init__(self, ctx: Context[Any]) -> None:
        self._ctx = ctx
        self._last = 0.0

    async def tell(self, entry: ItemEntry, tally: Tally) -> None:
        """Tell it, if it is time, or all is done."""
        now = time.monotonic()
        if now - self._last < _INTERVAL and tally.done < tally.total:
            return
        self._last = now
        await self._ctx.progress(
            "items", current=tally.done, total=tally.total, unit="items", data={"task": "items", "item": entry.what}
        )
        await self._ctx.progress("bytes", current=tally.bytes, unit="bytes", data={"task": "bytes"})
