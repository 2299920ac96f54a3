"""The native dialect on the client's side: lines, sessions, many requests over one connection; and session frames."""

import asyncio
import json
from typing import Any

from ctld.client.link import Link
from ctld.client.session_core import SessionCore
from ctld.client.wire import (
    LineReader,
    Update,
    classify,
    decode_line,
    encode_request,
    failure_to_error,
    is_banner,
    protocol_of,
    shortened,
)
from ctld.errors import CommandFailed, CtldError, LocalProtocolError, RemoteProtocolError
from ctld.wire.frames import HEADER_SIZE, MAX_PAYLOAD, Frame, FrameReader, FrameType, encode_frame
from ctld.wire.native import NativeCodec
from tests.fuzz.targets.target import Target, ways_to_cut

__all__ = ["TARGETS"]

MAX_LINE = 256


def fuzz_client(data: bytes) -> None:
    """What a server sends is messages, or ends the connection; and a request is what the server reads."""
    outcomes = [_messages(pieces) for pieces in ways_to_cut(data)]
    assert all(outcome == outcomes[0] for outcome in outcomes), f"{data!r} means {outcomes}"
    for message in outcomes[0][0]:
        _understand(message)
        _ask(message)


def _messages(pieces: list[bytes]) -> tuple[list[dict[str, Any]], str]:
    reader, messages = LineReader(MAX_LINE), []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (line := reader.next_line()) is not None:
                messages.append(decode_line(line))
    except RemoteProtocolError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 500
        return messages, str(error)
    rest = reader.take_rest()
    assert len(rest) <= MAX_LINE
    return messages, shortened(rest)


def _understand(message: dict[str, Any]) -> None:
    try:
        if is_banner(message):
            assert protocol_of(message) in (1, 2)
            return
        kind = classify(message)
    except RemoteProtocolError as error:
        assert "\n" not in str(error) or "\n" in str(message.get("version"))
        return
    assert message["status"] is (kind != "failure")
    if kind == "progress":
        update = Update(message)
        assert isinstance(update.unit, str)
        assert isinstance(update.current, int | float | None)
    elif kind == "failure":
        error = failure_to_error(message)
        assert isinstance(error, CommandFailed)
        assert isinstance(error.message, str)
        assert error.code


def _ask(options: dict[str, Any]) -> None:
    try:
        line = encode_request("x", options, request_id=3, stream=True)
    except LocalProtocolError:
        return
    codec = NativeCodec()
    codec.receive_data(line)
    request = codec.next_event()
    assert line.count(b"\n") == 1
    assert (request.cmd, request.id, request.stream) == ("x", 3, True)
    if not any(abs(number) >= 2**63 for number in _numbers(options)):
        assert request.opts == options


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for one in value.values() for number in _numbers(one)]
    if isinstance(value, list):
        return [number for one in value for number in _numbers(one)]
    return [value] if isinstance(value, int | float) else []


class _Transport(asyncio.Transport):
    """A connection that goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False
        self.paused = False

    def write(self, data: bytes) -> None:
        assert data.endswith(b"\n")

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False


_loop = asyncio.new_event_loop()  # one for all rounds: making one costs as much as a thousand of them


def fuzz_link(data: bytes) -> None:
    """Whatever the server says, every request ends exactly once, and the same however it is cut."""
    outcomes = [_loop.run_until_complete(_talk(pieces)) for pieces in ways_to_cut(data)]
    assert all(outcome == outcomes[0] for outcome in outcomes), f"{data!r} means {outcomes}"


async def _talk(pieces: list[bytes]) -> list[Any]:
    link, transport = Link("/x", MAX_LINE), _Transport()
    link.connection_made(transport)
    exchanges = [link.send("a", {}, stream=False, deadline=None, detach=False) for _ in range(2)]
    exchanges.append(link.send("b", {}, stream=True, deadline=None, detach=False))
    exchanges.append(link.send("c", {}, stream=False, deadline=None, detach=True))
    for piece in pieces:
        link.data_received(piece)
    told = [(exchange.done, exchange.response, str(exchange.error)) for exchange in exchanges]
    if link.lost is not None:
        assert isinstance(link.lost, RemoteProtocolError)
        assert transport.aborted
    link.connection_lost(None)
    for exchange, (done, response, error) in zip(exchanges, told, strict=True):
        assert exchange.done
        assert exchange.error is None or isinstance(exchange.error, CtldError)
        assert not done or (exchange.response, str(exchange.error)) == (response, error)
    return [(str(e.error), e.response, [str(n) for n in e.news], list(e.items), e.held) for e in exchanges]


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


TARGETS = (
    Target("client", fuzz_client, max_size=512),
    Target("link", fuzz_link, max_size=512),
    Target("frames", fuzz_frames),
    Target("session", fuzz_session),
)
