"""A connection by hand: which answer belongs to whom, and what is noted when there is none."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from benchmarks.soak.ledger import Ledger
from benchmarks.soak.link import Gone, Link, Refused, Where, dial
from benchmarks.soak.notes import Notes

BANNER = {"version": "1", "protocol": 2}
PONG = {"status": True, "response": "pong"}
BUSY = {"status": False, "message": "the daemon is busy: too many connections", "code": "busy"}


@contextmanager
def listening(folder: Path, serve: Callable[[socket.socket], object]) -> Iterator[Where]:
    """Serve one connection in a thread."""
    path = str(folder / "server")

    def run() -> None:
        sock, _ = listener.accept()
        with sock, suppress(OSError):  # the client may hang up first
            serve(sock)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=run)
        thread.start()
        yield Where(path, 0, 0, 0, "", "", "")
        thread.join()


def saying(*messages: object, reads: int = 1) -> Callable[[socket.socket], None]:
    """Return a server that reads so many lines, says something, and hangs up."""

    def serve(sock: socket.socket) -> None:
        lines = sock.makefile("rb")
        for _ in range(reads):
            lines.readline()
        sock.sendall(b"".join(json.dumps(message).encode() + b"\n" for message in messages))

    return serve


def read_on(link: Link) -> None:
    while True:
        link.message()


def send_on(link: Link) -> None:
    while True:
        link.send("describe")


@pytest.fixture
def notes(tmp_path):
    notes = Notes(tmp_path / "notes", "c1")
    yield notes
    notes.close()


@pytest.fixture
def ledger(tmp_path):
    def read() -> Ledger:
        ledger = Ledger()
        with (tmp_path / "notes").open() as lines:
            ledger.read(lines)
        return ledger

    return read


def test_answers_in_order_and_by_id_are_told_apart(tmp_path, notes, ledger):
    failure = {"status": False, "message": "no", "code": "failed"}
    with listening(
        tmp_path, saying(BANNER, {"id": 7, **PONG}, {"status": True, "progress": 1}, failure, reads=2)
    ) as where:
        link = Link(where, "unix", notes)
        link.send("status")
        link.send("ping", id=7)
        assert link.waiting == 2
        assert link.final()["id"] == 7
        assert link.final() == failure
        assert link.waiting == 0
        link.close()
    assert ledger().answers == {("soak_c1_2", "ping"): [""], ("soak_c1_1", "status"): ["failed"]}
    assert not ledger().trouble


@pytest.mark.parametrize(
    ("answer", "members", "slug"),
    [
        (PONG, {"detach": True}, "detached"),
        ({"status": False, "message": "no", "code": "denied"}, {"detach": True}, "denied"),
        ({"status": False, "message": "x took too long", "code": "deadline"}, {}, "deadline"),
        ({"status": False, "message": "x had to wait too long", "code": "deadline"}, {}, "not begun"),
    ],
)
def test_what_is_noted_of_an_answer(tmp_path, notes, ledger, answer, members, slug):
    with listening(tmp_path, saying(BANNER, answer)) as where:
        link = Link(where, "unix", notes)
        link.ask("ping", **members)
        link.close()
    assert ledger().answers == {("soak_c1_1", "ping"): [slug]}


def test_a_request_without_an_answer_is_noted(tmp_path, notes, ledger):
    with listening(tmp_path, saying(BANNER)) as where:
        link = Link(where, "unix", notes)
        with pytest.raises(Gone, match="hung up"):
            link.ask("ping")
    assert [(one.what, one.key) for one in ledger().trouble] == [("hung up", ("soak_c1_1", "ping"))]


def test_whoever_hangs_up_waits_for_nothing(tmp_path, notes, ledger):
    with listening(tmp_path, saying(BANNER)) as where:
        link = Link(where, "unix", notes)
        link.send("ping")
        link.close()
    assert not ledger().trouble


def test_a_daemon_that_has_no_room_is_understood(tmp_path, notes, ledger):
    with listening(tmp_path, saying(BANNER, BUSY)) as where:
        link = Link(where, "unix", notes)
        with pytest.raises(Refused, match="too many connections"):
            link.ask("ping")
    assert [one.what for one in ledger().trouble] == ["refused"]
    assert not ledger().answers


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ((BANNER, BANNER), "a second banner"),
        ((PONG, BANNER), "a second banner"),
        ((BANNER, PONG, PONG), "an answer that nobody asked for"),
        ((BANNER, {"id": 3, **PONG}), "an answer that nobody asked for"),
    ],
)
def test_what_must_not_be_said_is_noted(tmp_path, notes, ledger, messages, what):
    with listening(tmp_path, saying(*messages)) as where:
        link = Link(where, "unix", notes)
        link.send("ping")
        with pytest.raises(Gone, match=what):
            read_on(link)
    assert what in ledger().trouble[0].what


def test_silence_is_noted(tmp_path, notes, ledger):
    over = threading.Event()
    with listening(tmp_path, lambda sock: over.wait(30)) as where:
        link = Link(where, "unix", notes)
        link.sock.settimeout(0.05)
        with pytest.raises(Gone, match="silence"):
            link.ask("ping")
        over.set()
    assert [one.what for one in ledger().trouble] == ["silence"]


def test_what_was_said_before_the_connection_broke_is_read(tmp_path, notes, ledger):
    with listening(tmp_path, saying(BANNER, BUSY, reads=0)) as where:
        link = Link(where, "unix", notes)
        with pytest.raises(Refused):
            send_on(link)
    assert {one.what for one in ledger().trouble} == {"refused"}


def test_nobody_listens(tmp_path):
    with pytest.raises(Gone):
        dial(Where(str(tmp_path / "none"), 0, 0, 0, "", "", ""), "unix")
