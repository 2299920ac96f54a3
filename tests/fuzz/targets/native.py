"""The native dialect on the server's side: its codec, its JSON, its buffer."""

import contextlib
import json
import math
import random
from pathlib import PurePosixPath
from typing import Any

from ctld.errors import InvalidOptions, LocalProtocolError, RemoteProtocolError
from ctld.testing import check_garbage
from ctld.wire.buffer import ReceiveBuffer
from ctld.wire.codec import END_OF_INPUT, NEED_DATA
from ctld.wire.jsontext import decode_deep, encode
from ctld.wire.messages import Cancel, Failure, Invalid, Reply, Request
from ctld.wire.native import NativeCodec
from tests.fuzz.targets.target import CountedBytes, Target, further_cuts

__all__ = ["TARGETS"]

MAX_LINE = 256


def fuzz_native(data: bytes) -> None:
    """However the bytes are cut they mean the same, and every answer is one line that its reader takes."""
    events = check_garbage(lambda: NativeCodec(max_line=MAX_LINE), data, also=further_cuts(data))
    _check_meaning(data, events)
    for pieces in ([data], *further_cuts(data)):
        assert _in_batches(pieces, len(data)) == events
    for event in events:
        if isinstance(event, Cancel):
            continue
        answers = NativeCodec()
        answers.send(Failure(event.message, event.code, event.fields) if type(event) is Invalid else Reply(), event.id)
        text = answers.data_to_send()
        answer = json.loads(text)
        assert text.count(b"\n") == 1
        assert answer.get("id") == event.id
        again = NativeCodec()
        again.receive_data(text)
        assert again.next_event() is not NEED_DATA
        if type(event) is Request:
            try:
                encode(event.opts)
            except InvalidOptions:
                continue


def _in_batches(pieces: list[bytes], number: int) -> list[Any]:
    """Read as a connection does, which takes some requests of a batch or all."""
    codec, rng, events = NativeCodec(MAX_LINE), random.Random(number), []

    def take(requests: list[Request]) -> int:
        taken = rng.choice((0, 1, len(requests), len(requests)))
        events.extend(requests[:taken])
        return min(taken, len(requests))

    with contextlib.suppress(RemoteProtocolError):
        for piece in [*pieces, b""]:
            if not piece:
                codec.receive_eof()
            elif rng.random() < 0.3:  # as while a request may take the connection
                codec.receive_data(piece)
            elif (requests := codec.receive_requests(piece)) is not None:
                if (taken := take(requests)) == len(requests):
                    continue
                codec.return_requests(piece, taken)
            while True:
                left = codec.hand_out(take)
                if left == 0 and piece:
                    break
                if left is None:
                    event = codec.next_event()
                    if event is NEED_DATA or event is END_OF_INPUT:
                        break
                    events.append(event)
    return events


def _check_meaning(data: bytes, events: list[Any]) -> None:
    """Compare with what the rules say of each line, read slowly (N2, N4)."""
    lines = [line for line in data.split(b"\n") if (line and not line.isspace()) or len(line) > MAX_LINE]
    wanted = [meaning for line in lines if (meaning := _meaning(line)) != "nothing"]
    if "the web" in wanted:
        del wanted[wanted.index("the web") :]
    if "anything" in wanted:
        return
    assert len(wanted) == len(events), f"{len(wanted)} lines mean something, and there are {len(events)} events"
    for meaning, event in zip(wanted, events, strict=True):
        if meaning != "either":
            found = event.code if type(event) is Invalid else type(event).__name__
            assert found == meaning, f"{event} should be {meaning}"


def _meaning(line: bytes) -> str:
    """Tell what a line is: a slug, `Request`, `Cancel`, `nothing`, `the web`.

    `either` is an event, but two kinds will do; `anything` may also be none.
    """
    if len(line) > MAX_LINE:
        return "too-large"
    strange = False

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal strange
        # Of two members of a name the last one counts, and yet the first one may be what a parser gives up on.
        strange = strange or any(odd(key) or odd(one) for key, one in pairs)
        return dict(pairs)

    try:
        value = json.loads(line.decode(), parse_constant=no_constant, object_pairs_hook=object_of)
    except ValueError:
        return "the web" if _is_http(line) else "syntax"
    strange = strange or odd(value)
    if isinstance(value, dict) and "cancel" in value:
        wanted = value["cancel"]
        # A number too long for a float, or half a surrogate pair, makes some parsers give up on the line.
        return "anything" if strange else "Cancel" if wanted is None or _is_id(wanted) else "nothing"
    if strange:
        return "either"
    if not isinstance(value, dict):
        return "bad-request"
    if value.get("id") is not None and not _is_id(value["id"]):
        return "bad-request"
    if not isinstance(value.get("cmd"), str):
        return "bad-request"
    deadline = value.get("deadline")
    if deadline is not None and not (type(deadline) in (int, float) and deadline > 0):
        return "bad-request"
    if not all(isinstance(value.get(key), bool | None) for key in ("stream", "detach")):
        return "bad-request"
    if not isinstance(value.get("session"), dict | None):
        return "bad-request"
    return "Request" if isinstance(value.get("opts"), dict | None) else "invalid-options"


def _is_http(line: bytes) -> bool:
    """Tell whether a line is the first one of a request to a web server."""
    method, path, version = [*line.split(b" ", 2), b"", b""][:3]
    return (
        (method.isalpha() and method.isupper() and 3 <= len(method) <= 10)
        and (path != b"" and path.split() == [path])
        and (version[:5] == b"HTTP/" and version[5:6].isdigit())
    )


def no_constant(name: str) -> None:
    raise ValueError(name)


def _is_id(value: object) -> bool:
    if type(value) is int:
        return -(2**63) <= value < 2**64
    return type(value) is str and len(value.encode()) <= 256


def odd(value: object) -> bool:
    if isinstance(value, dict):
        return any(odd(key) or odd(one) for key, one in value.items())
    if isinstance(value, list | tuple):
        return any(map(odd, value))
    if isinstance(value, str):
        return any("\ud800" <= letter <= "\udfff" for letter in value)
    return (isinstance(value, float) and not math.isfinite(value)) or (type(value) is int and abs(value) >= 2**63)


def fuzz_jsontext(data: bytes) -> None:
    """The decoder for deep text takes what the one of the standard library takes."""
    try:
        value = decode_deep(data)
    except ValueError:
        return
    try:
        expected = json.loads(data)
    except RecursionError:
        return
    assert repr(value) == repr(expected) or value == expected


def fuzz_encode(data: bytes) -> None:
    """Any value is one line of JSON that means as much, or is refused; half a line is never written."""
    value = _Maker(data).make()
    codec = NativeCodec()
    try:
        codec.send(Reply(value), 7)
    except LocalProtocolError:
        assert codec.data_to_send() == b""
        return
    line = codec.data_to_send()
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    answer = json.loads(line.decode())
    assert list(answer) == ["status", "response", "id"]
    if _is_json(value):
        assert answer["response"] == value


class _Maker:
    """Makes values of bytes: each byte says what comes next."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def make(self, depth: int = 0) -> Any:
        kind = self._byte() % 16
        if kind < 3 and depth < 60:
            return [self.make(depth + 1) for _ in range(self._byte() % 4)]
        if kind < 6 and depth < 60:
            return {self._key(depth): self.make(depth + 1) for _ in range(self._byte() % 4)}
        text = self._take(self._byte() % 12)
        makers = (
            lambda: text.decode(errors="surrogateescape"),
            lambda: text.decode("latin-1"),
            lambda: int.from_bytes(text, "big", signed=True),
            lambda: text,
            lambda: None if len(text) % 2 else True,
            lambda: len(text) / 7,
            lambda: math.inf if text else math.nan,
            lambda: PurePosixPath(text.decode(errors="surrogateescape").replace("\0", "")),
            lambda: set(text),
            lambda: object(),
        )
        return makers[kind - 6 if kind >= 6 else 0]()

    def _key(self, depth: int) -> Any:
        key = self.make(60)
        return key if key.__hash__ else str(key)

    def _byte(self) -> int:
        return (self._take(1) or b"\0")[0]

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken


def _is_json(value: object) -> bool:
    """Whether JSON has exactly this value."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(key) and _is_json(one) for key, one in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, str):
        return not odd(value)
    return value is None or type(value) in (bool, int) or (type(value) is float and math.isfinite(value))


def fuzz_buffer(data: bytes) -> None:
    """Any calls in any order give what a plain list of bytes gives, and look at no byte more often than needed."""
    buffer, model = _CountingBuffer(), b""
    fed = calls = 0
    position = 0
    while position < len(data):
        operation, size = data[position] % 8, data[position] // 8
        position += 1
        calls += 1
        if operation < 2:
            piece = data[position : position + size]
            position += size
            fed += len(piece)
            buffer.feed(piece)
            model += piece
            continue
        model = _same(buffer, model, operation, size)
        assert len(buffer) == len(model)
    assert buffer.take_all() == model
    # Fed once, searched once, taken once, and a little for each call.
    if not any(byte % 8 in (4, 5, 7) for byte in data):
        assert buffer.work <= 4 * fed + 4 * calls, f"{buffer.work} bytes looked at, of {fed}"


class _CountingBuffer(ReceiveBuffer):
    """Counts at how many bytes it looks, whatever it holds them in."""

    work = 0

    @property
    def _data(self) -> CountedBytes:
        return self._counted

    @_data.setter
    def _data(self, data: bytes) -> None:
        self._counted = data if isinstance(data, CountedBytes) else CountedBytes(data)
        self._counted.tell = self._count

    def _count(self, size: int) -> None:
        self.work += size


def _same(buffer: ReceiveBuffer, model: bytes, operation: int, size: int) -> bytes:
    """Do the same to both, and return what is left of the model."""
    if operation in (2, 4):
        terminator = b"\n" if operation == 2 else b";;"
        taken = buffer.take_until(terminator)
        found, mark, rest = model.partition(terminator)
        assert taken == (bytearray(found) if mark else None)
        return rest if mark else model
    if operation == 3:
        taken = buffer.take_exactly(size)
        assert taken == (model[:size] if size <= len(model) else None)
        return model if taken is None else model[size:]
    if operation == 5:
        found, mark, rest = model.partition(b";;")
        skipped = buffer.skip_through(b";;")
        assert skipped == bool(mark)
        return rest if mark else model[-1:]
    if operation == 6:
        assert buffer.take_all() == model
        return b""
    lines = buffer.take_lines(size)
    assert lines == model[: model.rfind(b"\n", 0, size) + 1]
    buffer.put_back(lines)
    return model


TARGETS = (
    Target("native", fuzz_native, max_size=512),
    Target("jsontext", fuzz_jsontext),
    Target("encode", fuzz_encode),
    Target("buffer", fuzz_buffer),
)
