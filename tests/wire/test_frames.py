"""Session frames (native protocol, N5.3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.errors import RemoteProtocolError
from ctld.wire.frames import MAX_PAYLOAD, Frame, FrameReader, FrameType, encode_frame, encode_object

CASES = [
    Frame(FrameType.STDIN, b"ls\n"),
    Frame(FrameType.STDIN, b""),
    Frame(FrameType.STDOUT, b"\x00\x01\x05\x00\x00\x00\x00"),  # looks like frames
    Frame(FrameType.STDERR, b'{"cmd": "ping"}\n'),  # looks like a request
    Frame(FrameType.RESIZE, b'{"rows":24,"cols":80}'),
    Frame(FrameType.EXIT, b"{}"),
    Frame(FrameType.PING, b""),
    Frame(FrameType.PONG, b""),
]


def frames_of(reader: FrameReader, pieces: list[bytes]) -> list[Frame]:
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (frame := reader.next_frame()) is not None:
            found.append(frame)
    return found


def slicings(wire: bytes) -> list[list[bytes]]:
    return [
        [wire],
        [wire[i : i + 1] for i in range(len(wire))],
        *([wire[:cut], wire[cut:]] for cut in range(len(wire) + 1)),
    ]


def test_the_wire_format_is_type_length_payload():
    assert encode_frame(FrameType.STDOUT, b"abc") == b"\x01\x00\x00\x00\x03abc"
    assert encode_frame(FrameType.PING) == b"\x06\x00\x00\x00\x00"
    assert encode_object(FrameType.EXIT, {"exitstatus": 3}) == b'\x05\x00\x00\x00\x10{"exitstatus":3}'


def test_the_types_are_those_of_the_specification():
    assert [(member.name, member.value) for member in FrameType] == [
        ("STDIN", 0),
        ("STDOUT", 1),
        ("STDERR", 2),
        ("RESIZE", 3),
        ("SIGNAL", 4),
        ("EXIT", 5),
        ("PING", 6),
        ("PONG", 7),
    ]


@pytest.mark.parametrize("first", CASES)
@pytest.mark.parametrize("second", CASES)
def test_frames_mean_the_same_however_they_are_cut(first, second):
    wire = encode_frame(*first) + encode_frame(*second)
    for pieces in slicings(wire):
        reader = FrameReader()
        assert frames_of(reader, pieces) == [first, second]
        assert not reader.inside
        assert reader.take_rest() == b""


@pytest.mark.parametrize("frame", CASES)
@pytest.mark.parametrize("line", [b'{"cmd": "ping"}\n', b"\n", b"\x08", b"\xff\x00\x00"])
def test_the_first_byte_that_is_no_type_ends_the_framing(frame, line):
    wire = encode_frame(*frame) + line
    for pieces in slicings(wire):
        reader = FrameReader()
        assert frames_of(reader, pieces) == [frame]
        assert reader.at_lines
        assert reader.next_frame() is None
        assert not reader.inside
        assert reader.take_rest() == line


def test_the_longest_payload_is_taken_and_no_longer_one():
    payload = bytes(MAX_PAYLOAD)
    assert frames_of(FrameReader(), [encode_frame(FrameType.STDOUT, payload)]) == [Frame(FrameType.STDOUT, payload)]
    with pytest.raises(ValueError, match="65536 bytes at most"):
        encode_frame(FrameType.STDOUT, payload + b"x")


@pytest.mark.parametrize("size", [MAX_PAYLOAD + 1, 2**31, 2**32 - 1])
def test_a_length_beyond_the_bound_is_refused_before_its_payload_comes(size):
    reader = FrameReader()
    reader.feed(b"\x00" + size.to_bytes(4, "big"))
    with pytest.raises(RemoteProtocolError, match=f"a frame of {size} bytes"):
        reader.next_frame()


def test_inside_tells_whether_a_frame_was_cut_off():
    for cut in range(1, 8):
        reader = FrameReader()
        assert not reader.inside
        assert frames_of(reader, [b"\x00\x00\x00\x00\x03abc"[:cut]]) == []
        assert reader.inside


@pytest.mark.parametrize("cut", range(9))
def test_the_rest_of_a_reader_feeds_the_next_one(cut):
    wire = b"\x06\x00\x00\x00\x00" + b"\x01\x00\x00\x00\x03abc"
    first, second = FrameReader(), FrameReader()
    assert len(frames_of(first, [wire[: 5 + cut]])) == 1 + (cut == 8)
    second.feed(first.take_rest())
    assert first.take_rest() == b""
    assert not first.inside
    assert frames_of(second, [b"", wire[5 + cut :]]) == ([] if cut == 8 else [Frame(FrameType.STDOUT, b"abc")])


def parts_of(reader: FrameReader, pieces: list[bytes]) -> list[Frame | bytes]:
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (part := reader.next_part(FrameType.STDIN)) is not None:
            found.append(bytes(part) if isinstance(part, memoryview) else part)
    return found


def as_frames(parts: list[Frame | bytes]) -> list[Frame]:
    """Join neighbouring parts of the stream."""
    frames: list[Frame] = []
    for part in parts:
        if isinstance(part, Frame):
            frames.append(part)
        elif frames and frames[-1].type is FrameType.STDIN and frames[-1].payload:
            frames[-1] = Frame(FrameType.STDIN, frames[-1].payload + part)
        else:
            frames.append(Frame(FrameType.STDIN, part))
    return frames


@pytest.mark.parametrize("first", CASES)
@pytest.mark.parametrize("second", CASES)
def test_a_stream_in_parts_is_the_same_stream(first, second):
    wire = encode_frame(*first) + encode_frame(*second)
    expected = as_frames(
        [frame.payload or frame if frame.type is FrameType.STDIN else frame for frame in (first, second)]
    )
    for pieces in slicings(wire):
        reader = FrameReader()
        parts = parts_of(reader, pieces)
        assert b"" not in parts
        assert as_frames(parts) == expected
        assert not reader.inside
        assert reader.take_rest() == b""


def test_a_part_is_not_waited_for_and_not_copied():
    reader = FrameReader()
    data = encode_frame(FrameType.STDIN, b"abcdef")[:-2]
    reader.feed(data)
    part = reader.next_part(FrameType.STDIN)
    assert part == b"abcd"
    assert part.obj is data
    assert reader.next_part(FrameType.STDIN) is None
    assert reader.inside


@pytest.mark.parametrize("cut", range(1, 12))
def test_the_rest_after_a_part_is_a_frame_of_what_is_left(cut):
    wire = encode_frame(FrameType.STDIN, b"abcdef") + encode_frame(FrameType.PING)
    first, second = FrameReader(), FrameReader()
    parts = parts_of(first, [wire[:cut]])
    second.feed(first.take_rest())
    parts += parts_of(second, [b"", wire[cut:]])
    assert as_frames(parts) == [Frame(FrameType.STDIN, b"abcdef"), Frame(FrameType.PING, b"")]


def test_what_was_fed_and_not_taken_yet_is_not_lost():
    reader = FrameReader()
    for _ in range(3):
        reader.feed(encode_frame(FrameType.PING, b"p"))
    assert frames_of(reader, [b""]) == [Frame(FrameType.PING, b"p")] * 3


def test_objects_are_read_back():
    frame = frames_of(FrameReader(), [encode_object(FrameType.RESIZE, {"rows": 1, "cols": 2})])[0]
    assert frame.object() == {"rows": 1, "cols": 2}


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"1", b"null", b"{", b'"x"', b"\xff", b"{}{}", b'{"a":NaN}', b'{"a":' + b"[" * 60_000]
)
def test_what_is_no_object_is_refused(payload):
    with pytest.raises(RemoteProtocolError, match="a frame SIGNAL must carry a JSON object"):
        Frame(FrameType.SIGNAL, payload).object()


@given(junk=st.binary(max_size=200), cut=st.integers(0, 200))
def test_garbage_is_frames_or_lines_or_refused_and_the_cuts_do_not_matter(junk, cut):
    outcomes = []
    for pieces in ([junk], [junk[:cut], junk[cut:]], [junk[i : i + 1] for i in range(len(junk))]):
        reader = FrameReader()
        try:
            outcomes.append(
                (frames_of(reader, pieces), reader.at_lines, reader.inside, reader.at_lines and reader.take_rest())
            )
        except RemoteProtocolError as exc:
            outcomes.append(str(exc))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@given(st.lists(st.tuples(st.sampled_from(FrameType), st.binary(max_size=300)), max_size=20))
def test_whatever_is_sent_arrives(frames):
    wire = b"".join(encode_frame(*frame) for frame in frames)
    assert frames_of(FrameReader(), [wire]) == [Frame(*frame) for frame in frames]
