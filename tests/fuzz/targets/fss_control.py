"""The FSS control protocol: packets, payloads, words, responses, and the whole of them."""

import contextlib
import math
import re

from ctld.dialects.fss_control.actions import delay_of, encode_order, moment_of, parse_order, read_order
from ctld.dialects.fss_control.codec import FssCodec
from ctld.dialects.fss_control.packet import HEAD_SIZE, MalformedPacket, decode_head, encode_packet
from ctld.dialects.fss_control.payload import MalformedPayload, decode_payload, encode_payload
from ctld.dialects.fss_control.responses import decode_response, encode_response, message_text
from ctld.dialects.fss_control.words import (
    InvalidWord,
    decode_line,
    encode_line,
    read_words,
    write_words,
)
from ctld.testing import check_garbage
from ctld.wire.messages import Failure, Invalid, Reply, Request
from tests.fuzz.targets.target import Target, further_cuts

__all__ = ["TARGETS"]

MAX_SIZE = 65536


_TIME_OF_DAY = re.compile(r"\d\d?:\d\d(:\d\d)?", re.ASCII)


def fuzz_fss_control(data: bytes) -> None:
    """A packet is one event, and its answer is a packet that a client understands; also with the head put right."""
    for junk in (data, encode_packet(data), encode_packet(b"header:\n" + data)):
        (event,) = check_garbage(lambda: FssCodec(max_size=MAX_SIZE), junk, also=further_cuts(junk))
        codec = FssCodec(max_size=MAX_SIZE)
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


def fuzz_fss_packet(data: bytes) -> None:
    """A head says a size within the bounds, or what FSS calls its mistake; tolerance only takes more."""
    head = (data + bytes(HEAD_SIZE))[:HEAD_SIZE]
    strict, tolerant = _size(head, tolerant=False), _size(head, tolerant=True)
    big, little = int.from_bytes(head[1:], "big"), int.from_bytes(head[1:], "little")
    if head[0] & 0x3F:
        assert strict == tolerant == 0
    else:
        first, second = (big, little) if head[0] & 0x80 else (little, big)
        fits = [size for size in (first, second) if HEAD_SIZE <= size <= MAX_SIZE]
        assert strict == (first if first in fits else 0)
        assert tolerant == (fits[0] if fits else 0)
    packet = encode_packet(data)
    assert decode_head(packet[:HEAD_SIZE]) == len(packet)


def _size(head: bytes, *, tolerant: bool) -> int:
    try:
        return decode_head(head, max_size=MAX_SIZE, tolerant=tolerant)
    except MalformedPacket as error:
        assert error.status.startswith("F_")
        return 0


def fuzz_fss_payload(data: bytes) -> None:
    """What is read from a payload can be written, and is read again; by either reading of `length`."""
    for length_of in ("payload", "packet"):
        for text in (data, b"header:\n" + data, _with_length(data)):
            try:
                payload = decode_payload(text, length_of=length_of)
            except MalformedPayload as error:
                assert error.status.startswith("F_")
                continue
            header = [(name, *words) for name, words in payload.header]
            assert (
                decode_payload(encode_payload(header, payload.content, length_of=length_of), length_of=length_of)
                == payload
            )
        with contextlib.suppress(InvalidWord):
            words = data.decode("utf-8", "surrogateescape").split(",")
            again = decode_payload(encode_payload([("x", *words)], data, length_of=length_of), length_of=length_of)
            assert again.content == data
            assert again.header == (("x", tuple(words)),)


def _with_length(data: bytes) -> bytes:
    """Put bytes between a header and a content whose length is right."""
    head, _, content = data.partition(b"\n\n")
    return b"header:\n%b\nlength %d\npayload:\n%b" % (head, len(content), content)


def fuzz_fss_words(data: bytes) -> None:
    """What is read from a line can be written, and is read again; and so is every list of words."""
    line = data.decode("utf-8", "surrogateescape").replace("\n", " ")
    decoded, is_object = decode_line(line)
    assert is_object or decode_line(encode_line(decoded)) == (decoded, False)
    try:
        words = read_words(line)
    except InvalidWord:
        assert "\0" in line
        return
    assert read_words(write_words(words)) == words
    assert decode_line(encode_line(write_words(words))) == (write_words(words), False)
    words = line.split("|")
    assert read_words(write_words(words)) == words


def fuzz_fss_responses(data: bytes) -> None:
    """A response is read as it was written; a sentence in one can be any text."""
    for length_of in ("payload", "packet"):
        for text in (data, _with_length(data)):
            try:
                response = decode_response(text, length_of=length_of)
            except MalformedPayload as error:
                assert error.status.startswith("F_")
                continue
            assert decode_response(encode_response(response, length_of=length_of), length_of=length_of) == response
    codec = FssCodec()
    codec.send(Failure(data.decode("utf-8", "surrogateescape"), "failed"))
    response = decode_response(codec.data_to_send()[HEAD_SIZE:])
    assert response.content == message_text(data.decode("utf-8", "surrogateescape"))
    assert b"\0" not in response.content
    response.content.decode()


def fuzz_fss_orders(data: bytes) -> None:
    """An order is understood with its time, or refused with a status; a time of the day is one to come."""
    words = data.decode("utf-8", "replace").split("|")
    for order_words in (words, ["start", "d", "n", *words]):
        try:
            order = parse_order(order_words)
        except MalformedPayload as error:
            assert error.status.startswith("F_")
            continue
        if order.condition == "in":
            assert delay_of(order) >= 0
        elif order.condition == "at":
            for now in (1_700_000_000.5, 951_782_399.0):  # an autumn, and the last second before a leap day
                moment = moment_of(order, now)
                assert math.isfinite(moment)
                assert now < moment <= now + 90_000 or not _TIME_OF_DAY.fullmatch(order.words[0])
        with contextlib.suppress(InvalidWord):
            assert read_order(decode_payload(encode_order(order_words))) == order


TARGETS = (
    Target("fss_control", fuzz_fss_control),
    Target("fss_packet", fuzz_fss_packet),
    Target("fss_payload", fuzz_fss_payload),
    Target("fss_words", fuzz_fss_words),
    Target("fss_responses", fuzz_fss_responses),
    Target("fss_orders", fuzz_fss_orders),
)
