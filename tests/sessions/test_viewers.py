"""Viewers by hand: keep-alive, signals by name, and who is let go; the whole is in `test_joining.py`."""

import asyncio
import signal

import pytest

from ctld.errors import Busy, CommandFailed, InvalidOptions
from ctld.sessions import viewers
from ctld.sessions.viewers import Departure, FramesViewer, signal_number
from ctld.wire.frames import FrameReader, FrameType, encode_frame
from tests.native import until


class Session:
    input_full = False

    def __init__(self):
        self.left = []
        self.typed = []

    def write(self, *pieces):
        self.typed.append(b"".join(pieces).decode())

    def end_input(self):
        self.typed.append("end")

    def join(self, viewer):
        self.viewer = viewer

    def leave(self, viewer, *, on_purpose=False):
        self.left.append(on_purpose)

    def balance(self):
        self.balanced = True


class Stream:
    congested = False
    backlog = 0

    def __init__(self, transport="unix"):
        self.transport = transport
        self.reader = FrameReader()
        self.paused = False
        self.rest = b""

    def write(self, data):
        self.reader.feed(data)

    def give_to(self, owner):
        self.owner = owner

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False

    def unread(self, data):
        self.rest = data

    def frames(self):
        found = []
        while frame := self.reader.next_frame():
            found.append(frame.type)
        return found


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(viewers, "_PING_AFTER", 0.02)
    monkeypatch.setattr(viewers, "_DEAD_AFTER", 0.06)
    monkeypatch.setattr(viewers, "_SHORTEST_WAIT", 0.005)


class TestKeepAlive:
    """B14: pings on every transport; who is silent over TCP is given up."""

    async def test_a_client_that_is_told_nothing_gets_a_ping(self, hasty):
        stream = Stream()
        async with FramesViewer(Session(), stream):
            await until(lambda: FrameType.PING in stream.frames())

    async def test_who_is_silent_for_too_long_is_dead(self, hasty):
        session = Session()
        async with FramesViewer(session, Stream("tcp")) as viewer:
            assert await viewer.wait() is Departure.GONE
            assert session.left == [False]

    async def test_who_answers_lives(self, hasty):
        async with FramesViewer(Session(), Stream("tcp")) as viewer:
            for _ in range(20):
                viewer.on_data(encode_frame(FrameType.PONG))
                await asyncio.sleep(0.01)
            assert not viewer._departure.done()

    async def test_a_stopped_client_on_a_unix_socket_keeps_its_session(self, hasty):
        async with FramesViewer(Session(), Stream("unix")) as viewer:
            await asyncio.sleep(0.15)
            assert not viewer._departure.done()

    async def test_silence_of_our_own_making_is_not_held_against_it(self, hasty):
        session = Session()
        session.input_full = True
        async with FramesViewer(session, Stream("tcp")) as viewer:
            await asyncio.sleep(0.15)
            assert not viewer._departure.done()


async def test_what_is_left_is_given_back():
    stream = Stream()
    async with FramesViewer(Session(), stream) as viewer:
        viewer.on_data(b"\x00\x00\x00")
    assert stream.rest == b"\x00\x00\x00"
    assert stream.paused


async def test_a_full_program_pauses_its_client():
    stream = Stream()
    async with FramesViewer(Session(), stream) as viewer:
        viewer.on_input_full(True)
        assert stream.paused
        viewer.on_input_full(False)
        assert not stream.paused
        viewer.on_drained()
        assert viewer.session.balanced


async def test_a_slow_watcher_is_let_go_and_a_slow_typist_is_not():
    for may_type in (False, True):
        stream = Stream()
        stream.backlog = 2 * 1024 * 1024
        async with FramesViewer(Session(), stream, may_type=may_type) as viewer:
            viewer.on_output(1, b"x")
            if may_type:
                assert stream.frames() == [FrameType.STDOUT]
            else:
                with pytest.raises(Busy, match="too slowly"):
                    await viewer.wait()


async def test_the_first_departure_counts():
    async with FramesViewer(Session(), Stream()) as viewer:
        viewer.on_data(encode_frame(FrameType.EXIT))
        viewer.on_gone()
        viewer.on_end()
        viewer.on_ended()
        assert await viewer.wait() is Departure.LEFT


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 65536])
async def test_output_is_one_frame_however_long(size):
    stream = Stream()
    async with FramesViewer(Session(), stream) as viewer:
        viewer.on_output(2, b"x" * size)
        assert stream.reader.next_frame() == (FrameType.STDERR, b"x" * size)
        assert stream.reader.next_frame() is None


@pytest.mark.parametrize("may_type", [True, False])
async def test_what_was_typed_comes_before_what_follows_it(may_type):
    session = Session()
    wire = b"".join(
        encode_frame(type, payload)
        for type, payload in [
            (FrameType.STDIN, b"ab"),
            (FrameType.STDIN, b"cd"),
            (FrameType.PING, b""),
            (FrameType.STDIN, b"ef"),
            (FrameType.STDIN, b""),
        ]
    )
    async with FramesViewer(session, Stream(), may_type=may_type) as viewer:
        viewer.on_data(wire[:7])
        viewer.on_data(wire[7:])
        assert session.typed == (["ab", "cd", "ef", "end"] if may_type else [])


async def test_what_was_typed_before_nonsense_reaches_the_program():
    session = Session()
    async with FramesViewer(session, Stream()) as viewer:
        viewer.on_data(encode_frame(FrameType.STDIN, b"ab") + b"\x09")
        assert session.typed == ["ab"]
        with pytest.raises(CommandFailed, match="expected a frame"):
            await viewer.wait()


async def test_what_comes_after_nonsense_is_not_understood():
    async with FramesViewer(Session(), Stream()) as viewer:
        viewer.on_data(b"\x09" + encode_frame(FrameType.EXIT))
        with pytest.raises(CommandFailed, match="expected a frame"):
            await viewer.wait()


@pytest.mark.parametrize("name", ["TERM", "SIGTERM", "term", "15", 15])
def test_signals_have_many_names(name):
    assert signal_number(name) == signal.SIGTERM


@pytest.mark.parametrize("name", ["", "NOPE", "SIG", "99", 0, -1, True, None, 1.5, "0", "_DFL", "²", [9]])
def test_what_is_no_signal(name):
    with pytest.raises(InvalidOptions, match="there is no signal"):
        signal_number(name)


async def test_a_signal_that_is_not_permitted_lets_its_client_go():
    class Another(Session):
        def signal(self, number):
            raise CommandFailed("it is not permitted")

    async with FramesViewer(Another(), Stream()) as viewer:
        viewer.on_data(encode_frame(FrameType.SIGNAL, b'{"signal": "TERM"}'))
        with pytest.raises(CommandFailed, match="not permitted"):
            await viewer.wait()
