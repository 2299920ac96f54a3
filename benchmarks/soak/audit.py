"""Reading the audit log's file, as an operator may."""

import json
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.soak.ledger import Entry

__all__ = ["Audit", "read", "tag_of", "unpaired"]


class Audit(NamedTuple):
    """What the log has since some entry.

    Attributes:
        last: The number of its last entry.
        entries: The entries.
        problems: What is wrong with the log itself.
    """

    last: int
    entries: list[Entry]
    problems: list[str]


def read(path: Path, after: int) -> Audit:
    """Read the entries after the one of that number."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        sound = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
        rows = connection.execute(
            "SELECT id, command, slug, cli, options FROM history WHERE id > ? ORDER BY id", (after,)
        ).fetchall()
    finally:
        connection.close()
    entries = [Entry(tag_of(cli, options), command, slug) for _, command, slug, cli, options in rows]
    problems = [f"the file: {text}" for text in sound if text != "ok"]
    problems += unpaired((command, options) for _, command, _, _, options in rows)
    return Audit(rows[-1][0] if rows else after, entries, problems)


def tag_of(cli: str, options: str) -> str:
    """Return the tag of an entry: the command line of the caller, or else the name of what it is about."""
    if cli:
        return cli
    given: dict[str, Any] = json.loads(options) if options.startswith("{") else {}
    return str(given.get("name", "")).rpartition("/")[2]


def unpaired(entries: Any) -> list[str]:
    """Find sessions of which the log has the beginning or the end alone, or twice.

    Args:
        entries: The command and the options of each entry.
    """
    seen: dict[str, list[str]] = {}
    for command, options in entries:
        if command in ("session_start", "session_end"):
            seen.setdefault(json.loads(options)["id"], []).append(command)
    wrong = [name for name, found in seen.items() if found != ["session_start", "session_end"]]
    return [f"{len(wrong)} sessions without one beginning and one end: {', '.join(wrong[:5])}"] if wrong else []
