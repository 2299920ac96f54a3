"""ctld.client: its names, found at first use."""

import pytest

import ctld.client


def test_every_name_is_there() -> None:
    assert dir(ctld.client) == sorted(ctld.client.__all__)
    for name in ctld.client.__all__:
        assert getattr(ctld.client, name).__name__ == name


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match=r"module 'ctld\.client' has no attribute 'nonsense'"):
        ctld.client.nonsense  # noqa: B018 - looking is the test
