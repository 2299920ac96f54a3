import glob
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctld.errors import CtldError
from ctld.gatherer.listing import matching


def go_on() -> None:
    """Nobody interrupts."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    root = tmp_path_factory.mktemp("tree")
    for name in ("a", "ab", "b.txt", ".hidden", "new\nline", "[x]", "\udcff\udcfe", "sp ace "):
        (root / name).write_text("x")
    for name in ("dir", "dir/sub", ".dot", "empty", "d2"):
        (root / name).mkdir()
    for name in ("dir/a", "dir/.b", "dir/sub/c", ".dot/a", "d2/a"):
        (root / name).write_text("x")
    (root / "link").symlink_to("dir")
    (root / "broken").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    before = os.getcwd()
    os.chdir(root)
    yield os.fsencode(root)
    os.chdir(before)


PIECES = st.lists(
    st.sampled_from(
        [b"a", b"b", b"*", b"?", b"/", b"//", b"dir", b".", b"..", b"[a-d]", b"[", b"link", b"**", b"\n", b"\xff"]
    ),
    max_size=7,
).map(b"".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(PIECES, st.booleans())
def test_finds_what_glob_finds(tree: bytes, pattern: bytes, absolute: bool) -> None:
    if absolute:
        pattern = tree + b"/" + pattern
    assert matching(pattern, go_on) == sorted(glob.glob(pattern))


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (
            b"*",
            {
                b"a",
                b"ab",
                b"b.txt",
                b"new\nline",
                b"[x]",
                b"\xff\xfe",
                b"sp ace ",
                b"dir",
                b"empty",
                b"d2",
                b"link",
                b"broken",
                b"loop",
            },
        ),
        (b".*", {b".hidden", b".dot"}),
        (b"*/a", {b"dir/a", b"d2/a", b"link/a"}),
        (b"**/c", set()),
        (b"dir/**", {b"dir/a", b"dir/sub"}),
        (b"*/", {b"dir/", b"empty/", b"d2/", b"link/"}),
        (b"broken", {b"broken"}),
        (b"dir/", {b"dir/"}),
        (b"a/", set()),
        (b"", set()),
        (b"a\0*", set()),
        (b"a\0", set()),
        (b"[[]x]", {b"[x]"}),
        (b"loop/*", set()),
    ],
)
def test_rules(tree: bytes, pattern: bytes, found: set[bytes]) -> None:
    assert matching(pattern, go_on) == sorted(found)


def test_very_many_components_end_well(tree: bytes) -> None:
    assert matching(b"*/" * 20000, go_on) == []
    deep = b"/".join([b"[.]"] * 1500)
    assert matching(deep, go_on) == sorted(glob.glob(b"[.]/[.]"))
    assert matching(b"./" * 1000 + b"a", go_on) == [b"./" * 1000 + b"a"]


class Stop(CtldError):
    pass


@pytest.mark.parametrize("pattern", [b"*", b"*/*", b"a", b"*/a", b"a\0"])
def test_every_step_can_be_interrupted(tree: bytes, pattern: bytes) -> None:
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    matching(pattern, count)
    assert steps >= (len(os.listdir(tree)) if pattern.startswith(b"*") else 1)
    for last in range(steps):
        left = last

        def stop() -> None:
            nonlocal left
            if not left:
                raise Stop
            left -= 1

        with pytest.raises(Stop):
            matching(pattern, stop)


def test_what_cannot_be_listed_has_no_members(tree: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: bytes) -> object:
        if path.endswith(b"dir"):
            raise PermissionError
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert matching(b"*/[a]", go_on) == [b"d2/a", b"link/a"]


def test_a_directory_that_cannot_be_asked_is_none(tree: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Entry:
        name = b"x"

        def is_dir(self) -> bool:
            raise PermissionError

    class Entries(list[Entry]):
        def __enter__(self) -> "Entries":
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(os, "scandir", lambda _: Entries([Entry()]))
    assert matching(b"*/a", go_on) == []
