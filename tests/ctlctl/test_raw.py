"""ctlctl.raw: frames with their times."""

import re
import subprocess
from typing import Any

import pytest

from ctlctl.raw import frame_line
from tests.client.scripted import BANNER, Peer, Serve
from tests.ctlctl.running import COMMAND, ROOT, Run, answering

STAMP = r"\d\d:\d\d:\d\d\.\d{6} "


def test_a_frame() -> None:
    assert re.fullmatch(STAMP + r"< \{\}", frame_line(1.5, "<", b"{}"))
    assert frame_line(1.25, ">", b"\xff\x1b\n").endswith(r".250000 > \xff\u001b\u000a")
    assert "\x1b[32m<\x1b[0m {}" in frame_line(1.5, "<", b"{}", colour=True)


def raw(address: str, data: bytes) -> tuple[int, list[str], str]:
    done = subprocess.run([*COMMAND, "-s", address, "raw"], input=data, capture_output=True, cwd=ROOT)
    lines = [re.sub(f"^{STAMP}", "", line) for line in done.stdout.decode().splitlines()]
    return done.returncode, lines, done.stderr.decode()


def test_what_is_typed_goes_out_as_it_stands_and_what_comes_is_shown(serve: Serve) -> None:
    got: list[Any] = []
    address = serve(answering({"ping": "pong"}, got)).address
    status, lines, err = raw(address, b'{"cmd": "ping"}\n{"cmd":"x"}')
    assert (status, err) == (0, "")
    assert got == [{"cmd": "ping"}, {"cmd": "x"}]
    assert lines[-1] == """< {"status": false, "message": "Unsupported command 'x'", "code": "unknown-command"}"""
    assert '> {"cmd": "ping"}' in lines
    assert '< {"status": true, "response": "pong"}' in lines


def test_a_last_line_without_its_end_is_shown(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.send(BANNER, b'{"half')

    status, lines, err = raw(serve(script).address, b"")
    assert (status, lines[-1], err) == (0, '< {"half', "")


def test_nobody_there_and_words(run: Run) -> None:
    assert run("-s", "unix:@ctld-test-nobody", "raw")[0] == 7
    address = run.serve(answering({"describe": []})).address
    assert run("-s", address, "raw", "x") == (2, "", "ctlctl: this daemon has no command 'raw x'\n")
    assert run("-s", address, "raw", "--x") == (2, "", "ctlctl: raw takes no words: type lines of JSON\n")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child does nothing but exec
def test_on_a_terminal(serve: Serve, terminal: Any) -> None:
    on_terminal = terminal("-s", serve(answering({"ping": "pong"})).address, "raw", NO_COLOR="1")
    on_terminal.until(b'"protocol": 2')
    on_terminal.type('{"cmd": "ping"}\n')
    said = on_terminal.until(b'< {"status": true, "response": "pong"}')
    assert b"> " not in said, "what was typed stands there already"
    on_terminal.type("\x03")
    assert on_terminal.finish()[0] == 0
