"""The guest agent's wire: a request that only its own bytes delimit, answers, options and settings."""

import json
import math

from ctld.dialects.guest_agent.codec import GuestAgentCodec
from ctld.dialects.guest_agent.getoption import answer_get_option
from ctld.dialects.guest_agent.requests import RequestScanner, TooLong, field, options_of, understand
from ctld.dialects.guest_agent.settings import read_settings, seconds_of
from ctld.dialects.guest_agent.statuses import json_string
from ctld.errors import LocalProtocolError
from ctld.wire.codec import END_OF_INPUT, NEED_DATA
from ctld.wire.messages import Failure, Invalid, Reply, Request
from tests.fuzz.targets.go_json import TooDeep, command_of
from tests.fuzz.targets.target import Target, ways_to_cut

__all__ = ["TARGETS"]

MAX_SIZE = 512


def _reference(pieces: list[bytes], most: int) -> tuple[int, str] | None:
    """Return after how many pieces there is a request, and for which command (A2); None: never."""
    received = b""
    for number, piece in enumerate(pieces, 1):
        received += piece
        if len(received) > most:
            return None
        command = command_of(received)
        if command is not None:
            return number, command
    return None


def fuzz_guest_scanner(data: bytes) -> None:
    """A request is complete exactly when a slow reading of the rules says so, whatever the pieces."""
    for pieces in ways_to_cut(data):
        if len(pieces) > 64:
            continue  # the slow reading begins anew with each piece
        try:
            expected = _reference(pieces, MAX_SIZE)
        except TooDeep:
            continue
        assert _scan(pieces) == expected


def _scan(pieces: list[bytes]) -> tuple[int, str] | None:
    scanner, received = RequestScanner(MAX_SIZE), b""
    for number, piece in enumerate(pieces, 1):
        received += piece
        try:
            request = scanner.feed(piece)
        except TooLong:
            assert len(received) > MAX_SIZE
            assert scanner.pending == 0
            return None
        assert scanner.pending == (0 if scanner.hopeless else len(received))
        if request is not None:
            assert request == received
            return number, scanner.command
    return None


def fuzz_guest_request(data: bytes) -> None:
    """What a request asks for is text and JSON values; nothing but ValueError is raised, and answers are JSON."""
    command = understand(data)
    if command is None:
        return
    command.encode()
    answers = []
    try:
        options = options_of(data)
        assert not any(key.lower() == "command" for key in options)
    except (ValueError, RecursionError):
        options = None
    for name in ("option", "name"):
        field(data, name)
    try:
        answers.append(answer_get_option(data, {"Daemon": {"RuntimeDir": "/run", "Debug": True}}))
    except ValueError:
        assert not isinstance(field(data, "option"), str)
    codec = GuestAgentCodec(1 << 20)
    codec.receive_data(data)
    event = codec.next_event()
    assert type(event) in (Request, Invalid)
    if type(event) is Request:
        assert (event.cmd, event.opts) == (command, options) or _has_nan(options)
    for message in (Failure(command, "locked"), Failure("", "nonsense"), Reply(options)):
        codec = GuestAgentCodec(1 << 20)
        try:
            codec.send(message)
        except LocalProtocolError:
            continue
        answers.append(codec.data_to_send())
    for answer in answers:
        assert type(json.loads(answer.decode())["Status"]) is int
        assert b"\n" not in answer
    assert json.loads(json_string(command)) == command


def _has_nan(options: object) -> bool:
    return "inf" in repr(options) or "nan" in repr(options)


def fuzz_guest_codec(data: bytes) -> None:
    """A connection is one request or one refusal, and then over; it holds no more than is allowed."""
    for pieces in ways_to_cut(data):
        codec = GuestAgentCodec(MAX_SIZE, strict_errors=bool(len(data) % 2))
        events = []
        for piece in pieces:
            codec.receive_data(piece)
            assert codec.pending <= MAX_SIZE
            while (event := codec.next_event()) not in (NEED_DATA, END_OF_INPUT):
                events.append(event)
        codec.receive_eof()
        while (event := codec.next_event()) is not END_OF_INPUT:
            assert event is not NEED_DATA
            events.append(event)
        assert len(events) <= 1
        assert all(type(event) in (Request, Invalid) for event in events)
        assert codec.next_event() is END_OF_INPUT


def fuzz_guest_settings(data: bytes) -> None:
    """Any configuration is settings, and any text a duration: what makes no sense is the default."""
    text = data.decode("utf-8", "replace")
    settings = read_settings(text)
    assert 0 <= settings.mode <= 0o777
    assert not math.isnan(settings.timeout)
    assert settings.directory
    assert not math.isnan(seconds_of(text))
    assert seconds_of(f"{len(data)}s") == len(data)


TARGETS = (
    Target("guest_scanner", fuzz_guest_scanner),
    Target("guest_request", fuzz_guest_request),
    Target("guest_codec", fuzz_guest_codec),
    Target("guest_settings", fuzz_guest_settings),
)
