import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.errors import RemoteProtocolError
from ctld.gatherer import protocol
from ctld.gatherer.protocol import PARAMETERS, RequestReader

REQUESTS = [
    [b"noop"],
    [b"exec", b"  spaces kept \r"],
    [b"glob", b""],
    [b"cp", b"exit", b"\xff\x00noop"],
    [b"globcp", b"/a", b"#1#", b"0"],
    [b"ping"],
]


def wire_of(requests: list[list[bytes]]) -> bytes:
    return b"".join(line + b"\n" for request in requests for line in request)


def requests_of(reader: RequestReader, *pieces: bytes) -> list[list[bytes]]:
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (request := reader.next_request()) is not None:
            found.append(request)
    return found


@pytest.mark.parametrize("pair", list(itertools.product(REQUESTS, repeat=2)), ids=repr)
def test_every_pair_of_requests_cut_everywhere(pair: tuple[list[bytes], list[bytes]]) -> None:
    wire = wire_of(list(pair))
    for cut in range(len(wire) + 1):
        reader = RequestReader()
        assert requests_of(reader, wire[:cut], wire[cut:]) == list(pair)
        assert reader.empty
    assert requests_of(RequestReader(), *(wire[i : i + 1] for i in range(len(wire)))) == list(pair)


@pytest.mark.parametrize("line", [b" noop", b"noop \t", b"\r\x0b\x0cnoop\r", b"noop"])
def test_white_space_around_a_command_is_stripped(line: bytes) -> None:
    assert requests_of(RequestReader(), line + b"\n") == [[b"noop"]]


@pytest.mark.parametrize("line", [b"", b"NOOP", b"no op", b"noop\0", b"\xa0noop", b"glob /etc", b"#0#"])
def test_unknown_commands_end_the_conversation(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="unknown command"):
        requests_of(RequestReader(), line + b"\nnoop\n")


@pytest.mark.parametrize("start", [b"", b"exec\n", b"cp\n/a\n"])
def test_a_line_without_end_is_refused(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_LINE", 10)
    assert requests_of(RequestReader(), start + b"x" * 10) == []
    with pytest.raises(RemoteProtocolError, match="too long"):
        requests_of(RequestReader(), start + b"x" * 11)


def test_phases_and_drop() -> None:
    reader = RequestReader()
    assert reader.empty
    assert not reader.in_parameters
    assert requests_of(reader, b"glo") == []
    assert not reader.empty
    assert not reader.in_parameters
    reader.drop()
    assert reader.empty
    assert requests_of(reader, b"cp\n/source\n/half") == []
    assert reader.in_parameters
    assert not reader.empty
    reader.drop()
    assert reader.empty
    assert requests_of(reader, b"cp\n/a\n/b\n") == [[b"cp", b"/a", b"/b"]]
    assert requests_of(reader, b"exec\n") == []
    assert not reader.empty


@given(st.lists(st.binary(max_size=30)))
def test_garbage_is_refused_or_read(pieces: list[bytes]) -> None:
    reader = RequestReader()
    try:
        for request in requests_of(reader, *pieces):
            assert len(request) == 1 + PARAMETERS[request[0]]
    except RemoteProtocolError:
        pass


def test_prompt_and_tokens() -> None:
    assert protocol.prompt(0) == b"#0#\n"
    assert protocol.prompt(12345) == b"#12345#\n"
    assert protocol.interrupted(3, numbered=False) == b"INTERRUPTED\n"
    assert protocol.interrupted(3, numbered=True) == b"#3# INTERRUPTED\n"


def test_glob_leaves_out_what_could_forge_a_prompt() -> None:
    assert protocol.glob_returns([]) == b"0\n"
    assert protocol.glob_returns([b"/a", b"/x\n#5#", b"/\xff "]) == b"2\n/a\n/\xff \n"


def test_lengths_count_bytes() -> None:
    assert protocol.exec_returns(-9, "é".encode() + b"\0\xff", b"") == b"-9\n4\n\xc3\xa9\0\xff\n0\n\n"
    assert protocol.copy_returns([]) == b"0\n"
    assert (
        protocol.copy_returns([("FILE", "5", b"/a\n"), ("FAIL", "ENOENT", b"")])
        == b"2\nFILE 5\n3\n/a\n\nFAIL ENOENT\n0\n\n"
    )
