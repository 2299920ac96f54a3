"""`Client.session()`: the same as the asynchronous one, against a server in a process of its own."""

import socket
import sys
import threading
import time
from pathlib import Path

import pytest

from ctld.client import Client
from ctld.errors import CommandFailed, ConnectionLost, NotFound, TooLarge
from tests.examples.conftest import folder, start  # noqa: F401 - fixtures

EXAMPLE = Path(__file__).parents[2] / "examples" / "minimal.py"
DAEMON = """
import sys, ctld
async def main():
    await ctld.Server(listen=[f"unix:{sys.argv[1]}"], limits=ctld.Limits(session_grace=0.3)).serve_forever()
ctld.run(main())
"""


@pytest.fixture
def client(folder, start):  # noqa: F811 - fixtures
    script = folder / "daemon.py"
    script.write_text(DAEMON)
    with start(script, folder / "s"), Client(f"unix:{folder}/s") as client:
        yield client


def test_output_and_exit_status(client):
    with client.session("exec", {"cmd": ["sh", "-c", "echo out; echo err >&2; exit 3"]}) as run:
        assert b"".join(run.stdout) == b"out\n"
        assert b"".join(run.stderr) == b"err\n"
        assert run.exit_status == 3
        assert run.over
        assert run.id


def test_both_streams(client):
    with client.session("exec", {"cmd": ["sh", "-c", "echo a; echo b >&2"]}) as run:
        assert sorted(run.output()) == [(1, b"a\n"), (2, b"b\n")]


def test_more_than_any_buffer_holds_in_both_directions(client):
    """One thread writes to a program that writes back: neither waits for the other."""
    with client.session("exec", {"cmd": ["cat"]}) as run:
        for _ in range(60):
            run.write(b"z" * 100_000)
        run.write(b"")
        run.close_stdin()
        assert sum(map(len, run.stdout)) == 6_000_000
        assert run.exit_status == 0
        run.write(b"too late is no error")


def test_terminal_resize_and_signal(client):
    cmd = ["sh", "-c", "stty -echo; trap 'stty size; exit 4' INT; stty size; while :; do sleep 0.01; done"]
    with client.session("exec", {"cmd": cmd}, tty=True, rows=5, cols=6) as run:
        assert next(run.stdout) == b"5 6\r\n"
        run.resize(7, 8)
        run.signal("INT")
        assert b"".join(run.stdout) == b"7 8\r\n"
        assert run.exit_status == 4


def test_refusals(client):
    with pytest.raises(NotFound, match="no such program"), client.session("exec", {"cmd": ["/no/such"]}):
        pytest.fail("it was entered")
    assert client.call("ping") == "pong"


def test_detach_and_come_back(client):
    with client.session("exec", {"cmd": ["sh", "-c", "echo one; read x; echo $x"]}) as run:
        assert next(run.stdout) == b"one\n"
        run.detach()
        with pytest.raises(CommandFailed):
            _ = run.exit_status
    with client.session("session_attach", {"id": run.id}) as again:
        again.write(b"two\n")
        assert b"".join(again.stdout) == b"one\ntwo\n"
        assert again.exit_status == 0


def test_leaving_hangs_up(client):
    cmd = ["sh", "-c", "trap 'exit 9' HUP; echo ready; while :; do sleep 0.01; done"]
    with client.session("exec", {"cmd": cmd}) as run:
        assert next(run.stdout) == b"ready\n"
    events = client.events("session", opts={"state": "end", "id": run.id}, since=0)
    end = next(event for event in events if event.type == "session")  # a gap comes first: 0 is too long ago
    assert end.opts["exitstatus"] == 9


def test_waiting_with_a_time_limit(client):
    with client.session("exec", {"cmd": ["cat"]}) as run:
        run.pump(0)
        started = time.monotonic()
        run.pump(0.05)
        assert time.monotonic() - started >= 0.045
        assert run.take() == []
        assert (run.unsent, run.crowded) == (0, False)
        run.close_stdin()
        assert run.exit_status == 0


def test_a_stream_that_nobody_reads_does_not_fill_the_memory(client):
    with (
        client.session("exec", {"cmd": [sys.executable, "-c", "import os\nwhile 1: os.write(2, b'e' * 65536)"]}) as run,
        pytest.raises(TooLarge),
    ):
        next(run.stdout)


@pytest.mark.parametrize("cut", [0, 60, 75, 80])
def test_a_lost_connection_is_never_a_silent_truncation(tmp_path, cut):
    lines = b'{"version":"x","protocol":2}\n{"status":true,"response":"continue"}\n'
    wire = lines + b"\x01\x00\x00\x00\x02hi\x01\x00\x00\x00\x09half"

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(wire[:cut])

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ConnectionLost), Client(f"unix:{tmp_path}/s").session("exec") as run:
            for _ in run.stdout:
                pass
        thread.join()


def test_the_keep_alive(monkeypatch):
    from ctld.client import blocking_session

    monkeypatch.setattr(blocking_session, "_PING_AFTER", 0.02)
    monkeypatch.setattr(blocking_session, "_DEAD_AFTER", 0.2)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        session = blocking_session.BlockingSession(ours, "tcp:x", 1024, remote=True)  # type: ignore[arg-type]
        theirs.sendall(b'{"status":true,"response":"continue"}\n')
        session.begin(b"request\n")
        with pytest.raises(ConnectionLost, match="nothing was heard"):
            session.pump()
        assert b"\x06\x00\x00\x00\x00" in theirs.recv(65536)
