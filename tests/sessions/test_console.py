"""The ancestor's console: what its lines mean; the whole is in `test_joining.py`."""

from base64 import b64encode

import pytest

from ctld.errors import InvalidOptions
from ctld.sessions.console import ConsoleViewer


class Session:
    def __init__(self):
        self.typed = b""
        self.sizes = []

    def write(self, data):
        self.typed += data

    def resize(self, rows, cols):
        if rows > 0xFFFF:
            raise InvalidOptions("too large")
        self.sizes.append((rows, cols))


class Stream:
    transport = "unix"
    backlog = 0

    def __init__(self):
        self.sent = b""

    def write(self, data):
        self.sent += data


def keys(text):
    return b'{"keys": "%s"}\n' % b64encode(text)


async def test_a_line_that_is_nested_without_end_is_ignored():
    session = Session()
    viewer = ConsoleViewer(session, Stream())
    viewer.on_data(b'{"x": ' + b"[" * 100_000 + b"\n" + keys(b"a"))
    assert session.typed == b"a"


async def test_keys_and_sizes_cut_anywhere():
    wire = keys(b"ls\n") + b'{"rows": 3, "cols": 4}\n' + b'{"keys": "eA==", "rows": 5, "cols": 6}\n'
    for size in (1, 2, 7, len(wire)):
        viewer = ConsoleViewer(Session(), Stream())
        for start in range(0, len(wire), size):
            viewer.on_data(wire[start : start + size])
        assert viewer.session.typed == b"ls\nx"
        assert viewer.session.sizes == [(3, 4), (5, 6)]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"nonsense",
        b"[]",
        b'{"keys": 1}',
        b'{"keys": "not base64!"}',
        b'{"keys": "YQ"}',
        b'{"keys": "YQ==\\n"}',
        b'{"rows": 0, "cols": 1}',
        b'{"rows": 1}',
        b'{"rows": -1, "cols": 5}',
        b'{"rows": 70000, "cols": 5}',
        b'{"rows": 1.5, "cols": 5}',
        b"\xff\xfe",
    ],
)
async def test_what_is_not_understood_is_ignored(line):
    viewer = ConsoleViewer(Session(), Stream())
    viewer.on_data(line + b"\n" + keys(b"still here"))
    assert viewer.session.typed == b"still here"
    assert viewer.session.sizes == []


async def test_a_line_without_end_does_not_fill_the_memory():
    viewer = ConsoleViewer(Session(), Stream())
    for _ in range(64):
        viewer.on_data(b"x" * 65536)
        assert len(viewer._buffer) <= 1024 * 1024 + 65536
    viewer.on_data(b"\n" + keys(b"back"))
    assert viewer.session.typed == b"back"


async def test_who_only_watches_types_nothing():
    viewer = ConsoleViewer(Session(), Stream(), may_type=False)
    viewer.on_data(keys(b"rm -rf") + b'{"rows": 5, "cols": 5}\n')
    assert viewer.session.typed == b""
    assert viewer.session.sizes == []


async def test_output_is_sent_as_it_is():
    viewer = ConsoleViewer(Session(), Stream())
    viewer.on_output(1, b"\x1b[2J\xff")
    assert viewer._stream.sent == b"\x1b[2J\xff"
