"""`examples/osctld_like.py`: every flow of the ancestor's client, byte for byte as that client behaves."""

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from ctld.client import Client
from tests.examples.ancestor import Ancestor, Failed

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "osctld_like.py"


@pytest.fixture
def path(folder, start):
    with start(EXAMPLE, folder / "osctld.sock") as daemon:
        yield f"{folder}/osctld.sock"
    assert "s3cret" not in daemon.log


@pytest.fixture
def client(path):
    with Ancestor(path) as client:
        yield client


def test_the_socket_is_for_root_alone(path):
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_the_banner_comes_first_and_names_the_version(client):
    assert client.version == "24.05.0"


def test_simple_commands(client):
    assert client.data("ping") == client.data("self_ping") == "pong"
    assert client.data("echo", text="x", number=1, cli="osctl echo") == {"text": "x", "number": 1}
    assert client.data("sleep", seconds=0.01) == 0.01


def test_progress_comes_before_the_response(client):
    updates = []
    assert client.data("progress", updates, n=3, cli="osctl progress") == 3
    assert updates == ["[1/3] working", "[2/3] working", "[3/3] working"]
    assert client.data("progress", updates, n=2, progress=False) == 2
    assert len(updates) == 3


def test_errors_are_words(client):
    with pytest.raises(Failed, match="no way"):
        client.data("fail", message="no way")
    with pytest.raises(Failed, match="Unsupported command 'nope'"):
        client.data("nope")
    assert client.data("ping") == "pong"


def test_requests_may_be_sent_ahead(client):
    for _ in range(3):
        client.cmd("ping")
    assert [client.reply()["response"] for _ in range(3)] == ["pong"] * 3


def test_exec_and_the_connection_goes_on(client):
    cmd = ["sh", "-c", "cat; echo err >&2; exit 3"]
    opts = {"id": "ct1", "pool": "tank", "run": False, "network": False, "cli": "osctl ct exec ct1"}
    assert client.exec("ct_exec", b"hello\n", cmd=cmd, **opts) == (3, b"hello\n", b"err\n")
    assert client.data("ping") == "pong"


def test_large_output_is_not_cut_though_the_client_does_not_drain(client):
    for _ in range(10):
        status, out, _ = client.exec("ct_exec", cmd=["head", "-c", "1000000", "/dev/zero"])
        assert (status, len(out)) == (0, 1_000_000)


def test_large_input(client):
    status, out, _ = client.exec("ct_exec", b"i" * 500_000, cmd=["wc", "-c"])
    assert (status, out) == (0, b"500000\n")


def test_a_program_that_closes_its_stdout_early_does_not_silence_its_stderr(client):
    status, _, err = client.exec("ct_exec", cmd=["sh", "-c", "exec >&-; sleep 0.1; echo late >&2; exit 5"])
    assert (status, err) == (5, b"late\n")


def test_signal_death_is_not_taken_for_success(client):
    assert client.exec("ct_exec", cmd=["sh", "-c", "kill -KILL $$"])[0] == 137


def test_a_missing_program_is_an_error_with_a_response(client):
    with pytest.raises(Failed, match="cannot start '/no/such/thing': no such program"):
        client.exec("ct_exec", cmd=["/no/such/thing"])
    assert client.data("ping") == "pong"


def test_runscript_by_path_and_from_stdin(client, folder):
    (folder / "script").write_text("#!/bin/sh\necho script $1; exit 7\n")
    (folder / "script").chmod(0o755)
    assert client.exec("ct_runscript", script=str(folder / "script"), arguments=["x"])[:2] == (7, b"script x\n")
    assert client.exec("ct_runscript", b"echo $1 from stdin\n", script="-", arguments=["y"])[:2] == (
        0,
        b"y from stdin\n",
    )


def test_a_console_is_never_cut_off_from_its_first_output(path):
    for number in range(10):
        with Ancestor(path) as client:
            client.console(id=f"fresh{number}", tty=0)
            client.screen_until(f"fresh{number}# ".encode())


def test_a_console_is_shared_and_outlives_its_viewers(path, client):
    client.console(id="ct1", pool="tank", tty=0)
    client.screen_until(b"tank:ct1# ")
    client.resize(33, 44)
    client.type(b"stty size; A=kept\n")
    client.screen_until(b"33 44\r\n")
    with Ancestor(path) as other:
        other.console(id="ct1", pool="tank", tty=0)
        other.screen_until(b"33 44\r\n")  # the scroll-back first
        other.type(b"echo both\n")
        client.screen_until(b"both\r\n")
    client.close()
    with Ancestor(path) as back:
        back.console(id="ct1", pool="tank", tty=0)
        back.type(b"echo $A; exit\n")
        back.screen_until(b"kept\r\n")
        while back.sock.recv(4096):
            pass  # the end of the shell is the end of the connection
    with Ancestor(path) as again:
        again.console(id="ct1", pool="tank", tty=0)
        again.type(b"echo new$A\n")
        again.screen_until(b"new\r\n")


def test_consoles_of_different_ttys_are_different(path, client):
    client.console(id="ct1", tty=0)
    client.type(b"tty\n")
    with Ancestor(path) as other:
        other.console(id="ct1", tty=1)
        other.type(b"tty\n")
        client.screen_until(b"/dev/pts/")
        other.screen_until(b"/dev/pts/")
    with Client(f"unix:{path}") as admin:
        assert len(admin.call("session_list")) == 2


def test_events_follow_one_reply_after_another(path, client):
    assert client.data("event_subscribe", type="state", opts={"id": "ct1"}) == "subscribed"
    with Ancestor(path) as other:
        other.data("emit", id="ct2", state="running")
        other.data("emit", id="ct1", state="stopped", pool="tank")
    event = client.reply()
    assert event["response"]["type"] == "state"
    assert event["response"]["opts"] == {"id": "ct1", "state": "stopped", "pool": "tank"}


def test_passwords_are_in_no_event_and_no_history(path, client):
    assert client.data("event_subscribe") == "subscribed"
    with Ancestor(path) as other:
        updates = []
        other.data("ct_passwd", updates, id="ct1", pool="tank", user="root", password="s3cret", cli="osctl ct passwd")
        assert updates == ["setting the password of root"]
        other.data("emit", id="ct1", state="done")
    seen = []
    while not seen or seen[-1]["response"]["type"] != "state":
        seen.append(client.reply())
    assert any(one["response"]["opts"].get("cmd") == "ct_passwd" for one in seen)
    assert "s3cret" not in json.dumps(seen)
    with Client(f"unix:{path}") as admin:
        entries = admin.call("history_list")
    assert any("ct_passwd" in json.dumps(entry) for entry in entries)
    assert "s3cret" not in json.dumps(entries)


def test_stopping_answers_whoever_waits(folder, start):
    path = f"{folder}/osctld.sock"
    with start(EXAMPLE, path) as daemon, Ancestor(path) as sleeper, Ancestor(path) as runner:
        sleeper.cmd("sleep", seconds=60)
        assert runner.data("ct_exec", cmd=["sleep", "60"]) == "continue"
        for _ in range(3):
            socket.send_fds(runner.sock, [b"\0"], [2])
        with Client(f"unix:{path}") as admin:
            while [one["state"] for one in admin.call("session_list")] != ["attached"]:
                pass
        daemon.terminate()
        assert runner.reply()["response"] == {}
        assert sleeper.reply()["message"] == "osctld is shutting down"


@pytest.mark.interop
def test_ruby_is_content(path):
    ruby = shutil.which("ruby")
    if ruby is None:
        if os.environ.get("CTLD_INTEROP") == "required":
            pytest.fail("ruby is missing")
        pytest.skip("ruby is not installed")
    done = subprocess.run(
        [ruby, str(Path(__file__).with_name("ancestor.rb")), path], capture_output=True, text=True, timeout=30
    )
    assert done.stderr == ""
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert first == ["24.05.0", "pong", 2, "no way"]
    assert second == [4, 1_000_003, "end"]
    assert third == ["pong", True]
