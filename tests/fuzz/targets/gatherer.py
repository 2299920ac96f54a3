"""The gatherer's wire, both ends; its patterns; how its workers are started."""

import fnmatch
import re

from ctld.errors import ConfigError, InvalidOptions, RemoteProtocolError
from ctld.gatherer.names import ARCHIVE_SUFFIX, as_text, check_report_name, output_name
from ctld.gatherer.patterns import Pattern, has_magic
from ctld.gatherer.protocol import PARAMETERS, RequestReader, copy_returns, exec_returns, glob_returns, prompt
from ctld.gatherer.replies import (
    Answer,
    ReplyReader,
    copy_matching_request,
    copy_request,
    exec_request,
    glob_request,
    noop_request,
)
from ctld.gatherer.worker import parse_arguments
from tests.fuzz.targets.target import Target, ways_to_cut

__all__ = ["TARGETS"]

LIMIT = 2048


def fuzz_gatherer_requests(data: bytes) -> None:
    """Requests are the same however they are cut, and are the lines that came."""
    outcomes = [_requests(pieces) for pieces in ways_to_cut(data)]
    assert all(outcome == outcomes[0] for outcome in outcomes), f"{data!r} means {outcomes}"
    requests, error = outcomes[0]
    lines = data.split(b"\n")[:-1]
    for request in requests:
        assert len(request) == 1 + PARAMETERS[request[0]]
        assert [lines[0].strip(), *lines[1 : len(request)]] == request
        del lines[: len(request)]
    assert bool(error) == (bool(lines) and lines[0].strip() not in PARAMETERS)


def _requests(pieces: list[bytes]) -> tuple[list[list[bytes]], str]:
    reader, requests = RequestReader(), []
    try:
        for piece in pieces:
            reader.feed(piece)
            while (request := reader.next_request()) is not None:
                requests.append(request)
    except RemoteProtocolError as error:
        return requests, str(error)
    return requests, ""


def fuzz_gatherer_replies(data: bytes) -> None:
    """Returns of any kind are the same however they are cut, and what a worker writes is what is read."""
    for request in (glob_request(b"*"), exec_request(b"x"), copy_request(b"/a", b"/b"), noop_request()):
        outcomes = []
        for pieces in ways_to_cut(data):
            outcomes.append(_answer(request, pieces))
        one_by_one = outcomes[1]
        for outcome in outcomes:
            # What follows the prompt in one piece is a mistake; one that comes later is somebody else's to find.
            assert outcome == one_by_one or outcome == "something follows the prompt", f"{data!r} means {outcomes}"
    _check_round_trip(data)


def _answer(request, pieces: list[bytes]) -> object:
    reader = ReplyReader(request, 7, LIMIT)
    received = 0
    try:
        for piece in pieces:
            received += len(piece)
            answer = reader.feed(piece)
            if answer is not None:
                return answer
    except RemoteProtocolError as error:
        return str(error)
    assert received <= LIMIT + 64, "an answer is bounded"
    return None


def _check_round_trip(data: bytes) -> None:
    first, _, second = data.partition(b"|")
    status = int.from_bytes(data[:3], "big", signed=True)
    answer = _answer(exec_request(b"x"), [exec_returns(status, first, second) + prompt(7)])
    if len(data) < LIMIT // 2:
        assert isinstance(answer, Answer)
        assert (answer.value.status, answer.value.output, answer.value.errors) == (status, first, second)
    names = data.split(b"|")[:50]
    answer = _answer(glob_request(b"*"), [glob_returns(names) + prompt(7)])
    if len(data) < LIMIT // 2:
        assert answer.value == tuple(name for name in names if b"\n" not in name)
    results = [("FILE", "12", first), ("SKIP", "it is " + "x" * len(second[:50]), second)]
    answer = _answer(copy_request(b"/a", b"/b"), [copy_returns(results) + prompt(7)])
    if len(data) < LIMIT // 2:
        assert [(one.outcome, one.detail, one.path) for one in answer.value] == results
    try:
        wire = copy_matching_request(first, second, status).wire
    except InvalidOptions:
        assert b"\n" in data or b"\0" in data
        return
    assert _requests([wire]) == ([[b"globcp", first, second, b"%d" % status]], "")


def fuzz_patterns(data: bytes) -> None:
    """A pattern matches what `fnmatch` says, in no more than pattern times name steps."""
    text, _, name = data.partition(b"\0")
    text, name = text[:100], name[:200]
    pattern = Pattern(text)
    # Of a range that runs backwards fnmatch makes something else than nothing.
    if not any(first > last for first, last in re.findall(rb"(?s)(?=(.)-(.))", text)):
        expected = re.fullmatch(fnmatch.translate(text.decode("latin-1")), name.decode("latin-1")) is not None
        assert pattern.matches(name) == expected
    assert pattern.covers(name) in (True, False)
    if not has_magic(text):
        assert pattern.matches(name) == (text == name)


def fuzz_gatherer_names(data: bytes) -> None:
    """Start options are settings or one error; names of outputs are harmless, and those of reports checked."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        settings = parse_arguments(text.split(" "))
        assert settings.max_output is None or settings.max_output >= 0
    except ConfigError:
        pass
    name = output_name(3, text)
    assert re.fullmatch(r"0003(-[A-Za-z0-9_.-]{1,60})?", name)
    try:
        assert check_report_name(text) == text
        assert not text.endswith(ARCHIVE_SUFFIX)
        assert "/" not in text
        assert not text.startswith(".")
    except InvalidOptions:
        pass
    shown, exact = as_text(data)
    shown.encode()
    assert bool(exact) == (shown.encode() != data)


TARGETS = (
    Target("gatherer_requests", fuzz_gatherer_requests),
    Target("gatherer_replies", fuzz_gatherer_replies),
    Target("patterns", fuzz_patterns),
    Target("gatherer_names", fuzz_gatherer_names),
)
