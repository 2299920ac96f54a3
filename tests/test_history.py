"""The audit log: written off the loop, survives a kill, a full disk and a hanging one."""

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ctld.errors import CommandFailed, InvalidOptions, ShuttingDown
from ctld.history import MAX_OPTIONS, MAX_TEXT, MAX_WAITING_BYTES, History, HistoryStatus
from ctld.history_entry import Entry
from ctld.history_store import MEMORY_BYTES, HistoryBounds, HistoryStore

TIMEOUT = 20


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    left = [thread for thread in threading.enumerate() if thread.name == "ctld-history"]
    assert not left, "the writer is left behind"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite3"


def entry(command: str = "x", **fields: Any) -> Entry:
    fields.setdefault("outcome", "done")
    fields.setdefault("time", time.time())
    return Entry(command=command, **fields)


class Changes:
    """What `on_change` was told."""

    def __init__(self) -> None:
        self.seen: list[HistoryStatus] = []
        self._more = asyncio.Event()

    def __call__(self, status: HistoryStatus) -> None:
        self.seen.append(status)
        self._more.set()

    @property
    def states(self) -> list[str]:
        return [status.state for status in self.seen]

    async def until(self, state: str) -> HistoryStatus:
        async with asyncio.timeout(TIMEOUT):
            while not self.seen or self.seen[-1].state != state:
                self._more.clear()
                await self._more.wait()
        return self.seen[-1]


async def commands(history: History, **query: Any) -> list[str]:
    return [found.command for found in await history.query(**query)]


# -- recording and asking --------------------------------------------------------------------


@pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "file"])
async def test_a_question_sees_every_entry_recorded_before_it(path: Path, in_memory: bool):
    async with History(None if in_memory else path) as history:
        for n in range(50):
            history.record(entry(str(n)))
            assert (await commands(history, limit=1)) == [str(n)]
        assert history.status == HistoryStatus()


async def test_filters_reach_the_file(path: Path):
    async with History(path) as history:
        now = time.time()
        history.record(entry("a", uid=1, time=now - 300))
        history.record(entry("b", uid=2, time=now - 200, outcome="denied", slug="denied"))
        history.record(entry("b", uid=1, time=now - 100))
        assert await commands(history) == ["b", "b", "a"]
        assert [e.id for e in await history.query(cmd="b", uid=1)] == [3]
        assert [e.id for e in await history.query(since=now - 200, failed=False)] == [3]
        assert [e.id for e in await history.query(failed=True)] == [2]
        assert [e.id for e in await history.query(before=3, limit=1)] == [2]
        with pytest.raises(InvalidOptions):
            await history.query(limit=0)


async def test_it_outlives_the_daemon(path: Path):
    async with History(path) as history:
        history.record(entry("a"))
    async with History(path) as history:
        history.record(entry("b"))
        assert await commands(history) == ["b", "a"]


async def test_recording_does_not_wait_for_the_file(path: Path):
    """The writer is stuck, and recording goes on: this would hang otherwise."""
    go_on = threading.Event()

    class Stuck(HistoryStore):
        def append(self, entries: Iterable[Entry]) -> None:
            assert go_on.wait(TIMEOUT)
            super().append(entries)

    history = History(path)
    history._store = Stuck(path, HistoryBounds())
    async with history:
        history.record(entry())
        flushing = asyncio.create_task(history.flush())
        await asyncio.sleep(0)
        for _ in range(1000):
            history.record(entry())
        assert not flushing.done()
        assert history.status.waiting == 1001
        go_on.set()
        assert await flushing
        assert await history.flush()
        assert history.status == HistoryStatus()
        assert len(await history.query(limit=10_000)) == 1001


async def test_over_long_texts_are_cut_and_options_stay_json(path: Path):
    async with History(path) as history:
        history.record(
            entry("x" * 9999, cli="é" * 9999, options='{"a": "' + "x" * MAX_OPTIONS + '"}', message="m" * MAX_TEXT)
        )
        history.record(entry(options='{"a": 1}'))
        short, long = await history.query()
    assert short.options == '{"a": 1}'
    assert long.command == "x" * MAX_TEXT + "... (9999 characters)"
    assert long.cli == "é" * MAX_TEXT + "... (9999 characters)"
    assert long.message == "m" * MAX_TEXT
    assert long.options == f'"{MAX_OPTIONS + 9} characters, too long to keep"'


async def test_without_a_file_it_takes_little_memory():
    history = History(bounds=HistoryBounds(max_rows=7))
    assert history._store.bounds == HistoryBounds(max_rows=7, max_bytes=MEMORY_BYTES)


async def test_a_question_that_nobody_waits_for_any_more(path: Path):
    async with History(path) as history:
        asking = asyncio.create_task(history.query())
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        history.record(entry("a"))
        assert await commands(history) == ["a"]


async def test_bounds_apply_while_it_runs(path: Path):
    async with History(path, bounds=HistoryBounds(max_rows=10)) as history:
        for n in range(100):
            history.record(entry(str(n)))
        async with asyncio.timeout(TIMEOUT):
            while len(await history.query()) > 10:
                pass
        assert (await commands(history))[0] == "99"


# -- closing ---------------------------------------------------------------------------------


async def test_closing_writes_what_waits(path: Path):
    history = History(path)
    await history.open()
    for n in range(5000):
        history.record(entry(str(n)))
    await history.close()
    await history.close()
    async with History(path) as again:
        assert len(await again.query(limit=10_000)) == 5000


async def test_when_it_is_closed_entries_are_counted_and_questions_refused(
    path: Path, caplog: pytest.LogCaptureFixture
):
    history = History(path)
    history.record(entry())
    with pytest.raises(ShuttingDown, match="not open"):
        await history.query()
    async with history:
        assert history.status.lost == 1
    for _ in range(3):
        history.record(entry())
    assert history.status == HistoryStatus("losing", "it is not open", 0, 4)
    assert caplog.text.count("entries are lost") == 2  # once each time
    with pytest.raises(ShuttingDown):
        await history.flush()


async def test_closing_does_not_wait_for_a_disk_that_hangs(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    go_on = threading.Event()

    class Stuck(HistoryStore):
        def append(self, entries: Iterable[Entry]) -> None:
            assert go_on.wait(TIMEOUT)
            super().append(entries)

    monkeypatch.setattr("ctld.history.CLOSE_TIMEOUT", 0.05)
    history = History(path)
    history._store = Stuck(path, HistoryBounds())
    await history.open()
    writer = history._writer
    assert writer is not None
    history.record(entry())
    history.record(entry())
    await history.close()
    assert "does not end" in caplog.text
    assert history.status.lost == 2
    go_on.set()  # it wakes after all: what it reports is too late, and harms nobody
    async with asyncio.timeout(TIMEOUT):
        await writer.ended.wait()
    writer.thread.join(TIMEOUT)
    assert (history.status.waiting, history.status.lost) == (0, 2)


async def test_what_cannot_be_written_at_the_end_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    history = History(tmp_path / "none" / "history.sqlite3")
    async with history:
        history.record(entry())
    assert history.status.lost == 1
    assert "1 entries are lost" in caplog.text


async def test_a_defect_of_the_writer_is_told_and_answers_everybody(path: Path, caplog: pytest.LogCaptureFixture):
    class Defective(HistoryStore):
        def append(self, entries: Iterable[Entry]) -> None:
            raise ZeroDivisionError

    changes = Changes()
    history = History(path, on_change=changes)
    history._store = Defective(path, HistoryBounds())
    async with history:
        history.record(entry())
        with pytest.raises(CommandFailed, match="its writer has ended"):
            await history.query()
        status = await changes.until("losing")
        assert status == HistoryStatus("losing", "its writer has a defect, see the log", 0, 1)
        history.record(entry())
        assert history.status.lost == 2
        with pytest.raises(ShuttingDown, match="defect"):
            await history.query()
    assert "ZeroDivisionError" in caplog.text


# -- trouble with the disk -------------------------------------------------------------------


async def test_trouble_is_reported_once_per_change_and_ends_by_itself(path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("WARNING")
    changes = Changes()
    async with History(path, on_change=changes, max_waiting=10) as history:
        history.record(entry("before"))
        assert await history.flush()
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            for n in range(10):
                history.record(entry(str(n)))
            assert not await history.flush()
            status = await changes.until("waiting")
            assert (status.reason, status.waiting, status.lost) == ("database is locked", 10, 0)
            assert await commands(history) == ["before"]  # what is written can be read
            for _ in range(5):
                history.record(entry("lost"))
            status = await changes.until("losing")
            assert status.lost == 1
            assert not await history.flush()
        finally:
            other.close()
        status = await changes.until("ok")
        assert (status.waiting, status.lost, status.reason) == (0, 5, "")
        assert await commands(history) == [str(n) for n in reversed(range(10))] + ["before"]
    assert changes.states == ["waiting", "losing", "ok"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR", "WARNING"]


async def test_what_waits_is_bounded_in_bytes(tmp_path: Path):
    changes = Changes()
    async with History(tmp_path / "none" / "history.sqlite3", on_change=changes) as history:
        await changes.until("waiting")
        for _ in range(1000):
            history.record(entry(options="x" * MAX_OPTIONS))
        status = await changes.until("losing")
        assert history.status.lost == 1000 - history.status.waiting
        assert history.status.waiting * MAX_OPTIONS <= MAX_WAITING_BYTES
        assert status.reason == "No such file or directory"
        (tmp_path / "none").mkdir()
        await changes.until("ok")


async def test_a_burst_beyond_the_bound_is_counted_and_over_soon(path: Path):
    changes = Changes()
    async with History(path, on_change=changes, max_waiting=100) as history:
        for n in range(150):
            history.record(entry(str(n)))
        status = await changes.until("losing")
        assert status.reason == "more is recorded than can be written"
        await changes.until("ok")
        assert history.status.lost == 50
        assert len(await history.query(limit=1000)) == 100


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root; test_a_full_disk_without_root does the same")
    directory = tmp_path / "small"
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", directory], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield directory
    finally:
        subprocess.run(["umount", directory], check=True)


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert os.statvfs(ballast).f_bavail == 0


async def test_a_full_disk_is_reported_and_stops_nobody(small_disk: Path):
    changes = Changes()
    path = small_disk / "history.sqlite3"
    async with History(path, on_change=changes) as history:
        history.record(entry("first"))
        assert await history.flush()
        ballast = small_disk / "ballast"
        fill(ballast)
        for n in range(100):
            history.record(entry(str(n), options="x" * 500))
        assert not await history.flush()
        status = await changes.until("waiting")
        assert "full" in status.reason or "I/O" in status.reason
        assert history.status.lost == 0
        ballast.unlink()
        await changes.until("ok")
        assert await commands(history, limit=1000) == [str(n) for n in reversed(range(100))] + ["first"]
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_a_disk_that_is_full_from_the_start(small_disk: Path):
    changes = Changes()
    ballast = small_disk / "ballast"
    fill(ballast)
    async with History(small_disk / "history.sqlite3", on_change=changes) as history:
        history.record(entry("first"))
        await changes.until("waiting")
        ballast.unlink()
        await changes.until("ok")
        assert await commands(history) == ["first"]


def child(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """A process of its own that has a history: `history`, `entry` and `say` are at hand."""
    prelude = """
        import asyncio, resource, sys, time
        from pathlib import Path
        from ctld.history import History
        from ctld.history_entry import Entry
        def say(*words): print(*words, flush=True)
        def entry(command, **fields): return Entry(time=time.time(), command=command, outcome="done", **fields)
    """
    program = textwrap.dedent(prelude) + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True, **options
    )


def test_a_full_disk_without_root(path: Path):
    code = """
        async def main():
            async with History(Path(sys.argv[1]), on_change=lambda status: say(status.state)) as history:
                resource.setrlimit(resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))
                for n in range(200):
                    history.record(entry(str(n), options="x" * 1000))
                say("flushed" if await history.flush() else "not flushed")
                await asyncio.sleep(0)
                say("lost", history.status.lost)
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                while history.status.state != "ok":
                    await history.flush()
                say("found", len(await history.query(limit=1000)))
        asyncio.run(main())
    """
    with child(code, path) as process:
        output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0
    lines = output.splitlines()
    assert sorted(lines) == ["found 200", "lost 0", "not flushed", "ok", "waiting"]
    assert lines.index("waiting") < lines.index("ok")


# -- killed and read by others ---------------------------------------------------------------


@pytest.mark.slow
def test_kill_9_loses_at_most_the_last_second_and_never_corrupts(path: Path):
    code = """
        async def main():
            async with History(Path(sys.argv[1])) as history:
                n = 0
                while True:
                    for _ in range(20):
                        history.record(entry(str(n), options="x" * 200))
                        n += 1
                    say(n - 1, time.monotonic())
                    await asyncio.sleep(0.002)
        asyncio.run(main())
    """
    survived = 0
    for _ in range(2):  # the second finds the first one's remains
        recorded: list[tuple[int, float]] = []
        with child(code, path) as process:
            assert process.stdout is not None
            for line in process.stdout:
                number, at = line.split()
                recorded.append((int(number), float(at)))
                if recorded[-1][1] - recorded[0][1] > 1.6:
                    break
            process.kill()
            rest = process.stdout.read()
            assert process.wait(TIMEOUT) == -signal.SIGKILL
        recorded += [
            (int(line.split()[0]), float(line.split()[1])) for line in rest.splitlines() if len(line.split()) == 2
        ]
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute("SELECT id, command FROM history WHERE id > ? ORDER BY id", (survived,)).fetchall()
        connection.close()
        survived = rows[-1][0]
        found = [int(command) for _, command in rows]
        assert found == list(range(len(found)))  # nothing missing in between
        killed_at = recorded[-1][1]
        due = max(number for number, at in recorded if at <= killed_at - 1.0)
        assert due > 0
        assert found[-1] >= due


@pytest.mark.slow
async def test_two_processes_read_while_this_one_writes(path: Path):
    reader = """
        import sqlite3
        connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
        say("ready")
        looks, last = 0, 0
        while last < 3000:
            rows = [int(c) for (c,) in connection.execute("SELECT command FROM history ORDER BY id")]
            assert rows == list(range(len(rows))), "a hole"
            assert len(rows) >= last, "backwards"
            looks, last = looks + 1, len(rows)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        say("looks", looks)
    """
    async with History(path) as history:
        readers = [child(reader, path) for _ in range(2)]
        try:
            for process in readers:
                assert process.stdout is not None
                assert await asyncio.to_thread(process.stdout.readline) == "ready\n"
            for n in range(3000):
                history.record(entry(str(n)))
                if n % 100 == 0:
                    assert await history.flush()
            await history.flush()
            outputs = [await asyncio.to_thread(process.communicate, timeout=TIMEOUT) for process in readers]
        finally:
            for process in readers:
                process.kill()
                process.communicate()
    assert [process.returncode for process in readers] == [0, 0]
    assert all(int(output.split()[1]) > 0 for output, _ in outputs)
    await asyncio.get_running_loop().shutdown_default_executor()
