"""ctlctl as a process: what it imports, pipes, terminals, signals."""

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import ctlctl.__main__
from tests.client.scripted import BANNER, Peer, Serve
from tests.ctlctl.running import COMMAND, ROOT, read_until

# How many modules `ctlctl ping` may import beyond what the bare interpreter has loaded; `json`
# and `re` are most of them.  Whatever is added to the CLI, this path stays as short as it is.
MAX_MODULES = 50

HEAVY = {
    "argparse", "asyncio", "contextlib", "ctld.client.advice", "ctld.client.blocking", "ctld.wire.messages",
    "ctlctl.resolve", "ctlctl.values", "dataclasses", "importlib", "inspect", "logging", "msgspec", "orjson",
    "pathlib", "rich", "selectors", "shlex", "socket", "ssl", "subprocess", "tempfile", "threading", "typing",
    "typing_extensions", "uvloop",
}  # fmt: skip  # a list of names


def ponging(peer: Peer) -> None:
    peer.send(BANNER)
    if peer.receive() is not None:
        peer.send({"status": True, "response": "pong"})


def started(peer: Peer) -> None:
    """Serve a command that goes on until it is cancelled."""
    peer.send(BANNER)
    peer.receive()
    peer.send({"status": True, "progress": "started"})
    if peer.receive() == {"cancel": None}:
        peer.send({"status": False, "message": "cancelled on request", "code": "cancelled"})


def test_the_script_and_the_module_are_one() -> None:
    assert ctlctl.__main__.main is ctlctl.main


def test_ping(serve: Serve) -> None:
    done = subprocess.run([*COMMAND, "-s", serve(ponging).address, "ping"], capture_output=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"pong\n", b"")


def test_the_fast_path_imports_little(serve: Serve) -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "from ctlctl.__main__ import main; status = main()\n"
        "print(*sorted(set(sys.modules) - before)); sys.exit(status)"
    )
    # -S: what `site` loads for other packages of this environment would hide what we load.
    command = [sys.executable, "-S", "-c", code, "-s", serve(ponging).address, "ping"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": ""})
    pong, modules = done.stdout.splitlines()
    assert (done.returncode, pong, done.stderr) == (0, "pong", "")
    loaded = set(modules.split())
    assert not loaded & HEAVY
    assert "ctlctl.cli" in loaded
    assert len(loaded) <= MAX_MODULES


def test_exit_status(serve: Serve, tmp_path: Path) -> None:
    for address, status in ((serve(ponging).address, 0), (f"{tmp_path}/none", 7), ("nonsense", 2)):
        assert subprocess.run([*COMMAND, "-s", address, "ping"], capture_output=True, cwd=ROOT).returncode == status


def test_a_pipe_that_closes_early_ends_it_quietly(serve: Serve) -> None:
    def endless(peer: Peer) -> None:
        peer.send(BANNER)
        peer.receive()
        while True:
            peer.send({"status": True, "item": "x" * 1000})

    with subprocess.Popen(
        [*COMMAND, "-s", serve(endless).address, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(10) == 141


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(serve: Serve, closed: str) -> None:
    """Their numbers are free then, and the connection gets one of them."""
    got: list[Any] = []

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        got.append(peer.receive()["cmd"])
        peer.send({"status": True, "progress": "started"}, {"status": True, "response": "pong"})
        got.extend(peer.until_closed())

    daemon = serve(script)
    command = f"exec {sys.executable} -m ctlctl -s {daemon.address} ping {closed}"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, cwd=ROOT)
    assert done.returncode == 0
    assert done.stdout == (b"pong\n" if closed == "2>&-" else b"")
    assert done.stderr == (b"started\n" if closed == ">&-" else b"")
    daemon.stop_peers()
    assert got == ["ping"], "neither result nor progress went to the daemon"


def test_a_full_disk_is_said(serve: Serve) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "-s", serve(ponging).address, "ping"], stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )
    assert done.returncode == 1
    assert done.stderr == "ctlctl: cannot write the result: No space left on device\n"


# -- Ctrl-C, by signal and through a terminal


def test_b16_sigint_cancels_and_waits(serve: Serve) -> None:
    command = [*COMMAND, "-s", serve(started).address, "backup"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        read_until(process.stderr.fileno(), b"started\n")
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(10) == 6
        assert process.stdout.read() == b""
    assert said == b"ctlctl: cancelling; press Ctrl-C again to leave it running\nctlctl: cancelled on request\n"


def stuck(peer: Peer) -> None:
    """Serve a command that cannot be stopped, and say no to every question."""
    peer.send(BANNER)
    if peer.receive()["cmd"] == "backup":
        peer.send({"status": True, "progress": "started"})
        peer.until_closed()
    peer.send({"status": False, "message": "not now", "code": "busy"})


def test_b16_the_third_sigint_leaves(serve: Serve) -> None:
    command = [*COMMAND, "-s", serve(stuck).address, "backup"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stderr is not None
        read_until(process.stderr.fileno(), b"started\n")
        process.send_signal(signal.SIGINT)
        read_until(process.stderr.fileno(), b"cancelling")
        process.send_signal(signal.SIGINT)
        read_until(process.stderr.fileno(), b"it does not run on alone; press Ctrl-C again to leave at once\n")
        process.send_signal(signal.SIGINT)
        assert process.stderr.read().endswith(b"left; the command may still be running\n")
        assert process.wait(10) == 6


def test_b16_an_old_daemon_cannot_cancel_and_that_is_said(serve: Serve) -> None:
    interrupted = threading.Event()

    def script(peer: Peer) -> None:
        peer.send({"version": "24.05.0"})
        peer.receive()
        peer.send({"status": True, "progress": "started"})
        interrupted.wait(20)
        peer.send({"status": True, "response": "done"})
        assert peer.receive() is None, "a cancel would be a request of its own there"

    command = [*COMMAND, "-s", serve(script).address, "backup"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        read_until(process.stderr.fileno(), b"started\n")
        process.send_signal(signal.SIGINT)
        read_until(process.stderr.fileno(), b"cannot cancel a command; press Ctrl-C again to leave it running\n")
        interrupted.set()
        assert process.stdout.read() == b"done\n"
        assert process.wait(10) == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child does nothing but exec
class TestOnATerminal:
    def test_ping(self, serve: Serve, terminal: Any) -> None:
        assert terminal("-s", serve(ponging).address, "ping").finish() == (0, b"pong\r\n")

    def test_b16_ctrl_c_cancels(self, serve: Serve, terminal: Any) -> None:
        on_terminal = terminal("-s", serve(started).address, "backup")
        on_terminal.until(b"started\r\n")
        os.write(on_terminal.fd, b"\x03")
        status, said = on_terminal.finish()
        assert status == 6
        assert said.endswith(b"ctlctl: cancelled on request\r\n")

    def test_b16_three_ctrl_c_leave(self, serve: Serve, terminal: Any) -> None:
        on_terminal = terminal("-s", serve(stuck).address, "backup")
        on_terminal.until(b"started\r\n")
        os.write(on_terminal.fd, b"\x03")
        on_terminal.until(b"cancelling")
        os.write(on_terminal.fd, b"\x03")
        on_terminal.until(b"press Ctrl-C again to leave at once")
        os.write(on_terminal.fd, b"\x03")
        status, said = on_terminal.finish()
        assert status == 6
        assert b"left; the command may still be running" in said

    def test_nothing_of_a_daemon_steers_the_terminal(self, serve: Serve, terminal: Any) -> None:
        evil = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe"

        def script(peer: Peer) -> None:
            peer.send(BANNER, {"status": True, "progress": evil, "current": 1, "unit": evil})
            peer.receive()
            peer.send({"status": True, "item": evil}, {"status": True, "item": [evil]})
            peer.send({"status": False, "message": evil, "code": evil, "remedy": evil})

        status, said = terminal("-s", serve(script).address, "x").finish()
        assert status == 1
        assert b"\x1b]" not in said
        assert b"\x1b[2J" not in said
        assert b"\x07" not in said
        assert "\u202e".encode() not in said
        assert said.count(b"owned") >= 6


def test_a_hang_up_of_the_terminal_is_no_traceback(serve: Serve) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [*COMMAND, "-s", serve(started).address, "backup"]
        with subprocess.Popen(command, stderr=theirs, cwd=ROOT) as process:
            ours.recv(100)
            process.send_signal(signal.SIGHUP)
            assert process.wait(10) == -signal.SIGHUP
        ours.setblocking(False)
        with pytest.raises(BlockingIOError) as caught:
            ours.recv(100)
        assert caught.value.errno == errno.EAGAIN
