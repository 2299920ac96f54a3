"""ctlctl.lines: a connection as lines."""

import time

import pytest

from ctlctl.lines import Lines
from ctld.address import parse_address
from ctld.errors import Busy, ConnectFailed, ConnectionLost, DeadlineExceeded, RemoteProtocolError
from tests.certificates import Authority
from tests.client.listening import tls_server
from tests.client.scripted import BANNER, Peer, Serve
from tests.ctlctl.running import answering, response


def test_a_question(serve: Serve) -> None:
    with Lines(parse_address(serve(answering({"a": 1, "b": [2]})).address)) as lines:
        assert lines.banner is None
        assert lines.ask("a", {}, 5) == 1
        assert lines.ask("b", {}, 5) == [2]
        assert lines.banner == BANNER


def test_a_question_without_a_banner_and_with_news(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.receive()
        peer.send({"status": True, "progress": "x"}, response(5))
        peer.receive()
        peer.send({"status": False, "message": "later", "code": "busy"})

    with Lines(parse_address(serve(script).address)) as lines:
        assert lines.ask("a", {}, 5) == 5
        with pytest.raises(Busy, match="later"):
            lines.ask("a", {}, 5)


def test_a_bound_that_a_server_cannot_stretch(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.send(BANNER, b'{"status": true, "resp')
        peer.until_closed()

    with Lines(parse_address(serve(script).address)) as lines:
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            lines.ask("a", {}, 0.05)
        assert 0.04 < time.monotonic() - started < 10


def test_the_end(serve: Serve) -> None:
    with (
        Lines(parse_address(serve(lambda peer: peer.receive()).address)) as lines,
        pytest.raises(ConnectionLost, match="closed the connection"),
    ):
        lines.ask("a", {}, 5)


def test_what_is_no_message(serve: Serve) -> None:
    with (
        Lines(parse_address(serve(lambda peer: peer.send(b"\x1b\n")).address)) as lines,
        pytest.raises(RemoteProtocolError),
    ):
        lines.receive()


def test_nobody_there_and_a_daemon_that_has_gone(serve: Serve) -> None:
    with pytest.raises(ConnectFailed):
        Lines(parse_address("unix:@ctld-test-nobody"))
    daemon = serve(lambda peer: None)
    with Lines(parse_address(daemon.address)) as lines:
        assert lines.feed() is False
        lines.finish()
        with pytest.raises(ConnectionLost):
            lines.send(b"x" * 10_000_000)
        assert not lines.waiting()


def test_tls(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("CTLD_TLS_CA", str(authority.file))
    with tls_server(authority) as port, Lines(parse_address(f"tls:localhost:{port}")) as lines:
        assert not lines.waiting()
        assert lines.feed()
