"""The audit log's file: what is written is read, old entries go, a bad file is set aside."""

import logging
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctld.history_entry import Entry, HistoryQuery, Outcome
from ctld.history_store import APPLICATION_ID, SCHEMA_VERSION, HistoryBounds, HistoryStore

NOW = 1_700_000_000.0
FULL = Entry(
    time=NOW,
    duration=0.25,
    command="ct_stop",
    options='{"name":"ct1"}',
    cli="osctl ct stop ct1",
    outcome="failed",
    slug="locked",
    message="container ct1 is held by 'osctl ct start ct1'",
    peer="alice",
    uid=1000,
    gid=100,
    pid=4711,
    loginuid=1001,
    executable="/usr/bin/osctl",
    connection="c17",
    dialect="native",
    operation="5e-1",
)


def entry(command: str = "x", time: float = NOW, **fields: Any) -> Entry:
    fields.setdefault("outcome", "done")
    return Entry(time=time, command=command, **fields)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[HistoryStore]:
    made = HistoryStore(path, HistoryBounds())
    yield made
    made.close()


def commands(store: HistoryStore, **query: Any) -> list[str]:
    return [found.command for found in store.query(HistoryQuery(**query))]


def in_sqlite(path: Path, statement: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.commit()
        connection.close()


# -- the file ------------------------------------------------------------------------------


def test_every_field_comes_back(store: HistoryStore, path: Path):
    bare = Entry(time=NOW + 1, command="ping", outcome="done")
    store.append([FULL, bare])
    newest, oldest = store.query(HistoryQuery())
    assert (oldest, newest) == (
        Entry(**{**{f: getattr(FULL, f) for f in FULL.__struct_fields__}, "id": 1}),
        Entry(id=2, time=NOW + 1, command="ping", outcome="done"),
    )
    store.close()
    assert commands(store) == ["ping", "ct_stop"]  # it opens by itself


def test_the_file_and_its_companions_are_private_whatever_the_umask(store: HistoryStore, path: Path):
    before = os.umask(0)
    try:
        store.append([FULL])
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("history.sqlite3", "history.sqlite3-wal", "history.sqlite3-shm"), 0o600)


PAGE = (Path(__file__).parents[1] / "docs" / "reference" / "history.md").read_text()


def test_the_reference_page_shows_the_schema(store: HistoryStore, path: Path):
    store.open()
    ((schema,),) = in_sqlite(path, "SELECT sql FROM sqlite_master WHERE name = 'history'")
    assert f"```text\n{schema}\n```" in PAGE
    assert f"version {SCHEMA_VERSION} of the schema" in PAGE
    assert f"`{APPLICATION_ID:#x}`" in PAGE


def test_an_operator_may_read_it_with_sqlite3_as_the_reference_page_says(store: HistoryStore, path: Path):
    """While it is in use."""
    store.append(
        [entry("old", outcome="denied"), entry("now", time.time(), outcome="denied", peer="alice"), entry("fine")]
    )
    (command,) = re.findall(r"```text\n(sqlite3 .*?)```", PAGE, re.DOTALL)
    query = command.split('"')[1]
    ((_, peer, name, *_),) = in_sqlite(path, query)
    assert (peer, name) == ("alice", "now")
    program = shutil.which("sqlite3")
    if program is None:
        pytest.skip("sqlite3 is not installed")
    command = command.replace("/var/lib/ctld/history.sqlite3", str(path)).replace("sqlite3 ", f"{program} ", 1)
    answer = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True, timeout=30)
    assert "alice" in answer.stdout


def test_the_schema_is_marked(store: HistoryStore, path: Path):
    store.open()
    assert in_sqlite(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert in_sqlite(path, "PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert in_sqlite(path, "PRAGMA journal_mode") == [("wal",)]
    columns = [name for _, name, *_ in in_sqlite(path, "PRAGMA table_info(history)")]
    assert tuple(columns) == Entry.__struct_fields__


def test_it_works_in_memory():
    store = HistoryStore(None, HistoryBounds())
    store.append([FULL])
    store.append([entry("y")])
    assert commands(store) == ["y", "ct_stop"]
    store.rotate(NOW)
    store.close()


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("plain", "plain"),
        ("žluťoučký 🐎", "žluťoučký 🐎"),
        ("a\x1b[31mb\x00c\nd\x7f\x9b", "a\\x1b[31mb\\x00c\\x0ad\\x7f\\x9b"),
        ("half \ud83d surrogate", "half \\ud83d surrogate"),
    ],
)
def test_text_is_made_printable(store: HistoryStore, text: str, stored: str):
    store.append([entry(text, cli=text, message=text, executable=text)])
    (found,) = store.query(HistoryQuery())
    assert {found.command, found.cli, found.message, found.executable} == {stored}
    assert commands(store, cmd=text) == [stored]  # a question is translated likewise


def test_no_entry_can_block_those_behind_it(store: HistoryStore):
    odd: Any = entry(
        time=float("nan"), duration=float("inf"), uid=2**64, gid=-(2**70), cli=None, options={"a": 1}, message=b"x"
    )
    store.append([odd, entry("next")])
    after, found = store.query(HistoryQuery())
    assert (found.time, found.duration, found.uid, found.gid) == (0.0, 0.0, 2**63 - 1, -(2**63))
    assert (found.cli, found.options, found.message) == ("", "{'a': 1}", "b'x'")
    assert after.command == "next"


def test_somebody_elses_lock_is_an_error_and_leaves_nothing_half_done(store: HistoryStore, path: Path):
    store.open()
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            store.append([entry("a"), entry("b")])
        assert commands(store) == []  # reading goes on
    finally:
        other.close()
    store.append([entry("a"), entry("b")])
    assert commands(store) == ["b", "a"]


def test_entries_are_written_all_or_none(store: HistoryStore, path: Path):
    store.open()
    in_sqlite(
        path, "CREATE TRIGGER no BEFORE INSERT ON history WHEN new.command = 'b' BEGIN SELECT raise(FAIL, 'no'); END"
    )
    with pytest.raises(sqlite3.IntegrityError):
        store.append([entry("a"), entry("b")])
    assert commands(store) == []
    store.append([entry("c")])
    assert commands(store) == ["c"]


def test_a_file_that_is_removed_while_in_use_is_made_anew(
    store: HistoryStore, path: Path, caplog: pytest.LogCaptureFixture
):
    store.append([entry("a")])
    path.unlink()
    store.append([entry("b")])
    assert "removed" in caplog.text
    assert in_sqlite(path, "SELECT command FROM history") == [("b",)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written_is_an_error(store: HistoryStore, path: Path):
    path.touch()
    path.chmod(0)
    with pytest.raises((sqlite3.OperationalError, OSError)):
        store.open()


def test_a_missing_directory_is_an_error(tmp_path: Path):
    store = HistoryStore(tmp_path / "gone" / "history.sqlite3", HistoryBounds())
    with pytest.raises(FileNotFoundError):
        store.open()
    (tmp_path / "gone").mkdir()
    store.append([FULL])  # and it is tried again
    store.close()


# -- queries -------------------------------------------------------------------------------

entries = st.lists(
    st.builds(
        Entry,
        time=st.integers(0, 5).map(float),
        command=st.sampled_from("abc"),
        outcome=st.sampled_from(get_args(Outcome)),
        uid=st.sampled_from([None, 0, 1]),
    ),
    max_size=12,
)


@given(
    recorded=entries,
    since=st.none() | st.integers(0, 6).map(float),
    cmd=st.none() | st.sampled_from("abd"),
    uid=st.none() | st.sampled_from([0, 1, 2]),
    failed=st.none() | st.booleans(),
    before=st.none() | st.integers(-1, 14),
    limit=st.integers(1, 14),
)
@settings(max_examples=200, deadline=None)
def test_queries_agree_with_their_model(
    recorded: list[Entry],
    since: float | None,
    cmd: str | None,
    uid: int | None,
    failed: bool | None,
    before: int | None,
    limit: int,
):
    store = HistoryStore(None, HistoryBounds())
    store.append(recorded)
    query = HistoryQuery(since=since, cmd=cmd, uid=uid, failed=failed, before=before, limit=limit)
    found = [one.id for one in store.query(query)]
    store.close()
    expected = [
        id
        for id, one in enumerate(recorded, 1)
        if (since is None or one.time >= since)
        and (cmd is None or one.command == cmd)
        and (uid is None or one.uid == uid)
        and (failed is None or failed == (one.outcome != "done"))
        and (before is None or id < before)
    ]
    assert found == expected[::-1][:limit]


def test_pages_follow_each_other(store: HistoryStore):
    store.append(entry(str(n)) for n in range(25))
    seen: list[str] = []
    before = None
    while page := store.query(HistoryQuery(before=before, limit=10)):
        seen += [one.command for one in page]
        before = page[-1].id
    assert seen == [str(n) for n in reversed(range(25))]


@pytest.mark.parametrize("query", [{"uid": 2**70}, {"before": -(2**70)}, {"since": float("inf")}, {"cmd": "\ud800\0"}])
def test_silly_questions_are_answered(store: HistoryStore, query: dict[str, Any]):
    store.append([entry(time=-1.0)])
    assert commands(store, **query) == []


# -- rotation ------------------------------------------------------------------------------


def rotate_all(store: HistoryStore, now: float = NOW) -> int:
    for turns in range(1000):
        if not store.rotate(now):
            return turns
    raise AssertionError("it never ends")


def test_rotation_by_number_lets_the_oldest_go(path: Path):
    store = HistoryStore(path, HistoryBounds(max_rows=100))
    store.append(entry(str(n)) for n in range(250))
    rotate_all(store)
    assert commands(store, limit=1000) == [str(n) for n in reversed(range(150, 250))]
    store.close()


def test_rotation_by_age(path: Path):
    store = HistoryStore(path, HistoryBounds(max_age=60))
    store.append(entry(str(n), time=NOW - 100 + n) for n in range(100))
    rotate_all(store)
    assert commands(store, limit=1000) == [str(n) for n in reversed(range(40, 100))]
    store.close()


def test_rotation_takes_slices(path: Path):
    store = HistoryStore(path, HistoryBounds(max_age=60))
    store.append(entry(time=0.0) for _ in range(10_000))
    assert store.rotate(NOW)
    assert in_sqlite(path, "SELECT count(*) FROM history") == [(10_000 - 4096,)]
    assert rotate_all(store) >= 2
    assert commands(store) == []
    store.close()


def test_rotation_by_size_keeps_the_file_within_bounds(path: Path):
    limit = 512 * 1024
    store = HistoryStore(path, HistoryBounds(max_bytes=limit))
    for n in range(300):
        store.append([entry(f"{n}-{i}", options="x" * 1000) for i in range(20)])
        rotate_all(store)
    newest = commands(store, limit=10_000)
    assert newest[0] == "299-19"
    assert len(newest) > 300  # it lets go of a part, not of everything
    store.close()
    assert path.stat().st_size <= limit * 1.3


def test_a_smaller_bound_shrinks_the_file(path: Path):
    store = HistoryStore(path, HistoryBounds())
    store.append(entry(options="x" * 10_000) for _ in range(1000))
    store.close()
    before = path.stat().st_size
    store = HistoryStore(path, HistoryBounds(max_bytes=before // 10))
    rotate_all(store)
    store.close()
    assert path.stat().st_size < before // 5


def test_a_bound_that_nothing_fits_in_ends(path: Path):
    store = HistoryStore(path, HistoryBounds(max_bytes=1))
    store.append(entry() for _ in range(50))
    rotate_all(store)
    assert commands(store) == []
    store.close()


def test_ids_are_never_used_again(path: Path):
    store = HistoryStore(path, HistoryBounds(max_age=60))
    store.append([entry(time=0.0)])
    rotate_all(store)
    store.close()
    store.append([entry()])
    assert [one.id for one in store.query(HistoryQuery())] == [2]
    store.close()


def test_nothing_goes_before_its_time(store: HistoryStore):
    store.append(entry(str(n)) for n in range(100))
    assert rotate_all(store) == 0
    assert len(commands(store, limit=1000)) == 100


# -- files that are of no use --------------------------------------------------------------


def other_database(path: Path) -> None:
    in_sqlite(path, "CREATE TABLE precious (x)")


def newer_version(path: Path) -> None:
    store = HistoryStore(path, HistoryBounds())
    store.open()
    store.close()
    in_sqlite(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def other_columns(path: Path) -> None:
    in_sqlite(path, "CREATE TABLE history (x)")
    in_sqlite(path, f"PRAGMA application_id = {APPLICATION_ID}")
    in_sqlite(path, f"PRAGMA user_version = {SCHEMA_VERSION}")


def text_file(path: Path) -> None:
    path.write_text("Dear diary, " * 1000)


def damaged(path: Path) -> None:
    store = HistoryStore(path, HistoryBounds())
    store.append(entry(options="x" * 1000) for _ in range(100))
    store.close()
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(4096 * 4))


def truncated(path: Path) -> None:
    store = HistoryStore(path, HistoryBounds())
    store.append(entry(options="x" * 1000) for _ in range(100))
    store.close()
    os.truncate(path, 4096 * 5 + 17)


@pytest.mark.parametrize("make", [other_database, newer_version, other_columns, text_file, damaged, truncated])
def test_a_foreign_or_damaged_file_is_set_aside_untouched(
    store: HistoryStore, path: Path, make: Any, caplog: pytest.LogCaptureFixture
):
    make(path)
    content = path.read_bytes()
    with caplog.at_level(logging.ERROR):
        store.append([FULL])
    assert commands(store) == ["ct_stop"]
    (aside,) = [
        file for file in path.parent.iterdir() if ".unusable-" in file.name and file.suffix[-4:] not in ("-wal", "-shm")
    ]
    assert aside.read_bytes() == content
    (record,) = caplog.records
    assert aside.name in record.getMessage()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_is_set_aside_too(store: HistoryStore, path: Path, make: Any):
    make(path)
    store.append([FULL])
    assert path.is_file()
    assert not path.is_symlink()
    assert len(list(path.parent.glob("*.unusable-*"))) == 1


def test_what_belongs_to_the_file_goes_with_it(store: HistoryStore, path: Path):
    text_file(path)
    path.with_name("history.sqlite3-wal").write_text("log")
    store.append([FULL])
    store.close()
    (aside,) = path.parent.glob("*.unusable-*-wal")
    assert aside.read_text() == "log"
    assert commands(store) == ["ct_stop"]


def test_damage_that_shows_later_costs_the_past_and_nothing_else(store: HistoryStore, path: Path):
    store.append(entry(options="x" * 1000) for _ in range(200))
    store.close()
    store.open()
    with path.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(os.urandom(4096 * 40))
    assert store._connection is not None
    store._connection.execute("PRAGMA shrink_memory")  # what was read before is still fine
    assert commands(store, limit=1000) == []
    store.append([entry("after")])
    assert commands(store) == ["after"]
    assert len(list(path.parent.glob("*.unusable-*Z"))) == 1


def test_nothing_that_was_set_aside_is_overwritten(store: HistoryStore, path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.strftime", lambda *_: "same")
    text_file(path)
    store.append([FULL])
    store.close()
    text_file(path)
    with pytest.raises(FileExistsError):
        store.append([FULL])
    path.unlink()
    store.append([FULL])
