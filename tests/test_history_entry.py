"""A question about the audit log is checked before it is asked."""

import pytest

from ctld.errors import InvalidOptions
from ctld.history_entry import MAX_LIMIT, Entry, HistoryQuery


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1])
def test_a_limit_out_of_bounds_is_refused(limit: int):
    with pytest.raises(InvalidOptions, match=str(MAX_LIMIT)) as caught:
        HistoryQuery(limit=limit)
    assert caught.value.fields == {"path": "$.limit"}


def test_limits_within_bounds_are_taken():
    assert [HistoryQuery(limit=limit).limit for limit in (1, MAX_LIMIT)] == [1, MAX_LIMIT]


def test_an_entry_does_not_change():
    entry = Entry(time=1.0, command="x", outcome="done")
    with pytest.raises(AttributeError):
        entry.command = "y"
