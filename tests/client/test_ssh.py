"""ctld.client.ssh: the system's ssh as a connection, against a real sshd on loopback."""

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import ctlctl
from ctld.address import parse_address
from ctld.client import AsyncClient, Client
from ctld.client import ssh as module
from ctld.client.ssh import connect_ssh
from ctld.errors import ConfigError, ConnectFailed, ConnectionLost
from tests.client.scripted import BANNER, Peer, Serve
from tests.client.sshd import Sshd
from tests.ctlctl.running import Terminal

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("ssh")
    far = folder / "far"
    far.mkdir()
    for name in ("ctlctl", "vmctl"):
        program = far / name
        program.write_text(
            f"#!/bin/sh\ncd {ROOT} && exec {sys.executable} -c "
            f'\'import sys, ctlctl; sys.exit(ctlctl.main(prog="{name}"))\' "$@"\n'
        )
        program.chmod(0o755)
    with Sshd(folder / "sshd", f"{far}:/usr/bin:/bin") as running:
        yield running


@pytest.fixture(autouse=True)
def through(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{sshd.programs}:{os.environ['PATH']}")


def echoing(peer: Peer) -> None:
    peer.send(BANNER)
    while (request := peer.receive()) is not None:
        if "cancel" not in request:
            peer.send({"status": True, "progress": "on the way"}, {"status": True, "response": request["opts"]})


def test_b52_one_link_carries_many_calls(serve: Serve, sshd: Sshd) -> None:
    path = serve(echoing).address.removeprefix("unix:")
    before = sshd.connections()
    with Client(f"ssh://127.0.0.1:{sshd.port}{path}") as client:
        for number in range(5):
            assert client.call("x", {"n": number, "large": "y" * 100_000})["n"] == number
    assert sshd.connections() == before + 1


def test_its_own_configuration_counts(serve: Serve, sshd: Sshd) -> None:
    path = serve(echoing).address.removeprefix("unix:")
    with Client(f"ssh://elsewhere:{sshd.port}{path}") as client, pytest.raises(ConnectFailed) as caught:
        client.call("x")
    assert str(caught.value) == "ssh to elsewhere failed: Host key verification failed."


def test_a_user_and_a_path_with_odd_letters(serve: Serve, sshd: Sshd, tmp_path: Path) -> None:
    odd = tmp_path / "it's $HOME; x"
    os.symlink(serve(echoing).address.removeprefix("unix:"), odd)
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    with Client(f"ssh://{user}@127.0.0.1:{sshd.port}{odd}") as client:
        assert client.call("x", {"a": 1}) == {"a": 1}


def test_no_daemon_there(sshd: Sshd) -> None:
    with (
        Client(f"ssh://127.0.0.1:{sshd.port}/nowhere/s", remote="vmctl") as client,
        pytest.raises(ConnectFailed) as caught,
    ):
        client.call("x")
    assert str(caught.value) == "on 127.0.0.1: no daemon listens on unix:/nowhere/s: is it running?"


def test_no_ctlctl_there(sshd: Sshd) -> None:
    with (
        Client(f"ssh://127.0.0.1:{sshd.port}", remote="nosuchctl") as client,
        pytest.raises(ConnectFailed) as caught,
    ):
        client.call("x")
    assert str(caught.value).startswith("nosuchctl is not installed on 127.0.0.1: install it there")


def test_nobody_takes_the_connection() -> None:
    with Client("ssh://127.0.0.1:1") as client, pytest.raises(ConnectFailed) as caught:
        client.call("x")
    assert str(caught.value).startswith("ssh to 127.0.0.1 failed: ssh: connect to host 127.0.0.1 port 1: ")


def test_no_ssh_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConnectFailed, match="the program ssh is not installed"):
        connect_ssh(parse_address("ssh://host"))


def test_ssh_that_dies_is_a_lost_connection(serve: Serve, sshd: Sshd) -> None:
    def script(peer: Peer) -> None:
        peer.send(BANNER, {"status": True, "progress": "started"})
        peer.until_closed()

    address = f"ssh://127.0.0.1:{sshd.port}{serve(script).address.removeprefix('unix:')}"
    with Client(address) as client:
        news = client.run("x")
        assert next(news)[0] == "progress"
        client._sock._process.terminate()  # type: ignore[union-attr]  # it is an SshSocket
        with pytest.raises((ConnectionLost, ConnectFailed)):
            next(news)


def test_b52_nothing_stays_behind_when_the_client_goes(serve: Serve, sshd: Sshd) -> None:
    """The daemon learns that its client has gone, although nothing is written in either direction."""
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(BANNER, {"status": True, "progress": "started"})
        peer.receive()
        peer.until_closed()
        ended.set()

    path = serve(script).address.removeprefix("unix:")
    code = (
        "import sys; from ctld.client import Client; client = Client(sys.argv[1]); run = client.run('x')\n"
        "next(run); print('ready', flush=True); input()"
    )
    address = f"ssh://127.0.0.1:{sshd.port}{path}"
    with subprocess.Popen(
        [sys.executable, "-c", code, address], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
    assert ended.wait(20), "dial-stdio still holds the connection"


def test_ctrl_c_is_not_for_ssh(serve: Serve, sshd: Sshd) -> None:
    path = serve(echoing).address.removeprefix("unix:")
    with Client(f"ssh://127.0.0.1:{sshd.port}{path}") as client:
        client.call("x")
        client._sock._process.send_signal(signal.SIGINT)  # type: ignore[union-attr]  # it is an SshSocket
        assert client.call("x", {"n": 1}) == {"n": 1}


def test_a_stuck_ssh_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GONE_WAIT", 0.05)
    fake = tmp_path / "ssh"
    fake.write_text("#!/bin/sh\nexec sleep 1000\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    sock = connect_ssh(parse_address("ssh://host"))
    sock.close()
    assert sock._process.returncode == -signal.SIGKILL
    sock.close()


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("exit 255", "ssh to host failed: it does not say why"),
        ("exit 3", "on host: exit status 3"),
        ("echo some; echo '  why ' >&2; exit 0", ""),
    ],
)
def test_what_ssh_ends_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, error: str) -> None:
    fake = tmp_path / "ssh"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    sock = connect_ssh(parse_address("ssh://host"))
    try:
        if error:
            with pytest.raises(ConnectFailed) as caught:
                sock.recv(100)
            assert str(caught.value) == error
        else:
            assert sock.recv(100) == b"some\n"
            assert sock.recv(100) == b""
    finally:
        sock.close()


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("ssh://h", ["--", "h", "ctlctl dial-stdio"]),
        ("ssh://me@h:22", ["-p", "22", "-l", "me", "--", "h", "ctlctl dial-stdio"]),
        ("ssh://[::1]/a b", ["--", "::1", "ctlctl -s 'unix:/a b' dial-stdio"]),
    ],
)
def test_the_command(text: str, command: list[str]) -> None:
    assert module._command(parse_address(text), "ctlctl") == ["ssh", "-T", "-e", "none", *command]
    assert shlex.split(command[-1])[-1] == "dial-stdio"


def test_the_asynchronous_client_says_no() -> None:
    with pytest.raises(ConfigError, match="is for the blocking client"):
        AsyncClient("ssh://host")


def test_the_command_line_starts_its_own_name_over_there(
    serve: Serve, sshd: Sshd, capfd: pytest.CaptureFixture[str]
) -> None:
    path = serve(echoing).address.removeprefix("unix:")
    address = f"ssh://127.0.0.1:{sshd.port}"
    assert ctlctl.main(["-s", f"{address}{path}", "--json", "x"], prog="vmctl") == 0
    assert capfd.readouterr() == ('{"cli":"vmctl x"}\n', "on the way\n")
    assert ctlctl.main(["-s", address, "x"], prog="elsewherectl") == 7
    assert capfd.readouterr().err.startswith("elsewherectl: elsewherectl is not installed on 127.0.0.1: install it")
    assert ctlctl.main(["-s", f"{address}/nowhere", "x"], prog="vmctl") == 7
    assert capfd.readouterr().err == "vmctl: on 127.0.0.1: no daemon listens on unix:/nowhere: is it running?\n"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child does nothing but exec
def test_b16_ctrl_c_on_a_terminal_cancels_through_ssh(serve: Serve, sshd: Sshd) -> None:
    def script(peer: Peer) -> None:
        peer.send(BANNER)
        peer.receive()
        peer.send({"status": True, "progress": "started"})
        if peer.receive() == {"cancel": None}:
            peer.send({"status": False, "message": "stopped as asked", "code": "cancelled"})

    terminal = Terminal("-s", f"ssh://127.0.0.1:{sshd.port}{serve(script).address.removeprefix('unix:')}", "x")
    try:
        terminal.until(b"started\r\n")
        terminal.type("\x03")
        terminal.until(b"ctlctl: stopped as asked\r\n")
        assert terminal.finish()[0] == 6
    finally:
        terminal.close()
