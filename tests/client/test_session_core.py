"""What a server says of a session, cut anywhere."""

import pytest

from ctld.client.session_core import STDERR, STDOUT, Output, SessionCore, session_member
from ctld.errors import CommandFailed, ConnectionLost, NotFound, RemoteProtocolError, ShuttingDown
from ctld.wire.frames import FrameType, encode_frame, encode_object

BANNER = b'{"version":"1","protocol":2}\n'
CONTINUE = b'{"status":true,"response":"continue","session":"s1"}\n'


def fed(*pieces: bytes) -> tuple[SessionCore, list[Output]]:
    core = SessionCore("unix:/x", 1024)
    return core, [output for piece in pieces for output in core.feed(piece)]


@pytest.mark.parametrize("banner", [BANNER, b""])
def test_from_the_banner_to_the_exit_cut_anywhere(banner):
    wire = (
        banner
        + b'{"status":true,"progress":"soon"}\n'
        + CONTINUE
        + encode_frame(FrameType.STDOUT, b'{"status":false}\n')
        + encode_frame(FrameType.PING, b"p")
        + encode_frame(FrameType.STDERR, b"err")
        + encode_frame(FrameType.STDERR)
        + encode_frame(FrameType.PONG)
        + encode_object(FrameType.EXIT, {"exitstatus": 3})
    )
    for cut in range(len(wire) + 1):
        core, output = fed(wire[:cut], wire[cut:])
        assert output == [(STDOUT, b'{"status":false}\n'), (STDERR, b"err"), (STDERR, b"")]
        assert core.over
        assert core.status() == 3
        assert core.id == "s1"
        assert [update.message for update in core.news] == ["soon"]
        assert core.answers() == encode_frame(FrameType.PONG, b"p")
        assert core.answers() == b""


def test_after_the_exit_nothing_is_understood():
    core, _ = fed(CONTINUE, encode_object(FrameType.EXIT, {"exitstatus": 0}) + b"\xff anything")
    assert core.status() == 0


def test_a_refusal_is_the_error_of_its_slug():
    with pytest.raises(NotFound, match="no such"):
        fed(BANNER, b'{"status":false,"message":"no such program","code":"not-found"}\n')


@pytest.mark.parametrize(
    "wire",
    [
        b"no json\n",
        b'{"status":true,"response":"pong"}\n',
        b'{"status":true,"item":1}\n',
        BANNER + BANNER,
        CONTINUE + b"\x08",
        CONTINUE + encode_frame(FrameType.STDIN, b"x"),
        CONTINUE + encode_frame(FrameType.EXIT, b"[]"),
        CONTINUE + b"\x01\xff\xff\xff\xff",
    ],
)
def test_a_server_that_breaks_the_rules(wire):
    with pytest.raises(RemoteProtocolError):
        fed(wire)


def test_the_ways_to_end():
    for said, error in (
        ({"error": "shutting-down", "message": "going down"}, ShuttingDown),
        ({"error": "own.slug", "message": "x", "more": 1}, CommandFailed),
        ({"error": 5}, CommandFailed),
        ({"exitstatus": None}, CommandFailed),
        ({}, CommandFailed),
    ):
        core, _ = fed(CONTINUE, encode_object(FrameType.EXIT, said))
        with pytest.raises(error) as caught:
            core.status()
        assert caught.value.fields == ({"more": 1} if "more" in said else {} if "error" in said else {"session": "s1"})


def test_a_lost_connection_says_when():
    core = SessionCore("unix:/x", 1024)
    assert isinstance(core.lost(), ConnectionLost)
    assert str(core.lost()) == "the connection to unix:/x was lost before it answered"
    list(core.feed(CONTINUE))
    assert str(core.lost("reset")) == "the connection to unix:/x was lost while the session ran: reset"


def test_what_this_side_says():
    assert SessionCore.stdin(b"") == b"\x00\x00\x00\x00\x00"
    assert SessionCore.stdin(b"ab") == b"\x00\x00\x00\x00\x02ab"
    assert len(SessionCore.stdin(b"x" * 100_000)) == 100_000 + 2 * 5
    assert SessionCore.resize(1, 2) == b'\x03\x00\x00\x00\x13{"rows":1,"cols":2}'
    assert SessionCore.signal("INT") == b'\x04\x00\x00\x00\x10{"signal":"INT"}'
    assert SessionCore.leave() == b"\x05\x00\x00\x00\x00"
    assert SessionCore.ping() == b"\x06\x00\x00\x00\x00"


def test_the_member_says_only_what_is_wanted():
    assert session_member() == {"io": "frames", "tty": False}
    assert session_member(tty=True, rows=1, cols=2, env={"A": "1"}, cwd="/", on_disconnect="kill") == {
        "io": "frames",
        "tty": True,
        "rows": 1,
        "cols": 2,
        "env": {"A": "1"},
        "cwd": "/",
        "on_disconnect": "kill",
    }
