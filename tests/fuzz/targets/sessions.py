"""Sessions on both sides: frames, consoles, what a server does with them and what a client does."""

import asyncio
import base64
import json
from typing import Any

from ctld.client.session_core import SessionCore
from ctld.errors import CommandFailed, RemoteProtocolError
from ctld.sessions.console import ConsoleViewer
from ctld.sessions.viewers import FramesViewer
from ctld.wire.frames import HEADER_SIZE, MAX_PAYLOAD, Frame, FrameReader, FrameType, encode_frame
from tests.fuzz.targets.native import no_constant, odd
from tests.fuzz.targets.target import Target, ways_to_cut

__all__ = ["TARGETS"]

MAX_LINE = 256


def fuzz_frames(data: bytes) -> None:
    """Frames are those bytes again, and the rest; the same however they are cut."""
    outcomes = [_frames(pieces) for pieces in ways_to_cut(data)]
    assert all(outcome == outcomes[0] for outcome in outcomes), f"{data!r} means {outcomes}"
    frames, rest, error = outcomes[0]
    assert b"".join(encode_frame(frame.type, frame.payload) for frame in frames) + rest == data or error
    if not error:
        whole = [(frame.type, frame.payload) for frame in frames]
        if rest[:1] == b"\0" and len(rest) > HEADER_SIZE:
            whole.append((FrameType.STDIN, rest[HEADER_SIZE:]))  # what there is of an incomplete one
        for pieces in ways_to_cut(data):
            assert _joined(_parts(pieces)) == _joined(whole)
    for frame in frames:
        assert len(frame.payload) <= MAX_PAYLOAD
        try:
            found = frame.object()
        except RemoteProtocolError:
            continue
        assert found == json.loads(frame.payload)


def _frames(pieces: list[bytes]) -> tuple[list[Frame], bytes, str]:
    reader, frames = FrameReader(), []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (frame := reader.next_frame()) is not None:
                frames.append(frame)
    except RemoteProtocolError as error:
        return frames, b"", str(error)
    inside, at_lines = reader.inside, reader.at_lines
    rest = reader.take_rest()
    assert bool(rest) == (inside or at_lines)
    assert not at_lines or rest[0] > max(FrameType)
    return frames, rest, ""


def _parts(pieces: list[bytes]) -> list[tuple[FrameType, bytes]]:
    """Read frames, and of stdin whatever there is."""
    reader, parts = FrameReader(), []
    for piece in pieces:
        reader.feed(piece)
        while (part := reader.next_part(FrameType.STDIN)) is not None:
            assert isinstance(part, Frame) or len(part) > 0
            parts.append((part.type, part.payload) if isinstance(part, Frame) else (FrameType.STDIN, bytes(part)))
    return parts


def _joined(parts: list[tuple[FrameType, bytes]]) -> list[tuple[FrameType, bytes]]:
    """Put together what belongs to stdin between two other frames; an empty piece is its end."""
    joined: list[tuple[FrameType, bytes]] = []
    for type, payload in parts:
        if joined and payload and joined[-1][1] and type is joined[-1][0] is FrameType.STDIN:
            joined[-1] = (type, joined[-1][1] + payload)
        else:
            joined.append((type, payload))
    return joined


def fuzz_session(data: bytes) -> None:
    """A session's output is the same however it is cut, its pings are answered, and it ends by its exit or an error."""
    outcomes = [_session(pieces) for pieces in ways_to_cut(data)]
    assert all(outcome == outcomes[0] for outcome in outcomes), f"{data!r} means {outcomes}"


def _session(pieces: list[bytes]) -> list[Any]:
    core = SessionCore("/x", MAX_LINE)
    output, answers, end = [], b"", ""
    try:
        for piece in pieces:
            for found in core.feed(piece):
                assert found.stream in (1, 2)
                output.append(tuple(found))
            answers += core.answers()
        if core.over:
            end = f"exit {core.status()}"
    except (CommandFailed, RemoteProtocolError) as error:
        end = f"{type(error).__name__} {error}"
    answers += core.answers()
    return [output, answers, end, core.begun, core.id, core.exit, len(core.news)]


class _Console:
    """A session that notes what is typed, and how large its window is."""

    def __init__(self) -> None:
        self.typed = b""
        self.sizes: list[tuple[int, int]] = []

    def write(self, data: bytes) -> None:
        self.typed += data

    def resize(self, rows: int, cols: int) -> None:
        if max(rows, cols) > 0xFFFF:
            raise CommandFailed("no terminal is that large")
        self.sizes.append((rows, cols))


_loop = asyncio.new_event_loop()


class _Pairs(list[tuple[str, Any]]):
    """An object as it stands, since names may come twice."""


def fuzz_console(data: bytes) -> None:
    """What is typed on a console is what its lines say, however they are cut; other lines are ignored."""
    outcomes = [_loop.run_until_complete(_type(pieces)) for pieces in ways_to_cut(data)]
    assert all(outcome == outcomes[0] for outcome in outcomes), f"{data!r} means {outcomes}"
    typed, sizes = b"", []
    for line in data.split(b"\n")[:-1]:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return  # in a key that nobody asks for that does no harm
        try:
            pairs = json.loads(text, parse_constant=no_constant, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError):
            continue
        if odd(pairs) or (isinstance(pairs, _Pairs) and len(dict(pairs)) < len(pairs)):
            return  # what msgspec makes of such numbers and texts, and of names that come twice, is its own affair
        said = dict(pairs) if isinstance(pairs, _Pairs) else {"keys": 5}
        keys, rows, cols = said.get("keys"), said.get("rows", 0), said.get("cols", 0)
        if not (isinstance(keys, str | None) and type(rows) is type(cols) is int):
            continue
        if rows > 0 and cols > 0 and max(rows, cols) > 0xFFFF:
            continue  # no terminal is that large: the whole line is ignored
        try:
            typed += base64.b64decode(keys or "", validate=True)
        except ValueError:
            continue
        if 0 < rows <= 0xFFFF and 0 < cols <= 0xFFFF:
            sizes.append((rows, cols))
    assert outcomes[0] == (typed, sizes)


async def _type(pieces: list[bytes]) -> tuple[bytes, list[tuple[int, int]]]:
    console = _Console()
    viewer = ConsoleViewer(console, None)
    for piece in pieces:
        viewer.on_data(piece)
    return console.typed, console.sizes


class _Framed(_Console):
    """The same, by frames; it also notes signals and the end of input, and that its client has left."""

    input_full = False

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[Any] = []

    def write(self, *pieces: bytes) -> None:
        self.typed += b"".join(pieces)

    def signal(self, number: int) -> None:
        self.notes.append((number, len(self.typed)))

    def end_input(self) -> None:
        self.notes.append(("end", len(self.typed)))

    def join(self, viewer: object) -> None:
        self.notes.append("joined")

    def leave(self, viewer: object, *, on_purpose: bool) -> None:
        self.notes.append("left" if on_purpose else "gone")


class _Stream:
    """A connection that notes what is sent."""

    transport = "unix"
    backlog = 0
    congested = False

    def __init__(self) -> None:
        self.sent = b""
        self.rest = b""

    def write(self, *pieces: bytes) -> None:
        self.sent += b"".join(pieces)

    def give_to(self, owner: object) -> None:
        assert owner

    def pause(self) -> None:
        assert self.rest == b""

    def unread(self, data: bytes) -> None:
        self.rest = data


def fuzz_viewer(data: bytes) -> None:
    """What a client's frames do to its session is the same however they are cut, and nonsense only lets it go."""
    for may_type in (True, False):
        outcomes = [_loop.run_until_complete(_view(pieces, may_type=may_type)) for pieces in ways_to_cut(data)]
        assert all(outcome == outcomes[0] for outcome in outcomes), f"{data!r} means {outcomes}"


async def _view(pieces: list[bytes], *, may_type: bool) -> list[Any]:
    session, stream = _Framed(), _Stream()
    viewer = FramesViewer(session, stream, may_type=may_type)
    async with viewer:
        for number, piece in enumerate(pieces):
            viewer.on_data(piece)
            if "left" in session.notes or viewer.refusal is not None:
                stream.rest = b""
                rest = b"".join(pieces[number + 1 :])
                break
        else:
            rest = b""
    assert may_type or not (session.typed or session.sizes)
    # After nonsense nobody reads what follows; one who has left gets it back.
    following = stream.rest + rest if viewer.refusal is None else b""
    return [session.typed, session.sizes, session.notes, stream.sent, str(viewer.refusal), following]


TARGETS = (
    Target("frames", fuzz_frames),
    Target("session", fuzz_session),
    Target("console", fuzz_console, max_size=256),
    Target("viewer", fuzz_viewer),
)
