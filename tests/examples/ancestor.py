"""A client that does with bytes and descriptors what the ancestor's client does, weaknesses included.

It reads until a chunk ends with a newline, keeps what it did not ask for in a buffer of its own,
insists on a banner, crashes at a blank line, stops forwarding both outputs at the end of one, and
throws away what is left in the pipes when it hears of the end.
"""

import base64
import json
import os
import select
import socket
from typing import Any

CHUNK = 1024


class Failed(Exception):
    """The daemon answered with an error."""


class Ancestor:
    def __init__(self, path: str) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(path)
        self.buffer: list[str] = []
        self.version = self._receive()["version"]

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> "Ancestor":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def cmd(self, name: str, **opts: Any) -> None:
        self.sock.sendall(json.dumps({"cmd": name, "opts": opts}).encode() + b"\n")

    def _receive(self) -> dict[str, Any]:
        if not self.buffer:
            data = b""
            while not data.endswith(b"\n"):
                chunk = self.sock.recv(CHUNK)
                assert chunk, "this is where the client of Ruby 3.3 loops for ever"
                data += chunk
            self.buffer = data.decode().split("\n")[:-1]
        line = self.buffer.pop(0)
        assert line.strip(), "a blank line kills the client"
        message: dict[str, Any] = json.loads(line)
        return message

    def reply(self, updates: list[Any] | None = None) -> dict[str, Any]:
        while True:
            message = self._receive()
            if message.get("status") is True and "progress" in message:
                if updates is not None:
                    updates.append(message["progress"])
                continue
            return message

    def data(self, name: str, updates: list[Any] | None = None, **opts: Any) -> Any:
        self.cmd(name, **opts)
        message = self.reply(updates)
        if message["status"] is not True:
            raise Failed(message["message"])
        return message["response"]

    def exec(self, name: str, stdin: bytes = b"", **opts: Any) -> tuple[Any, bytes, bytes]:
        """Run a program: three pipes, one descriptor per message, one select for everything."""
        assert self.data(name, **opts) == "continue"
        in_r, in_w = os.pipe2(os.O_NONBLOCK)  # as Ruby makes them
        out_r, out_w = os.pipe2(os.O_NONBLOCK)
        err_r, err_w = os.pipe2(os.O_NONBLOCK)
        for fd in (in_r, out_w, err_w):
            socket.send_fds(self.sock, [b"\0"], [fd])
            os.close(fd)
        seen = {out_r: b"", err_r: b""}
        forwarding = [out_r, err_r]
        pending, writers = stdin, [in_w]
        try:
            while True:
                readable, writable, _ = select.select([*forwarding, self.sock], writers, [], 20)
                assert readable or writable, "nothing happens"
                if writable:
                    if pending:
                        pending = pending[os.write(in_w, pending[:4096]) :]
                    if not pending:
                        os.close(in_w)
                        writers = []
                for fd in [fd for fd in forwarding if fd in readable]:
                    data = os.read(fd, 4096)
                    seen[fd] += data
                    if not data:
                        forwarding = []  # the end of one is the end of both
                if self.sock in readable:
                    message = self.reply()
                    # It looks into the response before it looks at the status.
                    status = message["response"].get("exitstatus")
                    if message["status"] is not True:
                        raise Failed(message["message"])
                    return status, seen[out_r], seen[err_r]
        finally:
            for fd in [out_r, err_r, *writers]:
                os.close(fd)

    def console(self, **opts: Any) -> None:
        assert self.data("ct_console", **opts) == "continue"
        assert not self.buffer, "what came in one packet with continue is lost"

    def type(self, keys: bytes) -> None:
        self.sock.sendall(json.dumps({"keys": base64.b64encode(keys).decode()}).encode() + b"\n")

    def resize(self, rows: int, cols: int) -> None:
        self.sock.sendall(json.dumps({"rows": rows, "cols": cols}).encode() + b"\n")

    def screen_until(self, text: bytes) -> bytes:
        seen = b""
        while text not in seen:
            data = self.sock.recv(4096)
            assert data, seen
            seen += data
        return seen
