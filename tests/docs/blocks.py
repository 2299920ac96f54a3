"""The code blocks of a Markdown page, and what it takes to run them.

What a block is for follows from its language:

* `python` with a `title="NAME"` is written to a file of that name; without one it is run.
* `toml` has to be a configuration of the reference daemon; a titled one is written, too.
* `console` is a shell at work: `$ COMMAND` lines, each followed by what it prints, where
  `...` stands for anything.  `COMMAND &` starts a daemon: what follows waits until it
  says that it is ready (or listens, under `systemd-socket-activate`), and at the end of the page
  it has to stop cleanly.  Each command has a shell of its own, but `export NAME=VALUE` holds for the rest of the page.
* `ini` with a `title="NAME"` is a unit of systemd: it is written, and verified where systemd is installed.
* `wire` is a conversation with the daemon of the page: `-->` is sent, `<--` comes back.
* `bytes` with a `title="ADDRESS"` is one with whoever listens there, byte by byte: `transcript.py` has its form.
* `sh` is what a reader does to this checkout: each line is a `make` target that exists, or
  steps into the environment that `make` has made.
* `text`, `mermaid` and `json` are for the eye; `json` has to be JSON.

`<!-- run: COMMAND -->` is a console line that the reader does not see.  One page is one
scratch folder; `/tmp/` stands for it everywhere, so that pages never meet, and `127.0.0.1:7777`
for a loopback address that only this process listens on.
"""

import ast
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ctld.settings import load_settings
from tests.docs import transcript

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0  # seconds for one command or answer: far more than any takes

_BLOCK = re.compile(
    r"^(?P<indent>[ ]*)```(?P<language>\w*)(?P<attributes>[^\n]*)\n(?P<code>.*?)^(?P=indent)```[ ]*$"
    r"|^<!-- run: (?P<hidden>.*?) -->$",
    re.MULTILINE | re.DOTALL,
)
_NEEDS = re.compile(r"^<!-- needs: ([\w-]+) -->$", re.MULTILINE)
_TITLE = re.compile(r'title="([\w.-]+)"')
_ADDRESS = re.compile(r'title="([^"]+)"')

# All of 127.0.0.0/8 is this machine, and a process id has fewer bits than that.
_LOOPBACK = f"127.{1 + (os.getpid() >> 16)}.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"


@dataclass(frozen=True)
class Block:
    language: str
    title: str
    code: str
    line: int
    address: str = ""


class BlockFailed(AssertionError):
    """A block did not do what the page says."""


def blocks_of(text: str) -> list[Block]:
    found = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match["hidden"]:
            found.append(Block("console", "", f"$ {match['hidden']}\n", line))
            continue
        address = _ADDRESS.search(match["attributes"]) if match["language"] == "bytes" else None
        title = None if address else _TITLE.search(match["attributes"])
        code = re.sub(f"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
        where = address[1] if address else ""
        found.append(Block(match["language"], title[1] if title else "", code, line, where))
    return found


def needs_of(text: str) -> list[str]:
    return _NEEDS.findall(text)


def matches(expected: str, printed: str) -> bool:
    pattern = ".*?".join(map(re.escape, expected.strip("\n").split("...")))
    return re.fullmatch(pattern, printed.strip("\n"), re.DOTALL) is not None


def steps_of(code: str) -> list[tuple[str, str]]:
    """Split a console block into commands and what each prints."""
    steps: list[tuple[str, str]] = []
    for line in code.splitlines():
        if line.startswith("$ "):
            steps.append((line[2:], ""))
        elif steps and steps[-1][0].endswith("\\"):
            steps[-1] = (f"{steps[-1][0]}\n{line}", "")
        elif steps:
            steps[-1] = (steps[-1][0], f"{steps[-1][1]}{line}\n")
        else:
            raise BlockFailed(f"a console block begins with a command, not with {line!r}")
    return steps


class Page:
    """Runs the blocks of one page, in order, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemons: list[subprocess.Popen[str]] = []
        self.units: list[str] = []
        self.sockets: set[str] = set()
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("CTLD_", "LISTEN_"))},
            "PATH": f"{self.bin_folder()}:{os.environ['PATH']}",
            "HOME": str(folder),
            "NO_COLOR": "1",
            "COLUMNS": "120",
            "TERM": "dumb",
        }

    def bin_folder(self) -> Path:
        """This Python, and `ctld` and `ctlctl` of this checkout, whether it is installed or not."""
        place = self.folder / ".bin"
        place.mkdir()
        for program, module in (("python", ""), ("ctld", "-m ctld"), ("ctlctl", "-m ctlctl")):
            script = place / program
            # What starts a daemon may keep the environment from it, as systemd does.
            exports = f"export PYTHONPATH='{ROOT}' PYTHONWARNINGS=error"
            script.write_text(f'#!/bin/sh\n{exports}\nexec "{sys.executable}" {module} "$@"\n')
            script.chmod(0o755)
        return place

    def run(self, text: str) -> int:
        blocks = blocks_of(text)
        try:
            for block in blocks:
                try:
                    self.run_block(block)
                except BlockFailed as exc:
                    raise BlockFailed(f"line {block.line}, {block.language} block: {exc}") from exc
            self.verify_units()
            self.stop_daemons()
        finally:
            for daemon in self.daemons:
                daemon.kill()
                daemon.wait()
                if daemon.stdout:
                    daemon.stdout.close()
        return len(blocks)

    def run_block(self, block: Block) -> None:
        code = self.here(block.code)
        if block.title:
            (self.folder / block.title).write_text(code)
        if block.language == "python" and not block.title:
            self.command(f"python - <<'END-OF-BLOCK'\n{code}\nEND-OF-BLOCK", None)
        elif block.language == "toml":
            path = self.folder / (block.title or "untitled.toml")
            path.write_text(code)
            load_settings(path)
        elif block.language == "console":
            for command, expected in steps_of(code):
                if exported := re.fullmatch(r"export (\w+)=(\S+)", command):
                    self.environ[exported[1]] = exported[2]
                elif command.endswith("&"):
                    self.start_daemon(command[:-1].strip())
                else:
                    self.command(command, expected)
        elif block.language == "wire":
            self.converse(code)
        elif block.language == "bytes" and block.address:
            self.exchange(self.here(block.address), code)
        elif block.language == "sh":
            self.check_targets(code)
        elif block.language == "json":
            json.loads(code)
        elif block.language == "pyi":
            try:
                ast.parse(code)
            except SyntaxError as exc:
                raise BlockFailed(str(exc)) from exc
        elif block.language == "ini" and block.title:
            self.write_unit(block.title, code)
        elif block.language not in ("python", "text", "mermaid"):
            raise BlockFailed(f"nobody knows how to run {block.language or 'a block without a language'}")

    def here(self, text: str) -> str:
        """Make what a page says of its folder and its port true."""
        return text.replace("/tmp/", f"{self.folder}/").replace("127.0.0.1:7777", f"{_LOOPBACK}:7777")

    def write_unit(self, name: str, code: str) -> None:
        """Write a unit as it would stand on a machine that has the program that it starts."""
        code = re.sub(r"^(ExecStart\w*=)\S+", rf"\1{sys.executable}", code, flags=re.MULTILINE)
        (self.folder / name).write_text(code)
        self.units.append(name)

    def verify_units(self) -> None:
        """Let systemd read the units of the page, which may name each other."""
        if self.units and shutil.which("systemd-analyze"):
            self.command(" ".join(["systemd-analyze --man=no verify", *(f"./{name}" for name in self.units)]), "")

    def command(self, command: str, expected: str | None) -> None:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )
        if done.returncode != 0:
            raise BlockFailed(f"$ {command}\nended with {done.returncode}:\n{done.stdout}")
        if expected is not None and not matches(expected, done.stdout):
            raise BlockFailed(f"$ {command}\nprinted:\n{done.stdout}\nand not:\n{expected}")

    def start_daemon(self, command: str) -> None:
        """Start it and wait for the word that systemd would wait for."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
            address = self.folder / f".notify{len(self.daemons)}"
            notifications.bind(str(address))
            before = self.unix_sockets()
            daemon = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder,
                env={**self.environ, "NOTIFY_SOCKET": str(address)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            self.daemons.append(daemon)
            activated = command.startswith("systemd-socket-activate ")
            word = b"Listening on" if activated else b"READY=1"
            ear = daemon.stdout if activated else notifications
            assert ear is not None
            watch = os.pidfd_open(daemon.pid)
            try:
                ready, _, _ = select.select([ear, watch], [], [], PATIENCE)
            finally:
                os.close(watch)
            if ear not in ready or word not in os.read(ear.fileno(), 4096):
                daemon.kill()
                raise BlockFailed(f"$ {command}\nwas never ready:\n{daemon.communicate()[0]}")
        self.sockets = self.unix_sockets() - before or self.sockets

    def unix_sockets(self) -> set[str]:
        return {str(path) for path in self.folder.rglob("*") if path.is_socket() and not path.name.startswith(".")}

    def stop_daemons(self) -> None:
        for daemon in self.daemons:
            daemon.send_signal(signal.SIGTERM)
        for daemon in self.daemons:
            output, _ = daemon.communicate(timeout=PATIENCE)
            if daemon.returncode != 0:
                raise BlockFailed(f"the daemon ended with {daemon.returncode}:\n{output}")

    def converse(self, code: str) -> None:
        """Speak to the daemon that was started last."""
        if not self.sockets:
            raise BlockFailed("no daemon is listening")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(min(self.sockets))
            with connection.makefile("rw", encoding="utf-8", newline="\n") as stream:
                for line in code.splitlines():
                    arrow, _, message = line.partition(" ")
                    if arrow == "-->":
                        stream.write(f"{message}\n")
                        stream.flush()
                    elif arrow == "<--":
                        try:
                            answer = stream.readline()
                        except TimeoutError:
                            raise BlockFailed(f"nothing came back, and not {message}") from None
                        if not _same_message(message, answer):
                            raise BlockFailed(f"{message}\nis not what came back:\n{answer}")
                    elif line and not line.startswith("#"):
                        raise BlockFailed(f"a line of a conversation begins with --> or <--, not {line!r}")

    def exchange(self, address: str, code: str) -> None:
        """Speak to whoever listens there."""
        host, colon, port = address.partition(":")
        try:
            transcript.hold(transcript.steps_of(code), (host, int(port)) if colon else address)
        except (transcript.Unexpected, OSError) as exc:
            raise BlockFailed(str(exc)) from exc

    def check_targets(self, code: str) -> None:
        for line in filter(None, code.splitlines()):
            if line == ". .venv/bin/activate":
                continue
            if not line.startswith("make "):
                raise BlockFailed(f"{line!r} is no call of make")
            target = line.partition("#")[0].split()[1:]
            done = subprocess.run(["make", "-n", *target], cwd=ROOT, capture_output=True, text=True)
            if done.returncode != 0:
                raise BlockFailed(done.stderr)


def _same_message(expected: str, answer: str) -> bool:
    """Compare as JSON where the page shows all of it, as text with gaps where it does not."""
    try:
        return bool(json.loads(expected) == json.loads(answer))
    except json.JSONDecodeError:
        return matches(re.sub(r"\s", "", expected), re.sub(r"\s", "", answer))
