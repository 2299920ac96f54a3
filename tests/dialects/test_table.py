"""The table of dialects holds together: names, keys and defaults."""

import msgspec
import pytest

from ctld.client_handler import ClientHandler
from ctld.dialects.table import DEFAULT_DIALECT, DIALECTS
from ctld.endpoint import Listen


@pytest.mark.parametrize("name", DIALECTS)
def test_a_table_that_names_the_dialect_and_one_made_in_code_are_the_same(name):
    listen = DIALECTS[name].listen
    made = listen(address="unix:/a")
    assert made.dialect == name
    assert msgspec.convert({"address": "unix:/a", "dialect": name}, listen) == made


@pytest.mark.parametrize("name", DIALECTS)
def test_the_audit_log_says_the_same_name(name):
    assert DIALECTS[name].name == DIALECTS[name].handler.dialect == name


@pytest.mark.parametrize("name", DIALECTS)
def test_a_plain_unix_socket_is_fine_in_every_dialect(name):
    dialect = DIALECTS[name]
    assert list(dialect.mistakes(dialect.listen(address="unix:/a"))) == []


def test_what_says_no_dialect_is_native():
    assert DEFAULT_DIALECT == "native"
    assert DIALECTS[DEFAULT_DIALECT].listen is Listen
    assert DIALECTS[DEFAULT_DIALECT].handler is ClientHandler
