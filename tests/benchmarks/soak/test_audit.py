"""Reading the audit log: tags, both ends of sessions, a file that a real history has written."""

import asyncio

import pytest

from benchmarks.soak.audit import read, tag_of, unpaired
from benchmarks.soak.ledger import Entry
from ctld.history import History
from ctld.history_entry import Entry as HistoryEntry


@pytest.mark.parametrize(
    ("cli", "options", "tag"),
    [
        ("soak_1", "{}", "soak_1"),
        ("soak_1", '{"name": "soak_2"}', "soak_1"),
        ("", '{"name": "soak_2"}', "soak_2"),
        ("", '{"name": "nowhere/soak_2"}', "soak_2"),
        ("", '{"name": 7}', "7"),
        ("", "{}", ""),
        ("", '"90000 characters, too long to keep"', ""),
    ],
)
def test_a_tag_is_the_command_line_or_the_name(cli, options, tag):
    assert tag_of(cli, options) == tag


def test_sessions_have_both_ends_once():
    start, end = ("session_start", '{"id": "a"}'), ("session_end", '{"id": "a"}')
    assert not unpaired([start, ("exec", "{}"), end])
    for wrong in ([start], [end], [end, start], [start, end, end]):
        assert unpaired(wrong) == ["1 sessions without one beginning and one end: a"]


def test_a_log_is_read_from_where_it_was_left(tmp_path):
    async def record(*commands: str) -> None:
        async with History(tmp_path / "history.sqlite3") as history:
            for command in commands:
                history.record(HistoryEntry(time=0.0, command=command, outcome="failed", slug="failed", cli="soak_1"))

    asyncio.run(record("one", "two"))
    first = read(tmp_path / "history.sqlite3", 0)
    assert first.entries == [Entry("soak_1", "one", "failed"), Entry("soak_1", "two", "failed")]
    assert not first.problems
    assert read(tmp_path / "history.sqlite3", first.last) == (first.last, [], [])
    asyncio.run(record("three"))
    assert [entry.command for entry in read(tmp_path / "history.sqlite3", first.last).entries] == ["three"]
