"""ctlctl.shell: many commands over one connection."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ctlctl.shell import history_path, holds_secret
from tests.client.scripted import BANNER, Peer, Serve
from tests.ctlctl.running import COMMAND, ROOT, Run, answering, entry

LOGIN = entry(
    "log_in", {"user": {"type": "string"}, "password": {"type": "string", "writeOnly": True}}, ["user", "password"]
)
COMMANDS = [entry("ping", role="anyone"), entry("job_list"), LOGIN]
ANSWERS = {"describe": COMMANDS, "ping": "pong", "job_list": [{"name": "web"}], "log_in": "hello"}


def typed(address: str, *lines: str, argv: tuple[str, ...] = ()) -> tuple[int, str, str]:
    done = subprocess.run(
        [*COMMAND, "-s", address, *argv, "shell"],
        input="".join(f"{line}\n" for line in lines), capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip  # a command
    return done.returncode, done.stdout, done.stderr


def test_many_commands_one_connection_one_description(serve: Serve) -> None:
    requests: list[Any] = []
    daemon = serve(answering(ANSWERS, requests))
    status, out, err = typed(daemon.address, "ping", "", "# a remark", "job list", "job list --json", "log in x 'a b'")
    assert (status, err) == (0, "")
    assert out == 'pong\nNAME\nweb\n[{"name":"web"}]\nhello\n'
    assert daemon.connections == 1
    assert [request["cmd"] for request in requests].count("describe") == 1
    assert requests[-1]["opts"] == {"user": "x", "password": "a b", "cli": "ctlctl log in x '***'"}


def test_the_status_is_that_of_the_last_line_and_errors_do_not_end_it(serve: Serve) -> None:
    address = serve(answering(ANSWERS)).address
    status, out, err = typed(address, "zebra", "job 'x", "--nope", "--timeout", "ping", "pnig")
    assert (status, out) == (2, "pong\n")
    assert err.splitlines() == [
        "ctlctl: Unsupported command 'zebra'",
        "ctlctl: a quotation does not end",
        "ctlctl: unknown option --nope (options of the command stand after it)",
        "ctlctl: --timeout needs a value",
        "ctlctl: Unsupported command 'pnig'; did you mean 'ping'?",
    ]


@pytest.mark.parametrize("word", ["exit", "quit"])
def test_leaving(serve: Serve, word: str) -> None:
    assert typed(serve(answering(ANSWERS)).address, "ping", word, "ping") == (0, "pong\n", "")


def test_what_was_said_before_shell_holds_for_every_line(serve: Serve) -> None:
    requests: list[Any] = []
    address = serve(answering(ANSWERS, requests)).address
    assert typed(address, "ping", "job list", argv=("--json", "--timeout", "9"))[1] == '"pong"\n[{"name":"web"}]\n'
    assert {request["deadline"] for request in requests if request["cmd"] != "describe"} == {9.0}


def test_help_inside(serve: Serve) -> None:
    address = serve(answering(ANSWERS)).address
    assert typed(address, "--help")[1].startswith("Commands\n")
    assert typed(address, "help ping")[1].startswith("usage: ctlctl ping\n")


def test_what_makes_no_sense_inside(serve: Serve) -> None:
    address = serve(answering(ANSWERS)).address
    assert typed(address, "-s /x ping")[::2] == (2, "ctlctl: a shell has one connection: leave it to go elsewhere\n")
    assert typed(address, "shell")[::2] == (2, "ctlctl: this is the shell already\n")


def test_nobody_there(run: Run) -> None:
    assert run("-s", "unix:@ctld-test-nobody", "shell")[0] == 7


def test_a_daemon_that_was_started_again_is_asked_again(serve: Serve) -> None:
    connections = 0

    def script(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        peer.send(BANNER)
        commands = COMMANDS if connections == 1 else [*COMMANDS, entry("new_one")]
        while (request := peer.receive()) is not None:
            if request["cmd"] == "describe":
                peer.send({"status": True, "response": commands})
            elif connections == 1:
                return
            else:
                peer.send({"status": True, "response": request["cmd"]})

    status, out, err = typed(serve(script).address, "job list", "new one")
    assert (status, out) == (0, "new_one\n")
    assert "closed the connection before it answered" in err


@pytest.mark.parametrize(
    ("line", "yes"),
    [
        ("log in x y", True),
        ("log_in --password y", True),
        ("--json log in x", True),
        ("--nope log in x", True),
        ("log in", False),
        ("job list x", False),
        ("zebra x", False),
    ],
)
def test_a_line_with_a_secret_is_known(line: str, yes: bool) -> None:
    assert holds_secret(line.split(), COMMANDS) == yes


def test_where_the_history_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    assert history_path("vmctl") == "/s/ctld/vmctl_history"
    for odd in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", odd)
        assert history_path("vmctl") == "/h/.local/state/ctld/vmctl_history"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child does nothing but exec
class TestOnATerminal:
    def test_prompt_completion_and_history(self, serve: Serve, terminal: Any, tmp_path: Path) -> None:
        address = serve(answering(ANSWERS)).address
        environ = {"XDG_STATE_HOME": str(tmp_path), "INPUTRC": "/dev/null", "NO_COLOR": "1"}
        shell = terminal("-s", address, "shell", **environ)
        shell.until(b"ctlctl> ")
        shell.type("job li\t\n")
        shell.until(b"job list \r\n")
        shell.until(b"web\r\n")
        shell.type("log in me s3cret\n")
        shell.until(b"hello\r\n")
        shell.until(b"ctlctl> ")
        shell.type("nonsense")
        shell.until(b"nonsense")  # readline is listening: what comes before that, Python hears with the next key
        shell.type("\x03")
        shell.until(b"ctlctl> ")
        shell.type("\x04")
        assert shell.finish()[0] == 0
        history = tmp_path / "ctld" / "ctlctl_history"
        assert history.stat().st_mode & 0o777 == 0o600
        assert history.read_text().splitlines() == ["job list "]
        shell = terminal("-s", address, "shell", **environ)
        shell.until(b"ctlctl> ")
        shell.type("\x1b[A\n")
        shell.until(b"web\r\n")
        shell.type("exit\n")
        assert shell.finish()[0] == 0

    def test_a_history_that_cannot_be_kept(self, serve: Serve, terminal: Any, tmp_path: Path) -> None:
        (tmp_path / "ctld").write_text("a file")
        shell = terminal("-s", serve(answering(ANSWERS)).address, "shell", XDG_STATE_HOME=str(tmp_path))
        shell.until(b"ctlctl> ")
        shell.type("\x04")
        status, said = shell.finish()
        assert status == 0
        assert b"the history is not kept: " in said

    def test_ctrl_c_cancels_a_command_and_not_the_shell(self, serve: Serve, terminal: Any) -> None:
        def script(peer: Peer) -> None:
            peer.send(BANNER)
            while (request := peer.receive()) is not None:
                if request.get("cmd") == "ping":
                    peer.send({"status": True, "response": "pong"})
                elif "cancel" in request:
                    peer.send({"status": False, "message": "stopped", "code": "cancelled"})
                else:
                    peer.send({"status": True, "progress": "started"})

        shell = terminal("-s", serve(script).address, "shell", XDG_STATE_HOME=os.devnull)
        shell.until(b"ctlctl> ")
        shell.type("slow\n")
        shell.until(b"started\r\n")
        shell.type("\x03")
        shell.until(b"ctlctl: stopped\r\n")
        shell.type("ping\n")
        shell.until(b"pong\r\n")
        shell.type("exit\n")
        assert shell.finish()[0] == 0
