"""A collection: items that are gathered side by side over a pool into a report.

Theory of operation.  A few runners take items from one queue: twice as many as there are
workers, so that none waits while the daemon looks at what another has brought.  An item that
fails is an entry in the manifest and ends nothing else.  Cancelling interrupts the workers,
notes what was under way, and leaves the report for its caller to finish.
"""

import asyncio
import os
import shlex
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated

import msgspec

from ctld.errors import CommandFailed, DeadlineExceeded, InvalidOptions
from ctld.gatherer.draft import Draft, digest_of
from ctld.gatherer.manifest import FileEntry, ItemEntry, ItemKind, ItemOutcome
from ctld.gatherer.names import as_text
from ctld.gatherer.pool import Pool
from ctld.gatherer.threads import in_thread

__all__ = ["Collection", "Item", "Tally", "check_items"]

_Text = Annotated[str, msgspec.Meta(max_length=128 * 1024)]


class Item(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing to collect: exactly one of `copy`, `pattern` and `exec`.

    Attributes:
        copy: A file or a tree.
        pattern: A shell pattern of paths.
        exec: A command, for `/bin/sh -c`.
        limit: How many bytes the files of a pattern may have together, newest first; 0: any number.
        name: What to call the output of a command.
        timeout: How many seconds it may take; None: as the profile says.
    """

    copy: _Text = ""
    pattern: _Text = ""
    exec: _Text = ""
    limit: Annotated[int, msgspec.Meta(ge=0)] = 0
    name: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    timeout: Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None = None

    @property
    def kind(self) -> ItemKind:
        """What is to be done."""
        return "copy" if self.copy else "pattern" if self.pattern else "exec"

    @property
    def what(self) -> str:
        """With what."""
        return self.copy or self.pattern or self.exec


class Tally(msgspec.Struct):
    """How far a collection is.

    Attributes:
        total: How many items there are.
        outcomes: How many have ended in which way.
        files: How many files there are.
        bytes: How many bytes they have.
    """

    total: int
    outcomes: Counter[ItemOutcome] = msgspec.field(default_factory=Counter)
    files: int = 0
    bytes: int = 0

    @property
    def done(self) -> int:
        """How many items have ended."""
        return self.outcomes.total()


class Collection:
    """One run.

    Args:
        pool: Whose workers to use.
        profile: Of which profile.
        items: What to collect.
        draft: Where to.
        max_bytes: With how many bytes no further item is begun; None: any number.
    """

    def __init__(
        self, pool: Pool, profile: str, items: Sequence[Item], draft: Draft, *, max_bytes: int | None = None
    ) -> None:
        self.tally = Tally(len(items))
        self._pool = pool
        self._profile = profile
        self._items = items
        self._draft = draft
        self._max_bytes = max_bytes

    async def run(self, on_item: Callable[[ItemEntry, Tally], Awaitable[None]]) -> None:
        """Collect everything.

        Args:
            on_item: Is told after each item what became of it, and how far it all is.

        Raises:
            CommandFailed: The workers cannot write to the report.
        """
        if any(item.kind != "exec" for item in self._items):
            await self._check_root()
        queue = iter(enumerate(self._items))

        async def work() -> None:
            for index, item in queue:
                await on_item(await self._collect(index, item), self.tally)

        runners = min(2 * self._pool.profile(self._profile).workers, len(self._items))
        async with asyncio.TaskGroup() as group:
            for _ in range(runners):
                group.create_task(work())

    async def _check_root(self) -> None:
        root = shlex.quote(os.fspath(self._draft.root))
        done = await self._pool.exec(self._profile, f"cd {root} && test -w .")
        if done.status != 0:
            raise CommandFailed(
                f"workers of the profile {self._profile!r} cannot write to {self._draft.root.parent}: "
                "give [gatherer] a directory for reports that their user can reach"
            )

    async def _collect(self, index: int, item: Item) -> ItemEntry:
        clock = asyncio.get_running_loop().time
        started = clock()
        outcome: ItemOutcome = "ok"
        detail, status = "", None
        files: tuple[FileEntry, ...] = ()
        cancelled = None
        try:
            if self._max_bytes is not None and self.tally.bytes >= self._max_bytes:
                outcome, detail = "limit", f"the report has {self.tally.bytes} bytes already"
            else:
                status, files = await self._gather(index, item)
                outcome, detail = _outcome_of(files)
        except DeadlineExceeded as exc:
            outcome, detail = "timeout", str(exc)
        except CommandFailed as exc:
            outcome, detail = "failed", str(exc)
        except asyncio.CancelledError as exc:
            outcome, cancelled = "cancelled", exc
        entry = ItemEntry(
            item=index,
            kind=item.kind,
            what=as_text(os.fsencode(item.what))[0],
            outcome=outcome,
            detail=detail,
            seconds=round(clock() - started, 3),
            bytes=sum(file.bytes for file in files),
            digest=digest_of(files),
            status=status,
            files=files,
        )
        self.tally.outcomes[outcome] += 1
        self.tally.files += sum(file.outcome in ("FILE", "TAIL") for file in files)
        self.tally.bytes += entry.bytes
        await in_thread(partial(self._draft.manifest.add, entry))
        if cancelled is not None:
            raise cancelled
        return entry

    async def _gather(self, index: int, item: Item) -> tuple[int | None, tuple[FileEntry, ...]]:
        """Have a worker do it, and look at what it brought."""
        pool, profile, draft = self._pool, self._profile, self._draft
        if item.exec:
            executed = await pool.exec(profile, item.exec, timeout=item.timeout)
            output = partial(draft.keep_output, index, item.name or item.exec, executed)
            return executed.status, await in_thread(output)
        if item.copy:
            copied = await pool.copy(profile, item.copy, draft.root, timeout=item.timeout)
        else:
            copied = await pool.copy_matching(profile, item.pattern, draft.root, item.limit, timeout=item.timeout)
        return None, await in_thread(partial(draft.describe_copies, copied))


def check_items(items: Sequence[Item]) -> None:
    """Refuse what a type cannot refuse.

    Raises:
        InvalidOptions: An item is none; the error names it.
    """
    for index, item in enumerate(items):
        path = f"items[{index}]"
        if sum(map(bool, (item.copy, item.pattern, item.exec))) != 1:
            raise InvalidOptions(f"{path}: exactly one of copy, pattern and exec is needed", path=path)
        if item.limit and not item.pattern:
            raise InvalidOptions(f"{path}: a limit needs a pattern", path=f"{path}.limit")
        if item.name and not item.exec:
            raise InvalidOptions(f"{path}: only the output of a command can have a name", path=f"{path}.name")


def _outcome_of(files: Sequence[FileEntry]) -> tuple[ItemOutcome, str]:
    failed = [file for file in files if file.outcome == "FAIL"]
    if not failed:
        return "ok", ""
    reasons = ", ".join(sorted({file.detail for file in failed}))
    return ("failed" if len(failed) == len(files) else "partial"), reasons
