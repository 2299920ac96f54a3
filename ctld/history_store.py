"""The file of the audit log: one SQLite table, and what an entry of it is.

Everything here blocks, and belongs to one thread: `ctld.history` has one for it.

The schema is for people as well (`docs/reference/history.md`); `SCHEMA_VERSION` is in the
file's `user_version` and `APPLICATION_ID` in its `application_id`.  A file that is damaged,
or is not ours, is set aside under another name and never touched again: the daemon goes on
with a new one.  A file that cannot be used for now (full disk, locked, no permission) is an
error of the caller's attempt, to be repeated.

In WAL mode a process that is killed leaves what it committed, and readers of other processes
see a consistent state while this one writes.
"""

import logging
import math
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec

from ctld.history_entry import Entry, HistoryQuery

__all__ = [
    "APPLICATION_ID",
    "MAX_AGE",
    "MAX_BYTES",
    "MAX_ROWS",
    "MEMORY_BYTES",
    "SCHEMA_VERSION",
    "HistoryBounds",
    "HistoryStore",
]

logger = logging.getLogger("ctld.history")

T = TypeVar("T")

APPLICATION_ID: Final = 0x63746C64  # "ctld" in ASCII
SCHEMA_VERSION: Final = 1

# A quarter of a year: audits look back at the last one.
MAX_AGE: Final = 92 * 24 * 3600.0

# An entry takes some 500 bytes: this is a hundred thousand, and small beside any log.
MAX_BYTES: Final = 64 * 1024 * 1024
MAX_ROWS: Final = 200_000

# What a daemon without a state directory spends on remembering.
MEMORY_BYTES: Final = 8 * 1024 * 1024

# How long to wait for somebody else who writes to the file, in seconds: longer than a short
# transaction takes.  Afterwards it is tried again, so that questions are not held up by it.
_BUSY_TIMEOUT: Final = 0.25

# Old entries go in slices, so that new ones do not wait for long behind them: at most so many
# at once, and at most this part of all, because entries differ in size a hundredfold.
_ROTATE_ROWS: Final = 4096
_ROTATE_PART: Final = 16

# Pages given back to the file system in one go, once an eighth of the file is unused.
_VACUUM_PAGES: Final = 256


class HistoryBounds(msgspec.Struct, frozen=True):
    """How much is kept; what exceeds it goes, the oldest first.

    Attributes:
        max_age: Seconds.
        max_bytes: Of the file, apart from a few MiB of its write-ahead log.
        max_rows: Entries.
    """

    max_age: float = MAX_AGE
    max_bytes: int = MAX_BYTES
    max_rows: int = MAX_ROWS


_FIELDS: Final = Entry.__struct_fields__
_NULLABLE: Final = frozenset({"uid", "gid", "pid", "loginuid"})
_COLUMNS: Final = ", ".join(_FIELDS)
_INSERT: Final = f"INSERT INTO history ({', '.join(_FIELDS[1:])}) VALUES ({', '.join('?' * (len(_FIELDS) - 1))})"  # noqa: S608  # constants only

# AUTOINCREMENT: the id of an entry that went is not given to another one.
_SCHEMA: Final = """
CREATE TABLE history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    duration REAL NOT NULL,
    command TEXT NOT NULL,
    options TEXT NOT NULL,
    cli TEXT NOT NULL,
    outcome TEXT NOT NULL,
    slug TEXT NOT NULL,
    message TEXT NOT NULL,
    peer TEXT NOT NULL,
    uid INTEGER,
    gid INTEGER,
    pid INTEGER,
    loginuid INTEGER,
    executable TEXT NOT NULL,
    connection TEXT NOT NULL,
    dialect TEXT NOT NULL,
    operation TEXT NOT NULL
)
"""

_PRAGMAS: Final = (
    "trusted_schema = OFF",
    "cell_size_check = ON",
    "auto_vacuum = INCREMENTAL",
    "journal_mode = WAL",
    "journal_size_limit = 4194304",
    # Twice a second at most, and not on the loop: a power cut costs no more than a kill.
    "synchronous = FULL",
)

# Control characters are written out, because the log is read on terminals.
_CONTROL: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}


def _storable(value: Any) -> Any:
    """Return what SQLite can hold of a value."""
    if isinstance(value, float):
        return value if math.isfinite(value) else 0.0
    if isinstance(value, int):
        return max(min(value, 2**63 - 1), -(2**63))
    return str(value).encode("utf-8", "backslashreplace").decode().translate(_CONTROL)


def _row(entry: Entry) -> list[Any]:
    """Return an entry as the table takes it: whatever is in it, it never blocks those behind it."""
    values = [(field, getattr(entry, field)) for field in _FIELDS[1:]]
    return [(None if field in _NULLABLE else "") if value is None else _storable(value) for field, value in values]


class _ForeignError(OSError):
    """The file is not one of ours."""


def _selection(query: HistoryQuery) -> tuple[str, list[Any]]:
    """Return the statement for a query, and its parameters."""
    conditions = {
        "time >= ?": query.since,
        "command = ?": query.cmd,
        "uid = ?": query.uid,
        "id < ?": query.before,
        "(outcome <> 'done') = ?": query.failed,
    }
    wanted = {text: _storable(value) for text, value in conditions.items() if value is not None}
    where = f" WHERE {' AND '.join(wanted)}" if wanted else ""
    statement = f"SELECT {_COLUMNS} FROM history{where} ORDER BY id DESC LIMIT ?"  # noqa: S608  # constants only
    return statement, [*wanted.values(), query.limit]


class HistoryStore:
    """The table, in a file or in memory; opened when it is first needed.

    Args:
        path: The file; None: in memory.
        bounds: How much is kept.
    """

    def __init__(self, path: Path | None, bounds: HistoryBounds) -> None:
        self.path = path
        self.bounds = bounds
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def open(self) -> None:
        """Open the file now, and make it if need be.

        Raises:
            sqlite3.Error: It cannot be used for now.
            OSError: Neither can it.
        """
        self._with(lambda connection: None)

    def append(self, entries: Iterable[Entry]) -> None:
        """Write entries, all or none.

        Raises:
            sqlite3.Error: They could not be written.
            OSError: Neither could they.
        """
        rows = [_row(entry) for entry in entries]
        self._with(lambda connection: _in_transaction(connection, lambda: connection.executemany(_INSERT, rows)))

    def query(self, query: HistoryQuery) -> list[Entry]:
        """Return the entries that fit.

        Raises:
            sqlite3.Error: They could not be read.
            OSError: Neither could they.
        """
        rows = self._with(lambda connection: connection.execute(*_selection(query)).fetchall())
        return [Entry(**dict(zip(_FIELDS, row, strict=True))) for row in rows]

    def rotate(self, now: float) -> bool:
        """Let go of a slice of what exceeds the bounds.

        Args:
            now: The time, in seconds since the epoch.

        Returns:
            Whether there may be more to let go of.

        Raises:
            sqlite3.Error: It could not be done.
            OSError: Neither could it.
        """
        return self._with(lambda connection: self._rotate(connection, now))

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _with(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with an open connection, if need be with a new file."""
        try:
            return action(self._connected())
        except _ForeignError as exc:
            self._set_aside(str(exc))
        except sqlite3.DatabaseError as exc:
            if _primary_code(exc) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise
            self._set_aside(str(exc))
        return action(self._connected())

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and self._identity != _identity(self.path):
            logger.warning("! the history file has been replaced or removed: opening it anew")
            self.close()
        if self._connection is None:
            # Beforehand and not while it is open: closing a second descriptor would drop SQLite's locks.
            if self.path is not None:
                _create_private(self.path)
                _inspect(self.path)
            connection = sqlite3.connect(self.path or ":memory:", timeout=_BUSY_TIMEOUT, isolation_level=None)
            try:
                _prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
            self._identity = _identity(self.path)
        return self._connection

    def _set_aside(self, reason: str) -> None:
        """Move a file that is of no use out of the way, with what belongs to it."""
        self.close()
        if self.path is None:
            return
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        aside = self.path.with_name(f"{self.path.name}.unusable-{stamp}")
        if os.path.lexists(aside):
            raise FileExistsError("two history files within a second were unusable")
        for suffix in ("", "-wal", "-shm"):
            source = self.path.with_name(self.path.name + suffix)
            if os.path.lexists(source):
                source.rename(aside.with_name(aside.name + suffix))
        logger.error("! the history file cannot be used (%s): it is now %s, and a new one is begun", reason, aside.name)

    def _rotate(self, connection: sqlite3.Connection, now: float) -> bool:
        oldest = connection.execute("SELECT id, time FROM history ORDER BY id LIMIT 1").fetchone()
        if oldest is None:
            return _give_back(connection)
        first, its_time = oldest
        (last,) = connection.execute("SELECT max(id) FROM history").fetchone()
        rows = last - first + 1  # ids are dense, unless somebody else deleted some
        excess = rows - self.bounds.max_rows
        if _bytes_used(connection) > self.bounds.max_bytes:
            excess = max(excess, rows // _ROTATE_PART, 1)
        cutoff = now - self.bounds.max_age
        if excess <= 0 and its_time >= cutoff:
            return _give_back(connection)
        _in_transaction(
            connection,
            lambda: connection.execute(
                "DELETE FROM history WHERE id < ? AND (id < ? OR time < ?)",
                (first + _ROTATE_ROWS, first + excess, cutoff),
            ),
        )
        return True


def _create_private(path: Path) -> None:
    """Make the file, for our eyes only; SQLite gives its companions the same mode.

    Raises:
        _ForeignError: There is something that is no file.
        OSError: It cannot be made.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _ForeignError("it is no regular file")
    except FileNotFoundError:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        except FileExistsError as exc:
            raise _ForeignError("it is a link to nothing") from exc


def _identity(path: Path | None) -> tuple[int, int] | None:
    if path is None:
        return None
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _inspect(path: Path) -> None:
    """Look at a file without writing to it, nor to what belongs to it.

    Raises:
        _ForeignError: The file is not one of ours.
        sqlite3.Error: It is damaged, or cannot be used for now.
    """
    connection = sqlite3.connect(f"file:{quote(os.fspath(path))}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT)
    try:
        if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise _ForeignError("it is damaged")
        ours = _pragma(connection, "application_id"), _pragma(connection, "user_version")
        if ours == (0, 0) and connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            return
        if ours != (APPLICATION_ID, SCHEMA_VERSION):
            raise _ForeignError(f"it is of another program or version: {ours[0]:#x} version {ours[1]}")
        columns = tuple(name for _, name, *_ in connection.execute("PRAGMA table_info(history)"))
        if columns != _FIELDS:
            raise _ForeignError("its table has other columns")
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection) -> None:
    """Set the file up, and make the table if there is none."""
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    if _pragma(connection, "user_version") == 0:
        _in_transaction(connection, lambda: _make_table(connection))


def _make_table(connection: sqlite3.Connection) -> None:
    connection.execute(_SCHEMA)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _in_transaction(connection: sqlite3.Connection, action: Callable[[], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = action()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _bytes_used(connection: sqlite3.Connection) -> int:
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    return pages * _pragma(connection, "page_size")


def _give_back(connection: sqlite3.Connection) -> bool:
    """Return unused pages to the file system, unless they are so few that they are needed soon."""
    unused = _pragma(connection, "freelist_count")
    if unused * 8 <= max(_pragma(connection, "page_count"), _VACUUM_PAGES):
        return False
    # As a script, because it takes a step for every page and execute() takes one.
    connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
    return _pragma(connection, "freelist_count") < unused


def _primary_code(exc: sqlite3.Error) -> int:
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF
