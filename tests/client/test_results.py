"""ctld.client.results: the type that the caller asked for, or an error that names the place."""

import datetime

import msgspec
import pytest

from ctld.client.results import as_type
from ctld.errors import RemoteProtocolError


class Vm(msgspec.Struct):
    name: str
    started: datetime.datetime | None = None


def test_a_struct() -> None:
    vm = as_type({"name": "a", "started": "2026-01-02T03:04:05Z", "unknown": 1}, Vm, "vm_show")
    assert vm == Vm("a", datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC))


def test_keys_of_json_are_text_and_may_mean_numbers() -> None:
    assert as_type({"1": b"aGk=".decode()}, dict[int, bytes], "x") == {1: b"hi"}


def test_what_does_not_fit_names_the_command_and_the_place() -> None:
    with pytest.raises(RemoteProtocolError, match=r"the result of vm_list is not as expected: .*\$\[0\]\.name"):
        as_type([{"name": 5}], list[Vm], "vm_list")
