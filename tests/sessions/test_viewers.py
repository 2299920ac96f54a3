"""Viewers by hand: keep-alive, signals by name, and who is let go; the whole is in `test_joining.py`."""

import asyncio
import signal

import pytest

from ctld.errors import Busy, CommandFailed, InvalidOptions
from ctld.sessions.viewers import Departure, FramesViewer, signal_number
from ctld.wire.frames import FrameReader, FrameType, encode_frame


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


class Clock:
    """Stands in for the loop of a viewer: its time passes when the test says so."""

    def __init__(self):
        self.now = 0.0
        self._timers = []

    def time(self):
        return self.now

    def call_later(self, delay, callback):
        timer = asyncio.get_running_loop().call_later(3600, callback)  # to be cancelled as any other
        self._timers.append((self.now + delay, timer, callback))
        return timer

    def pass_by(self, seconds):
        end = self.now + seconds
        while due := [entry for entry in self._timers if entry[0] <= end and not entry[1].cancelled()]:
            first = min(due, key=lambda entry: entry[0])
            self._timers.remove(first)
            first[1].cancel()
            self.now = first[0]
            first[2]()
        self.now = end


class Timed(FramesViewer):
    """A viewer that goes by a clock of the test's."""

    def __init__(self, session, transport):
        self.stream = Stream(transport)
        super().__init__(session, self.stream)
        self._loop = self.clock = Clock()
        self._heard = self._said = self.clock.now

    @property
    def departed(self):
        return self._departure.done()


class TestKeepAlive:
    """B14: pings on every transport; who is silent over TCP is given up."""

    @pytest.mark.parametrize("transport", ["unix", "tcp"])
    async def test_a_client_that_is_told_nothing_gets_a_ping(self, transport):
        async with Timed(Session(), transport) as viewer:
            viewer.clock.pass_by(14)
            assert viewer.stream.frames() == []
            viewer.clock.pass_by(1)
            assert viewer.stream.frames() == [FrameType.PING]
            viewer.clock.pass_by(15)
            assert viewer.stream.frames() == [FrameType.PING]

    async def test_who_is_told_something_needs_no_ping(self):
        async with Timed(Session(), "unix") as viewer:
            for _ in range(10):
                viewer.clock.pass_by(10)
                viewer.on_output(1, b"x")
            assert set(viewer.stream.frames()) == {FrameType.STDOUT}

    async def test_who_is_silent_for_too_long_is_dead(self):
        session = Session()
        async with Timed(session, "tcp") as viewer:
            viewer.clock.pass_by(44)
            assert not viewer.departed
            viewer.clock.pass_by(1)
            assert await viewer.wait() is Departure.GONE
            assert session.left == [False]

    async def test_who_answers_lives(self):
        async with Timed(Session(), "tcp") as viewer:
            for _ in range(20):
                viewer.clock.pass_by(40)
                viewer.on_data(encode_frame(FrameType.PONG))
            assert not viewer.departed
            viewer.clock.pass_by(60)
            assert viewer.departed

    async def test_a_stopped_client_on_a_unix_socket_keeps_its_session(self):
        async with Timed(Session(), "unix") as viewer:
            viewer.clock.pass_by(3600)
            assert not viewer.departed

    async def test_silence_of_our_own_making_is_not_held_against_it(self):
        session = Session()
        session.input_full = True
        async with Timed(session, "tcp") as viewer:
            viewer.clock.pass_by(3600)
            assert not viewer.departed
            session.input_full = False
            viewer.clock.pass_by(30)
            assert not viewer.departed, "the time begins anew"
            viewer.clock.pass_by(30)
            assert viewer.departed


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
