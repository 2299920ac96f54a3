"""Names and numbers of statuses, as the table of release 0.6.9 has them."""

from pathlib import Path

import pytest

from ctld.dialects.fss_control import statuses
from ctld.dialects.fss_control.statuses import status_name, status_number

TABLE = Path(__file__).parents[2] / "vectors/fss_status_codes.tsv"
ROWS = [line.split("\t") for line in TABLE.read_text().splitlines()]


def test_every_number_of_the_table_has_its_name():
    assert len(ROWS) == 594
    for number, name in ROWS:
        assert status_name(number) == name
        assert status_name(name) == name


def test_every_status_that_is_used_is_in_the_table():
    used = {getattr(statuses, name) for name in statuses.__all__ if name.isupper()}
    assert used <= {name for _, name in ROWS}
    assert len(used) == 16


def test_numbers_for_people():
    assert status_number("F_memory_not") == 342
    assert status_number("F_no_such") is None


@pytest.mark.parametrize("word", ["", "0123456", "99999", "done", "F_a b", "F_é", "F_\x1b[2J", "f_done", "-1", "٣"])
def test_what_is_no_status(word):
    assert status_name(word) is None
