"""ctlctl as tests run it: in this process, or as one of its own with a terminal of its own."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

import ctlctl
from tests.client.scripted import BANNER, Peer, Scripted, Serve

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "ctlctl"]


class Run:
    """Runs ctlctl against a scripted daemon, and shows what came of it."""

    def __init__(self, serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
        self.serve = serve
        self._capfd = capfd
        self.requests: list[Any] = []

    def daemon(self, *messages: Any, banner: Any = BANNER) -> Scripted:
        """A daemon that answers each request with the same messages."""

        def script(peer: Peer) -> None:
            peer.send(banner)
            while (request := peer.receive()) is not None:
                self.requests.append(request)
                if "cancel" not in request:
                    peer.send(*messages)

        return self.serve(script)

    def __call__(self, *argv: str, **further: Any) -> tuple[int, str, str]:
        self._capfd.readouterr()
        status = ctlctl.main(list(argv), **further)
        out, err = self._capfd.readouterr()
        return status, out, err

    def against(self, messages: list[Any], *argv: str) -> tuple[int, str, str]:
        return self("-s", self.daemon(*messages).address, *argv)


def response(value: Any) -> dict[str, Any]:
    return {"status": True, "response": value}


def item(value: Any) -> dict[str, Any]:
    return {"status": True, "item": value}


def answering(answers: dict[str, Any], got: list[Any] | None = None) -> Any:
    """A script that answers each command with what stands under its name."""

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        while (request := peer.receive()) is not None:
            if got is not None:
                got.append(request)
            if request.get("cmd") in answers:
                peer.send(response(answers[request["cmd"]]))
            elif "cancel" not in request:
                peer.send(
                    {"status": False, "message": f"Unsupported command '{request['cmd']}'", "code": "unknown-command"}
                )

    return script


def entry(name: str, properties: dict[str, Any] | None = None, required: list[str] | None = None, **more: Any) -> Any:
    """What `describe` says of a command."""
    options = {"properties": properties or {}, "required": required or [], "additionalProperties": False}
    return {"name": name, "doc": f"About {name}.", "role": "operate", "allowed": True, "options": options} | more


def read_until(fd: int, wanted: bytes, before: bytes = b"") -> bytes:
    """Read until something has come after what came before, for at most 20 seconds."""
    data = b""
    give_up = time.monotonic() + 20
    while wanted not in before + data:
        assert select.select([fd], [], [], max(0, give_up - time.monotonic()))[0], f"only {data!r} came"
        chunk = os.read(fd, 4096)
        assert chunk, f"only {data!r} came"
        data += chunk
    return data


def rest_of(fd: int) -> bytes:
    data = b""
    with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
        while chunk := os.read(fd, 4096):
            data += chunk
    return data


class Terminal:
    """ctlctl with a terminal of its own, as a person has it."""

    def __init__(self, *argv: str, rows: int = 24, columns: int = 80, **environ: str) -> None:
        self._ahead = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:  # pragma: no cover - this is the child
            try:
                os.chdir(ROOT)
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.execve(sys.executable, [*COMMAND, *argv], os.environ | {"TERM": "xterm"} | environ)
            finally:
                os._exit(127)

    def until(self, text: bytes) -> bytes:
        """Return everything up to a text, and keep what came after it for the next call."""
        if text not in self._ahead:
            self._ahead += read_until(self.fd, text, self._ahead)
        said, found, self._ahead = self._ahead.partition(text)
        return said + found

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def finish(self) -> tuple[int, bytes]:
        rest = self._ahead + rest_of(self.fd)
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status), rest

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)
