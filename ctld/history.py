"""The audit log: who asked for what, and what became of it.

Theory of operation.  `record()` runs on the loop and must cost next to nothing, so it puts the
entry into a queue, and one thread writes.  The thread sleeps until something comes, lets more
of it gather for `COMMIT_INTERVAL`, and commits it together; so a daemon that is killed loses
less than a second.  Questions are put into the same queue and answered by the same thread:
what was recorded before a question has been written when its turn comes.

A disk that is full, or a file that cannot be written for any reason, never stops anybody.  The
thread keeps what it could not write and tries again; the loop counts what waits, and beyond
the bounds counts what is lost.  Each change between `ok`, `waiting` and `losing` is logged and
reported once.

All counting is done on the loop: the thread only reports there.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias

import msgspec

from ctld.errors import CommandFailed, ShuttingDown
from ctld.history_entry import Entry, HistoryQuery
from ctld.history_store import MEMORY_BYTES, HistoryBounds, HistoryStore
from ctld.history_writer import ENOUGH, HistoryWriter, Job, Stop, size_in_memory

__all__ = [
    "CLOSE_TIMEOUT",
    "MAX_OPTIONS",
    "MAX_TEXT",
    "MAX_WAITING",
    "MAX_WAITING_BYTES",
    "History",
    "HistoryState",
    "HistoryStatus",
]

logger = logging.getLogger("ctld.history")

# What waits in memory while nothing can be written: some minutes of a busy daemon.
MAX_WAITING: Final = 16_384
MAX_WAITING_BYTES: Final = 16 * 1024 * 1024

# The longest options that are kept, in characters, and the longest other text: a request may
# have 16 MiB, and a log that one request can fill is none.
MAX_OPTIONS: Final = 64 * 1024
MAX_TEXT: Final = 4096

# How long the end waits for the thread, which may hang in a dead disk, in seconds.
CLOSE_TIMEOUT: Final = 5.0

_CLOSED: Final = "it is not open"

HistoryState: TypeAlias = Literal["ok", "waiting", "losing"]


class HistoryStatus(msgspec.Struct, frozen=True):
    """How the audit log is.

    Attributes:
        state: `ok`; `waiting`: entries cannot be written and are kept in memory; `losing`:
            there are too many of them.
        reason: Why it is not `ok`.
        waiting: How many entries are not written yet.
        lost: How many never will be, since the start.
    """

    state: HistoryState = "ok"
    reason: str = ""
    waiting: int = 0
    lost: int = 0


class History:
    """The audit log of one daemon: `async with History(path) as history: history.record(...)`.

    Args:
        path: The file; None: in memory, and smaller.
        bounds: How much is kept.
        on_change: Told on the loop when the state changes, once per change.
        max_waiting: How many entries may wait in memory.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        bounds: HistoryBounds | None = None,
        on_change: Callable[[HistoryStatus], None] | None = None,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        bounds = bounds or HistoryBounds()
        if path is None:
            bounds = msgspec.structs.replace(bounds, max_bytes=min(bounds.max_bytes, MEMORY_BYTES))
        self._store = HistoryStore(path, bounds)
        self._on_change = on_change
        self._max_waiting = max_waiting
        self._waiting = 0
        self._waiting_bytes = 0
        self._lost = 0
        self._losing = False
        self._trouble = _CLOSED
        self._loop: asyncio.AbstractEventLoop | None = None
        self._announced: HistoryState = "ok"
        self._writer: HistoryWriter | None = None
        self._jobs: set[asyncio.Future[Any]] = set()

    @property
    def status(self) -> HistoryStatus:
        """How it is now."""
        state: HistoryState = "losing" if self._losing else "waiting" if self._trouble else "ok"
        reason = self._trouble or ("more is recorded than can be written" if self._losing else "")
        return HistoryStatus(state, reason, self._waiting, self._lost)

    async def open(self) -> None:
        """Start the writing; trouble with the file is reported and not raised."""
        self._loop = asyncio.get_running_loop()
        self._losing, self._trouble, self._announced = False, "", "ok"
        self._writer = HistoryWriter(self._store, self)
        self._writer.thread.start()
        await self.flush()

    async def close(self) -> None:
        """Write what waits, if that is possible now, and end; nothing is recorded afterwards."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.put(Stop(), urgent=True)
        self._loop = None  # whoever is told of changes may be gone
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await writer.ended.wait()
        except TimeoutError:
            logger.error("! the history does not end: its disk hangs")  # noqa: TRY400  # no traceback helps
        else:
            writer.thread.join()  # it has nothing left to do
        self._give_up(_CLOSED)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def record(self, entry: Entry) -> None:
        """Take an entry to be written soon; never waits and never fails.

        Args:
            entry: The entry; over-long texts in it are cut, over-long options replaced by
                a note of their length.
        """
        entry = _bounded(entry)
        size = size_in_memory(entry)
        if self._writer is None or (
            self._waiting >= self._max_waiting or self._waiting_bytes + size > MAX_WAITING_BYTES
        ):
            self._lost += 1
            self._losing = True
            self._announce()
            return
        self._waiting += 1
        self._waiting_bytes += size
        self._writer.put(entry, urgent=self._waiting % ENOUGH == 0)

    async def flush(self) -> bool:
        """Wait until everything recorded before is written, or cannot be.

        Returns:
            Whether nothing of it waits any more.
        """
        await self._submit(lambda store: None)
        return not self._trouble

    async def query(
        self,
        *,
        since: float | None = None,
        cmd: str | None = None,
        uid: int | None = None,
        failed: bool | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> list[Entry]:
        """Return the newest entries that fit, newest first; see `HistoryQuery`.

        Every entry recorded before is considered, unless it cannot be written.

        Raises:
            InvalidOptions: The limit is out of bounds.
            ShuttingDown: The log is closed.
            CommandFailed: The file cannot be read.
        """
        query = HistoryQuery(since=since, cmd=cmd, uid=uid, failed=failed, before=before, limit=limit)
        found: list[Entry] = await self._submit(lambda store: store.query(query))
        return found

    async def _submit(self, action: Callable[[HistoryStore], Any]) -> Any:
        if self._writer is None:
            raise ShuttingDown(f"the history cannot be read: {self._trouble}")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._jobs.add(future)
        future.add_done_callback(self._jobs.discard)
        self._writer.put(Job(action, future), urgent=True)
        return await future

    def _announce(self) -> None:
        status = self.status
        if status.state == self._announced:
            return
        self._announced = status.state
        if status.state == "ok":
            logger.warning("= the history is written again; %d entries were lost", status.lost)
        else:
            logger.error("! history entries are %s: %s", "lost" if self._losing else "kept in memory", status.reason)
        if self._on_change is not None and self._loop is not None:
            # Not from here: whoever records must not suffer from whoever is told.
            self._loop.call_soon(self._on_change, status)

    # What the thread reports, on the loop:

    def on_written(self, count: int, size: int) -> None:
        """Learn that entries are on the disk."""
        if count > self._waiting:
            return  # a disk that hung has woken, after we gave up on it
        self._waiting -= count
        self._waiting_bytes -= size
        self._trouble = ""
        # Not at the first free place, or the state would change with every entry.
        if self._waiting <= self._max_waiting // 2 and self._waiting_bytes <= MAX_WAITING_BYTES // 2:
            self._losing = False
        self._announce()

    def on_trouble(self, reason: str) -> None:
        """Learn that entries cannot be written for now."""
        self._trouble = reason
        self._announce()

    def on_answer(self, future: asyncio.Future[Any], result: Any) -> None:
        """Learn what came of a job."""
        if future.done():
            return  # nobody waits for it any more
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)

    def on_end(self) -> None:
        """Learn that the thread has ended, on request or by a defect."""
        for future in [*self._jobs]:
            self.on_answer(future, CommandFailed("the history cannot be read: its writer has ended"))
        if self._writer is not None:
            self._writer.thread.join()
            self._writer = None
            self._give_up("its writer has a defect, see the log")
            self._announce()

    def _give_up(self, reason: str) -> None:
        self._trouble = reason
        if self._waiting:
            logger.error("! the history could not be written: %d entries are lost", self._waiting)
            self._lost += self._waiting
            self._waiting = self._waiting_bytes = 0
            self._losing = True


def _bounded(entry: Entry) -> Entry:
    """Return the entry with no text too long to keep."""
    changes: dict[str, str] = {}
    if len(entry.options) > MAX_OPTIONS:
        # A JSON string: options are always an object, so this is not mistaken for some.
        changes["options"] = f'"{len(entry.options)} characters, too long to keep"'
    for field in ("command", "cli", "slug", "message", "peer", "executable", "connection", "dialect", "operation"):
        if len(text := getattr(entry, field)) > MAX_TEXT:
            changes[field] = f"{text[:MAX_TEXT]}... ({len(text)} characters)"
    return msgspec.structs.replace(entry, **changes) if changes else entry
