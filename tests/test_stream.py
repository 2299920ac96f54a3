"""The surface of a hijacked connection: what implements it has all of it."""

import pytest

from ctld.hijack import HijackedConnection
from ctld.stream import Stream


def test_it_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Stream()  # type: ignore[abstract]  # that is the point


def test_the_hijacked_connection_has_all_of_it():
    assert issubclass(HijackedConnection, Stream)
    assert not HijackedConnection.__abstractmethods__
    assert Stream.exit_status is None
