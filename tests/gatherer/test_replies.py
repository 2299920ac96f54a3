import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.errors import InvalidOptions, RemoteProtocolError
from ctld.gatherer import replies
from ctld.gatherer.protocol import copy_returns, exec_returns, glob_returns, prompt
from ctld.gatherer.replies import Answer, Copied, Executed, ReplyReader, Request

LIMIT = 1 << 20
PROMPT = prompt(8)

CASES: list[tuple[Request[object], bytes, object]] = [
    (replies.noop_request(), b"", None),
    (replies.ping_request(), b"", None),
    (replies.glob_request(b"*"), b"0\n", ()),
    (replies.glob_request(b"*"), b"2\n/a b\n/\xff\n", (b"/a b", b"/\xff")),
    (replies.exec_request(b"x"), b"-9\n0\n\n0\n\n", Executed(-9, b"", b"")),
    (replies.exec_request(b"x"), b"7\n4\n#8#\n\n2\ne\n\n", Executed(7, b"#8#\n", b"e\n")),
    (replies.copy_request(b"/a", b"/b"), b"1\nFILE 5\n3\n/a\n\n", (Copied("FILE", "5", b"/a\n"),)),
    (
        replies.copy_matching_request(b"/a", b"/b", 5),
        b"2\nTAIL 5\n2\n/a\nFAIL EIO\n5\n#8#\nx\n",
        (Copied("TAIL", "5", b"/a"), Copied("FAIL", "EIO", b"#8#\nx")),
    ),
]


def answer_of(request: Request[object], *pieces: bytes) -> Answer[object] | None:
    reader = ReplyReader(request, 8, LIMIT)
    answers = [reader.feed(piece) for piece in pieces[:-1]]
    assert answers == [None] * len(answers)
    return reader.feed(pieces[-1])


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case[1]))
def test_returns_cut_everywhere(case: tuple[Request[object], bytes, object]) -> None:
    request, returns, value = case
    wire = returns + PROMPT
    for cut in range(len(wire)):
        assert answer_of(request, wire[:cut], wire[cut:]) == Answer(value)
    assert answer_of(request, *(wire[i : i + 1] for i in range(len(wire)))) == Answer(value)
    for first, second in itertools.combinations(range(len(wire)), 2):
        assert answer_of(request, wire[:first], wire[first:second], wire[second:]) == Answer(value)


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case[1]))
def test_an_early_prompt_is_an_interruption(case: tuple[Request[object], bytes, object]) -> None:
    request = case[0]
    silent = request.command in ("noop", "ping")
    assert request.silent is silent
    assert answer_of(request, PROMPT) == Answer(None, interrupted=not silent)


GLOB, EXEC, COPY = CASES[2][0], CASES[4][0], CASES[6][0]


@pytest.mark.parametrize(
    ("request_", "wire"),
    [
        (CASES[0][0], b"0\n"),
        (CASES[0][0], b"#7#\n"),
        (CASES[0][0], b"#9#\n"),
        (CASES[0][0], b"#8#\n#9#\n"),
        (CASES[0][0], b"#8#\nx"),
        (CASES[0][0], b" #8#\n"),
        (GLOB, b"\n"),
        (GLOB, b"x\n"),
        (GLOB, b" 1\n"),
        (GLOB, b"+1\n"),
        (GLOB, b"1_0\n"),
        (GLOB, b"--1\n"),
        (GLOB, b"\xd9\xa1\n"),
        (GLOB, b"1" * 20 + b"\n"),
        (GLOB, b"0\n0\n"),
        (GLOB, b"0\n#9#\n"),
        (GLOB, b"1\n/a\n/b\n"),
        (EXEC, b"0\n-1\n"),
        (EXEC, b"0\n1\nabc\n"),
        (EXEC, b"0\n3\nab\n#"),
        (EXEC, b"0\n2000000\n"),
        (COPY, b"1\nfile 5\n"),
        (COPY, b"1\nFILE x\n"),
        (COPY, b"1\nFILE\n"),
        (COPY, b"1\n"b"\n"),
    ],
)  # fmt: skip
def test_nonsense_is_refused(request_: Request[object], wire: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        answer_of(request_, wire)


@pytest.mark.parametrize(
    ("request_", "make"),
    [
        (GLOB, lambda n: b"1\n" + b"x" * n + b"\n" + PROMPT),
        (EXEC, lambda n: b"0\n%d\n%b\n0\n\n" % (n, b"x" * n) + PROMPT),
        (COPY, lambda n: b"1\nFILE 5\n%d\n%b\n" % (n, b"x" * n) + PROMPT),
    ],
)
def test_the_limit_holds(request_: Request[object], make: Callable[[int], bytes]) -> None:
    size = max(n for n in range(200) if len(make(n)) <= 150)
    assert ReplyReader(request_, 8, 150).feed(make(size)) is not None
    with pytest.raises(RemoteProtocolError, match="too long"):
        ReplyReader(request_, 8, 150).feed(make(size + 1))
    with pytest.raises(RemoteProtocolError, match="too long"):
        ReplyReader(request_, 8, 150).feed(b"9" * 151)


def test_a_size_is_refused_before_its_bytes_come() -> None:
    with pytest.raises(RemoteProtocolError, match="too long"):
        ReplyReader(EXEC, 8, 1000).feed(b"0\n1001\n")


@given(st.lists(st.binary(max_size=20)))
def test_garbage_is_read_or_refused(pieces: list[bytes]) -> None:
    for request, *_ in CASES:
        reader = ReplyReader(request, 8, LIMIT)
        try:
            for piece in pieces:
                if reader.feed(piece) is not None:
                    break
        except RemoteProtocolError:
            pass


@given(
    st.lists(st.binary(min_size=1).filter(lambda name: b"\n" not in name)),
    st.binary(),
    st.binary(),
    st.integers(-64, 255),
)
def test_both_sides_of_the_wire_agree(names: list[bytes], output: bytes, errors: bytes, status: int) -> None:
    assert answer_of(GLOB, glob_returns(names) + PROMPT) == Answer(tuple(names))
    assert answer_of(EXEC, exec_returns(status, output, errors) + PROMPT) == Answer(Executed(status, output, errors))
    copies = [("SKIP", "limit", output), ("FILE", "5", errors)]
    assert answer_of(COPY, copy_returns(copies) + PROMPT) == Answer(tuple(Copied(*copy) for copy in copies))


def test_requests_are_encoded() -> None:
    wires = [b"noop\n", b"ping\n", b"glob\n*\n", b"exec\nx\n", b"cp\n/a\n/b\n", b"globcp\n/a\n/b\n5\n"]
    assert list(dict.fromkeys(case[0].wire for case in CASES)) == wires


def test_only_what_does_no_harm_is_repeatable() -> None:
    assert {case[0].command for case in CASES if case[0].repeatable} == {"noop", "ping", "glob"}


@pytest.mark.parametrize("bad", [b"a\nb", b"\n", b"\0", b"x" * (16 * 1024 * 1024 + 1)], ids=len)
def test_what_cannot_go_over_the_wire(bad: bytes) -> None:
    for make in (
        lambda: replies.glob_request(bad),
        lambda: replies.exec_request(bad),
        lambda: replies.copy_request(b"/a", bad),
        lambda: replies.copy_matching_request(bad, b"/a", 0),
    ):
        with pytest.raises(InvalidOptions):
            make()


def test_written_bytes() -> None:
    outcomes = [
        ("FILE", "5", 5),
        ("TAIL", "7", 7),
        ("DIR", "0", 0),
        ("LINK", "0", 0),
        ("SKIP", "limit", 0),
        ("FAIL", "EIO", 0),
    ]
    for outcome, detail, written in outcomes:
        assert Copied(outcome, detail, b"/x").written == written
