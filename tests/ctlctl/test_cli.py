"""ctlctl.cli: a whole run, from the arguments to the exit status, in this process."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import ctlctl
from ctlctl import cli, exits
from tests.certificates import Authority
from tests.client.listening import full_backlog, tls_server
from tests.client.scripted import BANNER, Peer, Scripted, Serve
from tests.ctlctl.running import Run, item, response

DONE = {"status": True, "response": None}


# -- results


@pytest.mark.parametrize(
    ("value", "plain", "as_json"),
    [
        ("pong", "pong\n", '"pong"\n'),
        (None, "", "null\n"),
        ({"a": [1], "bc": None}, "a   1\nbc  -\n", '{"a":[1],"bc":null}\n'),
        ([], "", "[]\n"),
        ([1, "a\x07"], "1\na\\u0007\n", '[1,"a\\u0007"]\n'),
        ([{"a": 1}, {"a": 20}], " A\n 1\n20\n", '[{"a":1},{"a":20}]\n'),
        (5, "5\n", "5\n"),
        ("a\x1b[2Jb\nc", "a\\u001b[2Jb\nc\n", '"a\\u001b[2Jb\\nc"\n'),
    ],
    ids=repr,
)
def test_results(run: Run, value: Any, plain: str, as_json: str) -> None:
    assert run.against([response(value)], "x") == (0, plain, "(none)\n" if value == [] else "")
    assert run.against([response(value)], "--json", "x") == (0, as_json, "")


def test_n4_items_are_printed_as_they_come(run: Run) -> None:
    messages = [item("a"), item({"b": 1}), DONE]
    assert run.against(messages, "list") == (0, "a\nB\n1\n", "")
    assert run.against(messages, "--json-seq", "list") == (0, '"a"\n{"b":1}\n', "")


def test_json_is_one_document_and_json_seq_one_value_per_line(run: Run) -> None:
    assert run.against([response([1, {}])], "--json", "x") == (0, "[1,{}]\n", "")
    assert run.against([response([1, {}])], "--json-seq", "x") == (0, "1\n{}\n", "")
    assert run.against([DONE], "--json-seq", "x") == (0, "", "")
    assert [request.get("stream") for request in run.requests] == [None, True, True]


def test_progress_goes_to_stderr(run: Run) -> None:
    progress = {"status": True, "progress": "copied\x07", "current": 1, "total": 2, "unit": "chunks"}
    status, out, err = run.against([progress, response("done")], "x")
    assert (status, out, err) == (0, "done\n", "copied\\u0007 [1/2 chunks]\n")


def test_an_output_that_knows_no_unicode(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ascii:
        encoding = "ascii"
        written = ""

        def write(self, text: str) -> None:
            text.encode("ascii")
            self.written += text

        def flush(self) -> None:
            """Nothing waits."""

    monkeypatch.setattr(sys, "stdout", Ascii())
    assert run.against([response("é")], "x")[0] == 0
    assert sys.stdout.written == "\\xe9\n"


# -- what is sent


def test_a_single_word_is_sent_as_it_is(run: Run) -> None:
    run.against([DONE], "no_such-Thing")
    assert run.requests == [{"cmd": "no_such-Thing", "opts": {"cli": "ctlctl no_such-Thing"}, "stream": True}]


def test_more_words_are_resolved_by_describe(run: Run) -> None:
    entry = {
        "name": "vm_start",
        "options": {"properties": {"name": {"type": "string"}, "cpus": {"type": "integer"}}, "required": ["name"]},
    }
    run.against([response([entry])], "--timeout", "30", "vm", "start", "a b", "--cpus", "2")
    assert run.requests == [
        {"cmd": "describe", "opts": {}, "deadline": 10.0},
        {
            "cmd": "vm_start",
            "opts": {"cpus": 2, "name": "a b", "cli": "ctlctl vm start 'a b' --cpus 2"},
            "deadline": 30.0,
        },
    ]


def test_the_command_line_is_bounded_and_a_given_one_is_kept(run: Run) -> None:
    run.against([DONE], "x" * 1000)
    run.against([DONE], "x", "--opts", '{"cli": "mine"}')
    run.against([DONE], "\udcff")
    shown = [request["opts"]["cli"] for request in run.requests]
    assert len(shown[0]) == 500
    assert shown[0].endswith("x...")
    assert shown[1:] == ["mine"]


def test_a_command_that_is_no_text(run: Run) -> None:
    status, out, err = run.against([DONE], "\udcff")
    assert (status, out) == (exits.PROTOCOL, "")
    assert err == "ctlctl: the request cannot be sent: a text in it is no UTF-8\n"


# -- errors


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("failed", 1),
        ("vm.paused", 1),
        ("internal", 1),
        ("not-found", 1),
        ("unknown-command", 2),
        ("invalid-options", 2),
        ("denied", 3),
        ("locked", 4),
        ("deadlock", 4),
        ("busy", 4),
        ("deadline", 5),
        ("cancelled", 6),
        ("syntax", 8),
        ("bad-request", 8),
    ],
)
def test_a_failure_is_one_line_and_a_status(run: Run, code: str, status: int) -> None:
    message = {"status": False, "message": "it\nfailed\x1b[2J", "code": code, "remedy": "ask"}
    more = " (see 'ctlctl help x')" if code == "invalid-options" else ""
    assert run.against([message], "x") == (status, "", f"ctlctl: it failed\\u001b[2J: ask{more}\n")


def test_what_came_before_the_failure_is_there(run: Run) -> None:
    failure = {"status": False, "message": "no more", "code": "failed"}
    assert run.against([item(1), failure], "x") == (1, "1\n", "ctlctl: no more\n")


def test_no_daemon(run: Run) -> None:
    assert run("-s", "unix:@ctld-test-nobody", "ping") == (
        exits.NO_DAEMON,
        "",
        "ctlctl: no daemon listens on unix:@ctld-test-nobody: is it running?\n",
    )


def test_a_daemon_that_dies(run: Run, serve: Serve) -> None:
    status, out, err = run("-s", serve(lambda peer: peer.receive()).address, "ping")
    assert (status, out) == (exits.NO_DAEMON, "")
    assert "closed the connection before it answered" in err


def test_a_daemon_that_talks_nonsense(run: Run) -> None:
    status, out, err = run.against([b"\x1b[2J\n"], "ping")
    assert (status, out, err) == (exits.PROTOCOL, "", "ctlctl: the server sent no JSON: '\\x1b[2J'\n")


def test_a_deadline_that_the_daemon_does_not_keep(run: Run) -> None:
    status, _, err = run("-s", run.daemon(banner={"version": "old"}).address, "--timeout", "0.05", "x")
    assert (status, err) == (exits.DEADLINE, "ctlctl: no answer to x within its deadline of 0.05 s\n")


@pytest.mark.parametrize(
    ("argv", "err"),
    [
        (["--nope"], "ctlctl: unknown option --nope (options of the command stand after it)\n"),
        (["-s", "nonsense", "ping"], "ctlctl: 'nonsense' is no address: "),
        (["-s", "fd:3", "ping"], "ctlctl: fd:3 is where a server listens"),
        (["--tls-key", "k", "ping"], "ctlctl: the TLS key k is of no use without its certificate\n"),
        (["--tls-ca", "/nowhere", "ping"], "ctlctl: cannot use the TLS authorities of /nowhere"),
    ],
    ids=" ".join,
)
def test_usage(run: Run, argv: list[str], err: str) -> None:
    status, out, said = run(*argv)
    assert (status, out) == (exits.USAGE, "")
    assert said.startswith(err)
    assert said.count("\n") == 1


# -- the rest


def test_without_a_command_the_list_is_wanted(run: Run) -> None:
    status, out, err = run("-s", "unix:@ctld-test-nobody")
    assert (status, out) == (exits.NO_DAEMON, "")
    assert err.startswith("usage: ctlctl [-s ADDRESS]")
    assert err.endswith("ctlctl: no daemon listens on unix:@ctld-test-nobody: is it running?\n")


def test_help_and_version(run: Run) -> None:
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    assert out.startswith("usage: ctlctl ")
    status, out, err = run("--version")
    assert (status, out.startswith("ctlctl (ctld) "), err) == (0, True, "")


def test_a_downstream_has_its_own_name_and_address(run: Run) -> None:
    daemon = run.daemon(response("pong"))
    assert run("ping", prog="/usr/bin/vmctl", address=daemon.address) == (0, "pong\n", "")
    assert run.requests[0]["opts"] == {"cli": "vmctl ping"}
    assert run("--help", prog="vmctl")[1].startswith("usage: vmctl ")
    assert run("-s", daemon.address, "ping", prog="vmctl", address="unix:@nobody")[0] == 0
    assert run("ping", prog="vmctl", address="unix:@ctld-test-nobody")[2].startswith("vmctl: no daemon")


def test_the_default_address_and_arguments(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTLD_SOCKET", run.daemon(response("pong")).address)
    monkeypatch.setattr(sys, "argv", ["ctlctl", "ping"])
    assert ctlctl.main() == 0
    assert len(run.requests) == 1


def test_tls_options(run: Run, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("me")
    with tls_server(authority, client_certificates=True) as port:
        argv = ["-s", f"tls:localhost:{port}", "--tls-ca", str(authority.file), "--tls-cert", certificate]
        status, _, err = run(*argv, "--tls-key", key, "ping")
    assert status in (exits.PROTOCOL, exits.NO_DAEMON), "that server only says hello"
    assert "TLS" not in err


def test_a_reader_that_went_away_ends_it_quietly(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        status, _, err = run.against([item("x")] * 10, "x")
    assert (status, err) == (exits.BROKEN_PIPE, "")


def test_nobody_to_complain_to(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*arguments: object) -> int:
        raise OSError

    monkeypatch.setattr(os, "write", closed)
    assert ctlctl.main(["--nope"]) == exits.USAGE


# -- Ctrl-C


def interrupt_on(serve: Serve, *steps: Any, banner: Any = BANNER) -> tuple[Scripted, list[Any]]:
    """A daemon whose client is interrupted once the command runs; then it plays these steps."""
    got: list[Any] = []

    def script(peer: Peer) -> None:
        peer.send(banner, {"status": True, "progress": "started"})
        got.append(peer.receive()["cmd"])
        for step in steps:
            if step == "interrupt":
                os.kill(os.getpid(), signal.SIGINT)
            elif step == "receive":
                got.append(peer.receive())
            elif step == "rest":
                got.extend(peer.until_closed())
            else:
                peer.send(step)

    return serve(script), got


@pytest.mark.parametrize(
    ("final", "outcome"),
    [
        ({"status": False, "message": "stopped", "code": "cancelled"}, (exits.CANCELLED, "", "stopped")),
        ({"status": True, "response": "done"}, (exits.OK, "done\n", "")),
    ],
    ids=["cancelled", "too late"],
)
def test_b16_ctrl_c_cancels_and_waits(run: Run, serve: Serve, final: Any, outcome: tuple[int, str, str]) -> None:
    daemon, got = interrupt_on(serve, "interrupt", "receive", final)
    status, out, err = run("-s", daemon.address, "x")
    daemon.stop_peers()
    assert got == ["x", {"cancel": None}]
    lines = err.splitlines()
    assert (status, out) == outcome[:2]
    assert "ctlctl: cancelling; press Ctrl-C again to leave it running" in lines
    assert (f"ctlctl: {outcome[2]}" in lines) == bool(outcome[2])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("alone", [True, False])
def test_b16_the_second_ctrl_c_leaves_it_running_where_that_is_possible(run: Run, serve: Serve, alone: bool) -> None:
    asked: list[str] = []
    looked = threading.Event()

    def script(peer: Peer) -> None:
        peer.send(BANNER)
        while (request := peer.receive()) is not None:
            answers = {
                "describe": {"name": "x", "on_disconnect": "continue" if alone else "cancel"},
                "connection_list": [{"transport": "unix", "pid": os.getpid(), "running": ["op-7"]}],
                "op_list": [
                    {"id": "op-6", "state": "running", "command": "x", "cli": "ctlctl x"},
                    {"id": "op-7", "state": "running", "command": "x", "cli": "ctlctl x"},
                    {"id": "op-8", "state": "done", "command": "x", "cli": "ctlctl x"},
                ],
            }
            if request.get("cmd") in answers:
                asked.append(request["cmd"])
                peer.send(response(answers[request["cmd"]]))
            elif "cancel" in request:
                os.kill(os.getpid(), signal.SIGINT)
                if not alone:
                    looked.wait(10)
                    os.kill(os.getpid(), signal.SIGINT)
                peer.until_closed()
            else:
                peer.send({"status": True, "progress": "started"})
                os.kill(os.getpid(), signal.SIGINT)
        looked.set()  # the one that asked has hung up

    daemon = serve(script)
    status, out, err = run("-s", daemon.address, "x")
    daemon.stop_peers()
    assert (status, out) == (exits.CANCELLED, "")
    lines = err.splitlines()
    if alone:
        assert lines[-1] == "ctlctl: left it running: ctlctl op watch op-7"
        assert asked == ["describe", "connection_list", "op_list"]
    else:
        assert lines[-1] == "ctlctl: left; the command may still be running"
        assert asked == ["describe"]


def test_b16_a_daemon_that_cannot_cancel_is_said_to_be_so(run: Run, serve: Serve) -> None:
    daemon, got = interrupt_on(serve, "interrupt", banner={"version": "old"})
    status, _, err = run("-s", daemon.address, "x")
    daemon.stop_peers()
    assert status == exits.NO_DAEMON
    assert got == ["x"]
    assert "cancel" in err


def test_ctrl_c_before_anything_runs(run: Run, serve: Serve) -> None:
    def script(peer: Peer) -> None:
        assert peer.receive()["cmd"] == "describe"
        os.kill(os.getpid(), signal.SIGINT)
        peer.until_closed()

    assert run("-s", serve(script).address, "two", "words") == (exits.CANCELLED, "", "")


def test_ctrl_c_while_the_daemon_does_not_take_the_connection(run: Run, tmp_path: Path) -> None:
    with full_backlog(tmp_path / "s"):
        timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        assert run("-s", f"{tmp_path}/s", "ping") == (exits.CANCELLED, "", "")
        timer.join()


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None], ids=["ignored", "handled"])
def test_what_others_do_about_sigint_stays(run: Run, handler: Any) -> None:
    before = signal.signal(signal.SIGINT, handler)
    try:
        assert run.against([response(1)], "x")[0] == 0
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_it_runs_in_any_thread(run: Run) -> None:
    address = run.daemon(response(1)).address
    status: list[int] = []
    thread = threading.Thread(target=lambda: status.append(cli.run(["-s", address, "x"], "ctlctl", None)))
    thread.start()
    thread.join()
    assert status == [0]
