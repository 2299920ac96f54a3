"""ctld.client.conversation: one blocking call at a time, whatever the server does."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ctld.client import conversation as module
from ctld.client.conversation import Conversation
from ctld.errors import (
    Busy,
    Cancelled,
    CommandFailed,
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    LocalProtocolError,
    RemoteProtocolError,
    TooLarge,
)
from tests.client.scripted import BANNER, Peer, Scripted, Serve

OLD_BANNER = {"version": "24.05.0"}
DONE = {"status": True, "response": "done"}


def answer(conversation: Conversation, command: str = "x", **further: Any) -> Any:
    """Run a command and return its result."""
    *_, (kind, value) = conversation.run(command, **further)
    assert kind == "response"
    return value


@pytest.fixture
def conversations() -> Iterator[Any]:
    made: list[Conversation] = []

    def make(server: Scripted | str, **further: Any) -> Conversation:
        made.append(Conversation(server if isinstance(server, str) else server.address, **further))
        return made[-1]

    yield make
    for conversation in made:
        conversation.close()


def test_n1_a_call_and_its_answer(conversations: Any, ponging: Scripted) -> None:
    conversation = conversations(ponging)
    assert conversation.banner is None
    assert conversation.protocol == 0
    assert answer(conversation, "a") == {"cmd": "a", "opts": {}}
    assert answer(conversation, "b", stream=True)["stream"] is True
    assert conversation.banner == BANNER
    assert conversation.protocol == 2
    assert ponging.connections == 1


def test_with_connects_and_closes(ponging: Scripted) -> None:
    with Conversation(ponging.address) as conversation:
        conversation.connect()
        assert answer(conversation)
    conversation.close()
    assert ponging.connections == 1


def test_everything_is_passed_on_in_order(conversations: Any, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(BANNER, {"status": True, "progress": "p", "current": 1}, {"status": True, "item": 5}, DONE)

    (first, update), second, third = conversations(serve(script)).run("x", stream=True)
    assert (first, update.message, update.current) == ("progress", "p", 1)
    assert (second, third) == (("item", 5), ("response", "done"))


@pytest.mark.parametrize("banner", [[], [OLD_BANNER], [BANNER], [{}], [{"version": None}]], ids=str)
def test_n2_a_banner_may_never_come(conversations: Any, serve: Serve, banner: list[Any]) -> None:
    def script(peer: Peer) -> None:
        assert peer.receive()["cmd"] == "x"  # the client does not wait for the banner
        peer.send(*banner, DONE)
        peer.receive()
        peer.send(DONE)

    conversation = conversations(serve(script))
    assert answer(conversation) == "done"
    assert conversation.banner == (banner[0] if banner else None)
    assert conversation.protocol == (2 if banner == [BANNER] else 1)
    assert answer(conversation) == "done"


def test_a_second_banner_is_refused(conversations: Any, serve: Serve) -> None:
    conversation = conversations(serve(lambda peer: peer.send(BANNER, BANNER)))
    with pytest.raises(RemoteProtocolError, match="does not know"):
        answer(conversation)


WIRE = b'{"version":"1","protocol":2}\n{"status":true,"progress":"\xc3\xa9"}\n{"status":true,"response":"\xc3\xa9"}\r\n'


@pytest.mark.parametrize("cut", range(len(WIRE) + 1))
def test_the_answer_may_be_cut_anywhere(conversations: Any, serve: Serve, cut: int) -> None:
    seen = threading.Event()

    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(WIRE[:cut])
        seen.wait(0.002)  # so that the pieces do not arrive as one
        peer.send(WIRE[cut:])
        peer.receive()

    assert answer(conversations(serve(script))) == "é"


@pytest.mark.parametrize("cut", range(len(WIRE) - 1))
def test_a_server_that_dies_at_any_byte_gives_one_clear_error(conversations: Any, serve: Serve, cut: int) -> None:
    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(WIRE[:cut])

    with pytest.raises(ConnectionLost, match="closed the connection before it answered") as caught:
        answer(conversations(serve(script)))
    assert "\n" not in str(caught.value)


def test_after_a_loss_the_next_call_makes_a_new_connection(conversations: Any, serve: Serve) -> None:
    lives = iter([False, True])

    def script(peer: Peer) -> None:
        if next(lives):
            peer.receive()
            peer.send(DONE)

    server = serve(script)
    conversation = conversations(server)
    with pytest.raises(ConnectionLost):
        answer(conversation)
    assert answer(conversation) == "done"
    assert server.connections == 2


def test_a_reset_is_a_loss(conversations: Any, serve: Serve) -> None:
    # Closing a UNIX socket with input unread resets it.
    with pytest.raises(ConnectionLost, match=r"was lost: Connection reset|closed the connection"):
        answer(conversations(serve(lambda peer: peer.sock.recv(1))))


def test_a_server_that_was_never_there(conversations: Any, tmp_path: Path) -> None:
    with pytest.raises(ConnectFailed, match="is it running"):
        answer(conversations(f"{tmp_path}/none"))


def test_a_refusal_that_comes_first_is_raised_by_the_call(conversations: Any, serve: Serve) -> None:
    server = serve(lambda peer: peer.send({"status": False, "message": "too many clients", "code": "busy"}))
    with pytest.raises(Busy, match="too many clients"):
        answer(conversations(server))


def test_a_refusal_is_heard_even_if_the_request_cannot_be_written(conversations: Any, serve: Serve) -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.send({"status": False, "message": "too many clients", "code": "busy"})
        peer.sock.shutdown(socket.SHUT_RD)
        closed.set()

    conversation = conversations(serve(script))
    conversation.connect()
    closed.wait(5)
    with pytest.raises(Busy, match="too many clients"):
        answer(conversation, "x")


def test_n3_a_failure_leaves_the_connection_usable(conversations: Any, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.send(BANNER)
        peer.receive()
        peer.send({"status": False, "message": "no", "code": "vm.off", "vm": 5})
        peer.receive()
        peer.send(DONE)

    server = serve(script)
    conversation = conversations(server)
    with pytest.raises(CommandFailed, match="no") as caught:
        answer(conversation)
    assert (caught.value.code, caught.value.fields) == ("vm.off", {"vm": 5})
    assert answer(conversation) == "done"
    assert server.connections == 1


@pytest.mark.parametrize(
    "garbage",
    [b"garbage\n", b"[]\n", b'{"status":1}\n', b"\xff\n", b"x" * 2000],
    ids=["text", "array", "status", "bytes", "endless line"],
)
def test_garbage_ends_the_connection(conversations: Any, serve: Serve, garbage: bytes) -> None:
    server = serve(lambda peer: (peer.send(BANNER, garbage), peer.until_closed()))
    conversation = conversations(server, max_line=1000)
    for connections in (1, 2):
        with pytest.raises(RemoteProtocolError):
            answer(conversation)
        assert server.connections == connections


def test_a_request_that_the_server_would_skip_is_not_sent(conversations: Any, serve: Serve) -> None:
    requests: list[Any] = []

    def script(peer: Peer) -> None:
        peer.send(BANNER | {"max_line": 100})
        while (request := peer.receive()) is not None:
            requests.append(request["opts"].get("a"))
            peer.send(DONE)

    conversation = conversations(serve(script))
    assert answer(conversation) == "done"
    with pytest.raises(TooLarge, match="the daemon takes 100"):
        list(conversation.run("x", {"a": "y" * 100}))
    assert list(conversation.run("x", {"a": "z"})) == [("response", "done")]
    assert requests == [None, "z"]


def test_what_cannot_be_sent_touches_no_connection(conversations: Any, ponging: Scripted) -> None:
    conversation = conversations(ponging)
    with pytest.raises(LocalProtocolError):
        list(conversation.run("x", {"a": object()}))
    with pytest.raises(ValueError, match="deadline"):
        answer(conversation, deadline=0)
    assert ponging.connections == 0
    assert answer(conversation)["cmd"] == "x"


@pytest.mark.parametrize("address", ["fd:3", "nonsense"])
def test_addresses_are_checked_early(address: str) -> None:
    with pytest.raises(ConfigError):
        Conversation(address)


def test_the_default_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTLD_SOCKET", "unix:@x")
    conversation = Conversation()
    assert str(conversation.address) == "unix:@x"
    assert Conversation(conversation.address).address is conversation.address


# -- one at a time


def test_a_call_within_a_call_is_refused(conversations: Any, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(BANNER, {"status": True, "item": 1}, {"status": True, "item": 2}, DONE)

    conversation = conversations(serve(script))
    news = conversation.run("x", stream=True)
    assert next(news) == ("item", 1)
    with pytest.raises(LocalProtocolError, match="one at a time"):
        answer(conversation)
    assert list(news) == [("item", 2), ("response", "done")]


def test_b51_a_call_that_is_left_cancels_and_closes(conversations: Any, serve: Serve) -> None:
    rest: list[Any] = []

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        peer.receive()
        peer.send({"status": True, "item": 1})
        rest.extend(peer.until_closed())
        rest.append("closed")

    server = serve(script)
    conversation = conversations(server)
    news = conversation.run("x", stream=True)
    next(news)
    news.close()
    server.stop_peers()
    assert rest == [{"cancel": None}, "closed"]


def test_a_finished_call_that_is_left_keeps_the_connection(conversations: Any, ponging: Scripted) -> None:
    conversation = conversations(ponging)
    news = conversation.run("x")
    assert next(news)[0] == "response"
    assert answer(conversation, "y")["cmd"] == "y"  # although the first was not read to its end
    news.close()
    assert answer(conversation, "z")["cmd"] == "z"
    assert ponging.connections == 1


def test_a_call_on_a_connection_that_was_closed_meanwhile(conversations: Any, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(BANNER, {"status": True, "item": 1})
        peer.until_closed()

    conversation = conversations(serve(script))
    news = conversation.run("x", stream=True)
    next(news)
    conversation.close()
    assert conversation.cancel()
    with pytest.raises(ConnectionLost, match="was closed"):
        next(news)


# -- deadlines


def test_b24_a_silent_server_is_given_up_after_the_deadline(
    conversations: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE_GRACE", 0.02)
    requests: list[Any] = []

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        requests.extend(peer.until_closed())

    server = serve(script)
    with pytest.raises(DeadlineExceeded, match=r"no answer to x within its deadline of 0\.05 s"):
        answer(conversations(server), deadline=0.05)
    server.stop_peers()
    assert requests == [{"cmd": "x", "opts": {}, "deadline": 0.05}, {"cancel": None}]


def test_b24_a_server_that_chatters_does_not_put_the_deadline_off(
    conversations: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE_GRACE", 0.02)

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        while True:
            peer.send({"status": True, "progress": "still here"})

    with pytest.raises(DeadlineExceeded):
        answer(conversations(serve(script)), deadline=0.05)


def test_version_1_knows_no_deadline_so_the_client_keeps_it_alone(
    conversations: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE_GRACE", 1000.0)
    requests: list[Any] = []

    def script(peer: Peer) -> None:
        peer.send(OLD_BANNER)
        requests.extend(peer.until_closed())

    server = serve(script)
    with pytest.raises(DeadlineExceeded):
        answer(conversations(server), deadline=0.05)
    server.stop_peers()
    assert len(requests) == 1, "version 1 takes no cancel"


def test_a_server_that_never_reads(conversations: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WRITE_TIMEOUT", 0.05)
    release = threading.Event()
    conversation = conversations(serve(lambda peer: release.wait(10)))
    try:
        with pytest.raises(ConnectionLost, match="reads nothing: is it stuck"):
            list(conversation.run("x", {"a": "y" * 10_000_000}))
    finally:
        release.set()


# -- cancelling


def cancellable(peer: Peer) -> None:
    peer.send(BANNER)
    peer.receive()
    peer.send({"status": True, "progress": "started"})
    while (request := peer.receive()) is not None:
        code = "cancelled" if request == {"cancel": None} else "failed"
        peer.send({"status": False, "message": "stopped", "code": code})


def test_n4_cancel_null(conversations: Any, serve: Serve) -> None:
    conversation = conversations(serve(cancellable))
    assert not conversation.running
    assert not conversation.cancel(), "nothing is under way"
    news = conversation.run("x")
    next(news)
    assert conversation.running
    assert conversation.cancel()
    with pytest.raises(Cancelled, match="stopped"):
        next(news)
    assert not conversation.cancel()


@pytest.mark.parametrize("banner", [[], [OLD_BANNER]], ids=["no banner", "old banner"])
def test_version_1_cannot_cancel(conversations: Any, serve: Serve, banner: list[Any]) -> None:
    def script(peer: Peer) -> None:
        peer.receive()
        peer.send(*banner, {"status": True, "progress": "started"}, DONE)
        assert peer.receive() is None, "a cancel would be answered as a request of its own"

    conversation = conversations(serve(script))
    news = conversation.run("x")
    next(news)
    assert not conversation.cancel()
    assert list(news) == [("response", "done")]
    conversation.close()


def test_a_cancel_before_the_banner_is_sent_once_it_has_come(conversations: Any, serve: Serve) -> None:
    asked = threading.Event()
    go = threading.Event()
    got: list[Any] = []

    def script(peer: Peer) -> None:
        peer.receive()
        asked.set()
        go.wait(5)
        peer.send(BANNER)
        got.append(peer.receive())
        peer.send({"status": False, "message": "stopped", "code": "cancelled"})

    conversation = conversations(serve(script))

    def interrupt() -> None:
        asked.wait(5)
        got.append(conversation.cancel())
        go.set()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Cancelled):
        answer(conversation)
    thread.join()
    assert got == [True, {"cancel": None}]


def test_a_cancel_while_the_request_is_written_follows_it(conversations: Any, serve: Serve) -> None:
    """As from a signal handler that strikes within sendall()."""
    got: list[Any] = []

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        peer.receive()
        peer.send(DONE)
        got.append(len(peer.receive()["opts"]["a"]))
        got.append(peer.receive())
        peer.send({"status": False, "message": "stopped", "code": "cancelled"})

    conversation = conversations(serve(script))
    answer(conversation)  # so that the version is known
    size = 8_000_000  # more than any socket buffer takes
    handler = signal.signal(signal.SIGALRM, lambda *_: conversation.cancel())
    try:
        real = conversation._sock.sendall

        class Interrupted:
            def __getattr__(self, name: str) -> Any:
                return getattr(conversation_sock, name)

            def sendall(self, data: bytes) -> None:
                os.kill(os.getpid(), signal.SIGALRM)
                real(data)

        conversation_sock, conversation._sock = conversation._sock, Interrupted()
        with pytest.raises(Cancelled):
            list(conversation.run("x", {"a": "y" * size}))
    finally:
        signal.signal(signal.SIGALRM, handler)
    assert got == [size, {"cancel": None}]


def test_a_cancel_that_finds_no_room_is_sent_once_there_is_some(conversations: Any, serve: Serve) -> None:
    """As behind a large request that the daemon has not read yet."""
    got: list[Any] = []

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        got.append(peer.receive()["cmd"])
        peer.send({"status": True, "progress": "begun"})
        got.append(peer.receive())
        peer.send({"status": False, "message": "stopped", "code": "cancelled"})

    conversation = conversations(serve(script))
    news = conversation.run("x")
    assert next(news)[0] == "progress"
    refusals = [BlockingIOError(), BlockingIOError()]

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def send(self, data: bytes) -> int:
            if refusals:
                raise refusals.pop()
            return int(real.send(data))

    real, conversation._sock = conversation._sock, Full()
    assert conversation.cancel()
    with pytest.raises(Cancelled):
        next(news)
    assert got == ["x", {"cancel": None}]
    assert not refusals


def test_a_cancel_before_the_request_is_written_follows_it(conversations: Any, serve: Serve) -> None:
    """As from a signal handler that strikes between two lines."""
    got: list[Any] = []

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        peer.receive()
        peer.send(DONE)
        got.extend([peer.receive()["cmd"], peer.receive()])
        peer.send({"status": False, "message": "stopped", "code": "cancelled"})

    conversation = conversations(serve(script))
    answer(conversation)  # so that the version is known
    real = conversation._sock

    class Early:
        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

        def settimeout(self, seconds: float | None) -> None:
            if not got:
                got.append(conversation.cancel())
            real.settimeout(seconds)

    conversation._sock = Early()
    with pytest.raises(Cancelled):
        answer(conversation, "late")
    assert got == [True, "late", {"cancel": None}]


class Torn:
    """A socket whose buffer takes one more byte."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def send(self, data: bytes) -> int:
        return int(self._sock.send(data[:1]))


def test_half_a_cancel_spoils_no_later_request(conversations: Any, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.send(BANNER)
        peer.receive()
        peer.send({"status": True, "progress": "started"})
        if peer.sock.recv(1) == b"{":
            peer.send(DONE)

    server = serve(script)
    conversation = conversations(server)
    news = conversation.run("x")
    next(news)
    conversation._sock = Torn(conversation._sock)
    assert conversation.cancel()
    assert list(news) == [("response", "done")]
    assert conversation._sock is None, "the next call makes a new connection"


def test_a_cancel_to_a_server_that_reads_nothing_does_not_block(conversations: Any, serve: Serve) -> None:
    full = threading.Event()
    release = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        peer.receive()
        peer.send({"status": True, "progress": "started"})
        full.wait(5)
        peer.send(DONE)
        release.wait(5)

    conversation = conversations(serve(script))
    news = conversation.run("x")
    next(news)
    conversation._sock.settimeout(0)
    with pytest.raises(BlockingIOError):
        conversation._sock.sendall(b" " * 10_000_000)
    conversation._sock.settimeout(None)
    assert conversation.cancel()
    full.set()
    assert list(news) == [("response", "done")]
    release.set()


def test_an_interrupted_call_is_cancelled_and_closed(conversations: Any, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.send(BANNER)
        peer.receive()
        peer.send({"status": True, "progress": "started"})
        os.kill(os.getpid(), signal.SIGINT)
        rest.extend(peer.until_closed())

    rest: list[Any] = []
    server = serve(script)
    conversation = conversations(server)
    with pytest.raises(KeyboardInterrupt):
        answer(conversation)
    server.stop_peers()
    assert rest == [{"cancel": None}]


# -- detaching


def test_n4_detach_waits_for_the_banner(conversations: Any, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            peer.sock.recv(1)
        peer.sock.settimeout(None)
        peer.send(b"\n", BANNER)
        request = peer.receive()
        assert request["detach"] is True
        peer.send({"status": True, "response": {"operation": "op1"}})

    assert answer(conversations(serve(script)), detach=True) == {"operation": "op1"}


def test_b48_an_old_daemon_is_not_asked_to_detach(conversations: Any, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.send(OLD_BANNER)
        assert peer.until_closed() == []

    server = serve(script)
    with pytest.raises(LocalProtocolError, match="the daemon is too old to detach"):
        answer(conversations(server), detach=True)


def test_detach_without_a_banner(conversations: Any, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BANNER_WAIT", 0.02)

    def script(peer: Peer) -> None:
        assert peer.receive()["detach"] is True
        peer.send(DONE)

    assert answer(conversations(serve(script)), detach=True) == "done"


def test_detach_from_a_server_that_refuses(conversations: Any, serve: Serve) -> None:
    server = serve(lambda peer: peer.send({"status": False, "message": "full", "code": "busy"}))
    with pytest.raises(Busy, match="full"):
        answer(conversations(server), detach=True)


def test_detach_from_a_server_that_talks_nonsense(conversations: Any, serve: Serve) -> None:
    server = serve(lambda peer: peer.send({"status": True, "response": "unasked"}))
    with pytest.raises(RemoteProtocolError, match="what nobody asked"):
        answer(conversations(server), detach=True)


def test_the_import_is_light() -> None:
    code = "import sys; before = set(sys.modules); import ctld.client.conversation; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"asyncio", "msgspec", "orjson", "dataclasses", "socket", "ssl", "argparse"} & set(loaded)
