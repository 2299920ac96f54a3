import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.gatherer.paths import join, normalise, relative, split_components

ABSOLUTE = st.lists(st.sampled_from([b"a", b"b", b".", b"..", b"", b"c "])).map(lambda names: b"/" + b"/".join(names))


@given(ABSOLUTE)
def test_normalise_is_normpath_without_its_double_slash(path: bytes) -> None:
    assert normalise(path) == b"/" + os.path.normpath(path).lstrip(b"/")
    assert normalise(normalise(path)) == normalise(path)


@given(ABSOLUTE, ABSOLUTE)
def test_relative_leads_there(target: bytes, directory: bytes) -> None:
    assert relative(target, directory) == os.path.relpath(target, directory)
    assert join(directory, relative(target, directory)) == normalise(target)


@pytest.mark.parametrize(
    ("directory", "name", "joined"),
    [
        (b"/", b"", b"/"),
        (b"/", b"a", b"/a"),
        (b"/a", b"b", b"/a/b"),
        (b"/a", b"../..", b"/"),
        (b"/a", b"../../../b", b"/b"),
        (b"/a", b"/b/./c/", b"/b/c"),
    ],
)
def test_join(directory: bytes, name: bytes, joined: bytes) -> None:
    assert join(directory, name) == joined


def test_components_never_hold_what_could_lead_up() -> None:
    assert split_components(b"/../a/./../b//c/..") == [b"b"]
