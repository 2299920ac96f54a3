"""The thread behind the audit log, told what to do one item at a time."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from ctld.errors import CommandFailed
from ctld.history_entry import Entry, HistoryQuery
from ctld.history_store import HistoryBounds, HistoryStore
from ctld.history_writer import HistoryWriter, Job, Stop, size_in_memory

TIMEOUT = 20


def entry(command: str = "x", **fields: Any) -> Entry:
    return Entry(time=2e9, command=command, outcome="done", **fields)


class Notes:
    """Whatever the thread reports."""

    def __init__(self) -> None:
        self.written = 0
        self.size = 0
        self.troubles: list[str] = []
        self.recoveries = 0
        self.changed = asyncio.Event()

    def on_written(self, count: int, size: int) -> None:
        self.written += count
        self.size += size
        self.recoveries += not count
        self.changed.set()

    def on_trouble(self, reason: str) -> None:
        self.troubles.append(reason)
        self.changed.set()

    def on_answer(self, future: asyncio.Future[Any], result: Any) -> None:
        future.set_result(result)

    def on_end(self) -> None:
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not condition():
                await self.changed.wait()
                self.changed.clear()


class FakeStore(HistoryStore):
    """A store in memory that fails when it is told to."""

    def __init__(self) -> None:
        super().__init__(None, HistoryBounds())
        self.failing: Exception | None = None
        self.rotations = 0
        self.attempts = 0
        self.more_to_rotate = 0

    def append(self, entries: Iterable[Entry]) -> None:
        self.attempts += 1
        if self.failing is not None:
            raise self.failing
        super().append(entries)

    def query(self, query: HistoryQuery) -> list[Entry]:
        if self.failing is not None:
            raise self.failing
        return super().query(query)

    def rotate(self, now: float) -> bool:
        self.rotations += 1
        if self.failing is not None:
            raise self.failing
        self.more_to_rotate -= 1
        return self.more_to_rotate > 0


def ask(writer: HistoryWriter, **query: Any) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    writer.put(Job(lambda store: store.query(HistoryQuery(**query)), future), urgent=True)
    return future


async def end(writer: HistoryWriter) -> None:
    writer.put(Stop(), urgent=True)
    async with asyncio.timeout(TIMEOUT):
        await writer.ended.wait()
    writer.thread.join(TIMEOUT)
    assert not writer.thread.is_alive()


async def test_it_writes_in_order_and_reports_how_much():
    notes = Notes()
    writer = HistoryWriter(FakeStore(), notes)
    writer.thread.start()
    entries = [entry(str(n), cli="x" * n) for n in range(3000)]
    for one in entries:
        writer.put(one, urgent=False)
    found = await ask(writer, limit=10_000)
    assert [one.command for one in found] == [str(n) for n in reversed(range(3000))]
    assert notes.written == 3000
    assert notes.size == sum(map(size_in_memory, entries))
    await end(writer)


async def test_an_answer_is_of_its_place_in_the_queue():
    writer = HistoryWriter(FakeStore(), Notes())
    writer.put(entry("a"), urgent=False)
    first = ask(writer)
    writer.put(entry("b"), urgent=False)
    second = ask(writer)
    writer.thread.start()
    assert len(await first) == 1
    assert len(await second) == 2
    await end(writer)


async def test_entries_gather_but_not_for_ever():
    """Nothing but the interval makes it write."""
    notes = Notes()
    writer = HistoryWriter(FakeStore(), notes)
    writer.thread.start()
    writer.put(entry(), urgent=False)
    await notes.until(lambda: notes.written == 1)
    await end(writer)


async def test_it_keeps_what_it_cannot_write_and_tries_again():
    notes = Notes()
    store = FakeStore()
    store.failing = sqlite3.OperationalError("database or disk is full")
    writer = HistoryWriter(store, notes)
    writer.thread.start()
    writer.put(entry(), urgent=True)
    await notes.until(lambda: bool(notes.troubles))
    refused = await ask(writer)
    assert isinstance(refused, CommandFailed)
    assert "cannot be read: database or disk is full" in str(refused)
    assert set(notes.troubles) == {"database or disk is full"}
    assert notes.written == 0
    store.failing = None
    await notes.until(lambda: notes.written == 1)  # by itself
    assert len(await ask(writer)) == 1
    await end(writer)


async def test_a_file_that_cannot_be_opened_is_tried_again_although_nothing_waits(tmp_path: Path):
    notes = Notes()
    directory = tmp_path / "later"
    writer = HistoryWriter(HistoryStore(directory / "history.sqlite3", HistoryBounds()), notes)
    writer.thread.start()
    await notes.until(lambda: bool(notes.troubles))
    assert notes.troubles == ["No such file or directory"]  # and no path, since this is told to clients
    directory.mkdir()
    await notes.until(lambda: bool(notes.recoveries))
    await end(writer)


async def test_one_attempt_a_turn_is_enough():
    """A file that somebody holds locked costs the time-out once, not once per question."""
    store = FakeStore()
    store.failing = sqlite3.OperationalError("database is locked")
    writer = HistoryWriter(store, Notes())
    writer.put(entry(), urgent=False)
    answers = [ask(writer) for _ in range(50)]
    writer.thread.start()
    await asyncio.gather(*answers)
    assert store.attempts == 1
    await end(writer)


async def test_old_entries_go_slice_by_slice_until_there_are_none():
    store = FakeStore()
    store.more_to_rotate = 5
    notes = Notes()
    writer = HistoryWriter(store, notes)
    writer.thread.start()
    while store.rotations < 5:
        await ask(writer)
    await end(writer)


async def test_trouble_while_old_entries_go_is_no_trouble_for_new_ones(caplog: pytest.LogCaptureFixture):
    class Stuck(FakeStore):
        def rotate(self, now: float) -> bool:
            raise sqlite3.OperationalError("database is locked")

    caplog.set_level("INFO")
    notes = Notes()
    writer = HistoryWriter(Stuck(), notes)
    writer.thread.start()
    writer.put(entry(), urgent=True)
    await notes.until(lambda: notes.written == 1)
    await end(writer)
    assert notes.troubles == []
    assert "old history entries stay for now: database is locked" in caplog.text


async def test_a_defect_ends_the_thread_loudly(caplog: pytest.LogCaptureFixture):
    store = FakeStore()
    notes = Notes()
    writer = HistoryWriter(store, notes)
    writer.thread.start()
    await ask(writer)
    store.failing = ZeroDivisionError("a defect")
    writer.put(entry(), urgent=True)
    async with asyncio.timeout(TIMEOUT):
        await writer.ended.wait()
    writer.thread.join(TIMEOUT)
    assert "has a defect" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_loop_that_is_closed_ends_the_thread_and_nothing_is_lost(tmp_path: Path):
    path = tmp_path / "history.sqlite3"

    async def main() -> threading.Thread:
        writer = HistoryWriter(HistoryStore(path, HistoryBounds()), Notes())
        writer.thread.start()
        await ask(writer)
        writer.put(entry("last"), urgent=False)
        return writer.thread

    thread = asyncio.run(main())
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    store = HistoryStore(path, HistoryBounds())
    assert [one.command for one in store.query(HistoryQuery())] == ["last"]
    store.close()
