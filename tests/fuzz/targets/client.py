"""The native dialect on the client's side: lines, sessions, many requests over one connection; and session frames."""

import asyncio
from typing import Any

from ctld.client.link import Link
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


TARGETS = (
    Target("client", fuzz_client, max_size=512),
    Target("link", fuzz_link, max_size=512),
)
