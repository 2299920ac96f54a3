"""One callable per parser, in the shape that fuzzers drive: `fuzz_one(data)` returns or raises a finding.

What once was a finding, or looks like one, is kept in `corpus/TARGET/` and replayed by the
ordinary run.
"""

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from ctld.commands.options import OptionSet
from ctld.dialects.fss_control.actions import encode_order, read_order
from ctld.dialects.fss_control.codec import FssCodec
from ctld.dialects.fss_control.packet import HEAD_SIZE, decode_head, encode_packet
from ctld.dialects.fss_control.payload import decode_payload
from ctld.dialects.fss_control.responses import decode_response
from ctld.dialects.fss_control.words import (
    InvalidWord,
    decode_line,
    encode_line,
    read_words,
    write_words,
)
from ctld.dialects.taskmaster.client import read_response
from ctld.dialects.taskmaster.codec import Answer, TaskmasterCodec
from ctld.errors import BadSyntax, InvalidOptions
from ctld.jobs.jobfile import InvalidJobFile, parse_job_file
from ctld.jobs.plan import exec_digest_input
from ctld.testing import check_garbage
from ctld.wire.codec import NEED_DATA
from ctld.wire.jsontext import decode_deep, encode
from ctld.wire.messages import Cancel, Failure, Invalid, Reply, Request
from ctld.wire.native import NativeCodec

CORPUS: Final = Path(__file__).parent / "corpus"


def fuzz_native(data: bytes) -> None:
    """Every line gets its answer, and every answer is one line that its sender's decoder takes."""
    for event in check_garbage(lambda: NativeCodec(max_line=256), data):
        answers = NativeCodec()
        if isinstance(event, Cancel):
            continue
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


class Disk(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    size: Annotated[int, msgspec.Meta(ge=0)] = 0


def _example(
    name: str,
    mode: Literal["fast", "slow"] = "fast",
    disks: list[Disk] = [],  # noqa: B006 - a signature to compile, never called
    labels: dict[str, int] | None = None,
    path: Path = Path("/"),
    data: bytes = b"",
    *,
    ratio: float = 0.5,
) -> None: ...


def _option_set() -> OptionSet:
    parameters = list(inspect.signature(_example).parameters.values())
    return OptionSet(parameters, {p.name: p.annotation for p in parameters}, session=True)


_OPTIONS: Final = _option_set()


def fuzz_options(data: bytes) -> None:
    """Options are typed values, or refused with their path in one line."""
    refusal = None
    try:
        decoded = _OPTIONS.decode(msgspec.Raw(data))
    except BadSyntax:
        return
    except InvalidOptions as exc:
        refusal = exc
    if refusal is not None:
        assert str(refusal.fields["path"]).startswith("$")
        assert refusal.message.isprintable()
        return
    assert type(decoded.values.name) is str
    assert decoded.values.mode in ("fast", "slow")
    assert all(disk.size >= 0 for disk in decoded.values.disks)


def fuzz_fss_control(data: bytes) -> None:
    """A packet is one event, and its answer is a packet that a client understands; also with the head put right."""
    for junk in (data, encode_packet(data), encode_packet(b"header:\n" + data)):
        (event,) = check_garbage(lambda: FssCodec(max_size=65536), junk)
        codec = FssCodec(max_size=65536)
        codec.receive_data(junk)
        codec.receive_eof()
        codec.next_event()
        codec.send(Failure(event.message, event.code, event.fields) if type(event) is Invalid else Reply())
        wire = codec.data_to_send()
        assert decode_head(wire[:HEAD_SIZE]) == len(wire)
        response = decode_response(wire[HEAD_SIZE:])
        assert (response.type == "error") == (type(event) is Invalid)
        if type(event) is Request:
            order = event.opts["order"]
            when = [order.condition, *order.words]
            words = [order.action, *((order.directory, order.name) if order.directory else ()), *when]
            assert read_order(decode_payload(encode_order(words))) == order


def fuzz_fss_words(data: bytes) -> None:
    """What is read from a line can be written, and is read again."""
    line = data.decode("utf-8", "surrogateescape").replace("\n", " ")
    try:
        words = read_words(line)
    except InvalidWord:
        return
    assert read_words(write_words(words)) == words
    assert decode_line(encode_line(write_words(words))) == (write_words(words), False)


def fuzz_taskmaster(data: bytes) -> None:
    """Every query gets one answer, in the shape that it asked for, which Taskmaster's client understands."""
    for event in check_garbage(lambda: TaskmasterCodec(max_frame=256), data):
        codec = TaskmasterCodec()
        if type(event) is Invalid:
            codec.send(Failure(event.message, event.code))
        else:
            job = event.opts["job"]
            codec.send(Reply(Answer(kind="file", data=event.opts["data"], job=job)))
        wire = codec.data_to_send()
        assert wire.count(b";;") == 1
        assert wire.endswith(b";;")
        response = read_response(wire.removesuffix(b";;"))
        assert response.kind == (
            "file" if type(event) is Request else "fail" if event.code == "job.name" else "invalid"
        )
        assert response.data == (event.opts["data"] if type(event) is Request else b"")


def fuzz_job_file(data: bytes) -> None:
    """A job file is a job that makes sense, or invalid; nothing else is raised."""
    try:
        spec = parse_job_file(data)
    except InvalidJobFile:
        return
    assert spec.command.strip()
    assert 1 <= spec.processes <= 1000
    assert exec_digest_input(spec)


FUZZ_ONE: Final[dict[str, Callable[[bytes], Any]]] = {
    "native": fuzz_native,
    "jsontext": fuzz_jsontext,
    "options": fuzz_options,
    "fss_control": fuzz_fss_control,
    "fss_words": fuzz_fss_words,
    "taskmaster": fuzz_taskmaster,
    "job_file": fuzz_job_file,
}
