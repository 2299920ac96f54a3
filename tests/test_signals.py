"""Whole daemons in processes of their own: signals, sd_notify, socket activation, descriptors, foreign clients."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

DAEMON = """
import asyncio, os, resource, signal, sys
import ctld
from ctld.limits import Limits

if "LIMIT" in os.environ:
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(os.environ["LIMIT"]),) * 2)
commands = ctld.CommandRegistry()
reloads = 0

@commands.command("reload", role="admin")
async def reload(ctx: ctld.Context) -> None:
    global reloads
    reloads += 1

@commands.command("reloads", role="anyone")
async def count(ctx: ctld.Context) -> int:
    return reloads

@commands.command("last", role="anyone")
async def last(ctx: ctld.Context) -> None:
    await ctx.progress("begun")
    await asyncio.Event().wait()

@commands.command("block", role="anyone")
async def block(ctx: ctld.Context, seconds: float) -> None:
    import time
    time.sleep(seconds)

async def main() -> None:
    server = ctld.Server(commands=commands, listen=sys.argv[2:], signals={signal.SIGHUP: "reload"},
                         limits=Limits(stop_grace=float(os.environ.get("GRACE", "5"))))
    await server.start()
    print("ready", flush=True)
    await server.serve_forever()

if sys.argv[1] == "uvloop":
    ctld.run(main())
else:
    asyncio.run(main())
"""

LOOPS = ["asyncio", "uvloop"]


@contextmanager
def daemon(loop: str, *addresses: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", DAEMON, loop, *addresses],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


class Asker:
    """A blocking client of the standard library alone."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(path)
        self.file = self.socket.makefile("rwb")
        self.banner = self.receive()

    def receive(self) -> dict[str, object]:
        line = self.file.readline()
        assert line.endswith(b"\n"), line
        message: dict[str, object] = json.loads(line)
        return message

    def send(self, cmd: str, **opts: object) -> None:
        self.file.write(json.dumps({"cmd": cmd, "opts": opts}).encode() + b"\n")
        self.file.flush()

    def ask(self, cmd: str, **opts: object) -> dict[str, object]:
        self.send(cmd, **opts)
        return self.receive()

    def at_end(self) -> bool:
        return self.file.readline() == b""

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@contextmanager
def asking(path: Path | str) -> Iterator[Asker]:
    asker = Asker(str(path))
    try:
        yield asker
    finally:
        asker.close()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_in_order_and_exits_0(tmp_path: Path, loop: str, number: signal.Signals) -> None:
    path = tmp_path / "s"
    with daemon(loop, f"unix:{path}", GRACE="0.05") as process, asking(path) as idle, asking(path) as busy:
        busy.send("last")
        assert busy.receive()["progress"] == "begun"
        process.send_signal(number)
        assert busy.receive()["code"] == "shutting-down"
        assert busy.at_end()
        assert idle.at_end()
        assert process.wait(30) == 0
    assert not path.exists()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_second_signal_does_not_wait(tmp_path: Path, loop: str) -> None:
    path = tmp_path / "s"
    with daemon(loop, f"unix:{path}", GRACE="3600") as process, asking(path) as busy, asking(path) as idle:
        busy.send("last")
        busy.receive()
        process.terminate()
        assert idle.at_end()
        process.terminate()
        assert busy.receive()["code"] == "shutting-down"
        assert process.wait(30) == 0


@pytest.mark.parametrize("loop", LOOPS)
def test_signals_run_commands(tmp_path: Path, loop: str) -> None:
    path = tmp_path / "s"
    with daemon(loop, f"unix:{path}") as process, asking(path) as client:
        process.send_signal(signal.SIGHUP)
        while client.ask("reloads")["response"] != 1:
            pass


def test_after_kill_9_the_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with daemon("uvloop", f"unix:{path}") as process:
        process.kill()
        process.wait()
    assert path.exists()
    with daemon("uvloop", f"unix:{path}"), asking(path) as client:
        assert client.ask("ping")["response"] == "pong"


def test_a_daemon_that_cannot_start_says_why_in_one_line_and_exits_1(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with daemon("uvloop", f"unix:{path}"):
        second = subprocess.run(
            [sys.executable, "-c", DAEMON, "uvloop", f"unix:{path}"], capture_output=True, text=True, check=False
        )
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert str(path) in second.stderr


@pytest.mark.parametrize("loop", LOOPS)
def test_n2_descriptors_run_out_and_the_daemon_survives_and_says_so(tmp_path: Path, loop: str) -> None:
    path = tmp_path / "s"
    with daemon(loop, f"unix:{path}", LIMIT="40") as process, ExitStack() as stack:
        clients = []
        refusal = b""
        while not refusal and len(clients) < 60:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(5)
            client.connect(str(path))
            first = client.recv(65536)
            clients.append(client)
            if b"busy" in first:
                refusal = first
        assert b"out of file descriptors" in refusal
        clients[0].sendall(b'{"cmd":"status"}\n')
        assert b'"out_of_descriptors":true' in clients[0].recv(65536)
        for client in clients:
            client.close()
        with asking(path) as again:
            assert again.ask("ping")["response"] == "pong"
            assert again.ask("status")["response"]["out_of_descriptors"] is False  # type: ignore[index]
        assert process.poll() is None


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.bind(str(tmp_path / "notify"))
        yield sock


@pytest.mark.parametrize("loop", LOOPS)
def test_sd_notify_ready_watchdog_and_stopping(tmp_path: Path, manager: socket.socket, loop: str) -> None:
    path = tmp_path / "s"
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "40000"}
    with daemon(loop, f"unix:{path}", **environment) as process, asking(path) as client:
        assert b"READY=1" in manager.recv(4096)
        for _ in range(3):
            assert manager.recv(4096) == b"WATCHDOG=1"
        client.ask("block", seconds=0.3)  # while the loop does not answer, the dog is not fed
        manager.settimeout(0)
        fed = 0
        while True:
            try:
                manager.recv(4096)
            except BlockingIOError:
                break
            fed += 1
        assert fed <= 3
        manager.settimeout(30)
        process.terminate()
        while b"STOPPING=1" not in manager.recv(4096):
            pass
        assert process.wait(30) == 0


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        if os.environ.get("CTLD_INTEROP") == "required":
            pytest.fail(f"{name} is missing")
        pytest.skip(f"{name} is not installed")
    return path


@pytest.mark.interop
def test_systemd_socket_activation_serves_the_client_that_woke_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    activate = tool("systemd-socket-activate")
    command = [activate, f"--listen={path}", sys.executable, "-c", DAEMON, "uvloop", "systemd:"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            while not path.exists():
                assert process.poll() is None
            with asking(path) as client:
                assert client.ask("ping")["response"] == "pong"
            process.terminate()
            assert process.wait(30) == 0
            assert path.exists(), "a socket that somebody else made is not ours to unlink"
        finally:
            process.kill()


@pytest.mark.interop
def test_socat_and_jq_are_clients_enough(tmp_path: Path) -> None:
    path = tmp_path / "s"
    socat, jq = tool("socat"), tool("jq")
    with daemon("uvloop", f"unix:{path}"):
        script = (
            f"""printf '{{"cmd":"ping"}}\\n{{"cmd":"reloads"}}' | {socat} - UNIX-CONNECT:{path} | {jq} -c .response"""
        )
        result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["null", '"pong"', "0"]
