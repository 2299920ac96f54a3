"""The thread that writes the audit log, and answers questions about it.

It works off one queue, in order.  It knows nothing of bounds and states: it reports what it
did to the loop, and keeps what could not be written for the next attempt.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from ctld.errors import CommandFailed
from ctld.history_entry import Entry
from ctld.history_store import HistoryStore

__all__ = ["COMMIT_INTERVAL", "ENOUGH", "HistoryWriter", "Job", "Reports", "Stop", "size_in_memory"]

logger = logging.getLogger("ctld.history")

# How long entries gather before they are committed, in seconds: half of what may be lost.
COMMIT_INTERVAL: Final = 0.5

# At this many the thread does not let more gather.
ENOUGH: Final = 1024

# How soon what could not be written is tried again, and how often old entries are looked for
# while nothing happens, in seconds.
_RETRY_INTERVAL: Final = 1.0
_ROTATE_INTERVAL: Final = 3600.0

# Written in one transaction, so that on a nearly full disk some of it succeeds.
_AT_ONCE: Final = 512

# What an entry takes besides its texts.
_ENTRY_BYTES: Final = 512


class Job(msgspec.Struct, frozen=True):
    """Something to do between the entries recorded before and after it."""

    action: Callable[[HistoryStore], Any]
    future: asyncio.Future[Any]


class Stop(msgspec.Struct, frozen=True):
    """The last thing that the thread takes from its queue."""


class Reports(Protocol):
    """Who is told what the thread did, on the loop."""

    def on_written(self, count: int, size: int) -> None:
        """Learn that entries are on the disk, or could be."""
        ...

    def on_trouble(self, reason: str) -> None:
        """Learn that entries cannot be written for now."""
        ...

    def on_answer(self, future: asyncio.Future[Any], result: Any) -> None:
        """Learn what came of a job."""
        ...

    def on_end(self) -> None:
        """Learn that the thread has ended, on request or by a defect."""
        ...


def size_in_memory(entry: Entry) -> int:
    """Return about how much memory an entry takes."""
    return _ENTRY_BYTES + len(entry.options) + len(entry.cli) + len(entry.message)


class HistoryWriter:
    """The thread, and its queue.

    Args:
        store: The file; only the thread touches it from now on.
        reports: Who is told, on the loop that runs now.
    """

    def __init__(self, store: HistoryStore, reports: Reports) -> None:
        self.thread = threading.Thread(target=self._run, name="ctld-history", daemon=True)
        self.ended = asyncio.Event()
        self._store = store
        self._reports = reports
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Entry | Job | Stop] = queue.SimpleQueue()  # bounded by who puts
        self._urgent = threading.Event()
        self._batch: list[Entry] = []
        self._trouble = False
        self._rotating = True
        self._stopping = False

    def put(self, item: Entry | Job | Stop, *, urgent: bool) -> None:
        """Hand something over, on the loop."""
        self._queue.put(item)
        if urgent:
            self._urgent.set()

    def _run(self) -> None:
        try:
            self._write()
            while not self._stopping:
                self._turn()
        except Exception:
            logger.exception("! the writer of the history has a defect")
        finally:
            self._store.close()
            self._report(self._end)

    def _end(self) -> None:
        self.ended.set()
        self._reports.on_end()

    def _report(self, told: Callable[..., None], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(told, *args)
        except RuntimeError:
            self._stopping = True  # the loop is closed: nobody listens, and nobody will record

    def _turn(self) -> None:
        """Take what has come, write it, answer what was asked."""
        tried_in_vain = False  # every attempt on a locked file takes its time; one a turn is enough
        for item in self._next_items():
            if isinstance(item, Entry):
                self._batch.append(item)
                continue
            tried_in_vain = tried_in_vain or not self._write()
            if isinstance(item, Job):
                self._report(self._reports.on_answer, item.future, self._do(item))
            else:
                self._stopping = True
        if not tried_in_vain and self._write() and not self._stopping:
            self._rotate()

    def _next_items(self) -> list[Entry | Job | Stop]:
        timeout = _RETRY_INTERVAL if self._trouble else 0.0 if self._rotating else _ROTATE_INTERVAL
        try:
            items = [self._queue.get(timeout=timeout)]
        except queue.Empty:
            self._rotating = True
            return []
        if isinstance(items[0], Entry):
            self._urgent.wait(COMMIT_INTERVAL)
        self._urgent.clear()  # before looking: who puts something later sets it again
        while not self._queue.empty():
            items.append(self._queue.get())
        return items

    def _write(self) -> bool:
        """Commit what waits, as far as possible; return whether that was all."""
        had_trouble, self._trouble = self._trouble, False
        try:
            self._store.open()
            if had_trouble and not self._batch:
                self._report(self._reports.on_written, 0, 0)
            while self._batch:
                part = self._batch[:_AT_ONCE]
                self._store.append(part)
                del self._batch[:_AT_ONCE]
                self._report(self._reports.on_written, len(part), sum(map(size_in_memory, part)))
        except (sqlite3.Error, OSError) as exc:
            self._trouble = True
            self._report(self._reports.on_trouble, _reason(exc))
            return False
        return True

    def _do(self, job: Job) -> Any:
        try:
            return job.action(self._store)
        except (sqlite3.Error, OSError) as exc:
            return CommandFailed(f"the history cannot be read: {_reason(exc)}")

    def _rotate(self) -> None:
        try:
            self._rotating = self._store.rotate(time.time())
        except (sqlite3.Error, OSError) as exc:
            self._rotating = False
            logger.info("= old history entries stay for now: %s", _reason(exc))


def _reason(exc: sqlite3.Error | OSError) -> str:
    """Say what is wrong with the file, without its path."""
    return (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
