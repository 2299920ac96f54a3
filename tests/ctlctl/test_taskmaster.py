"""`ctlctl taskmaster` prints and exits as the original client does (B9), recorded case by case."""

import io
import json
import socket
import sys
from pathlib import Path

import pytest

import ctlctl
from tests.dialects.taskmaster.daemon import ScriptedDaemon

RECORDED = json.loads((Path(__file__).parents[1] / "vectors" / "taskmasterctl.json").read_text())["cases"]

# The published page's shape of a list, which the original client does not take.
DECIDED = {"Json error!\n": "nginx\n"}


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[str, int]:
        status = ctlctl.main(["taskmaster", *words])
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out, status

    return run


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: " ".join(case["args"]))
def test_recorded(case, run, tmp_path):
    (tmp_path / "up.tm.json").write_text('{"cmd":"x"}')
    with ScriptedDaemon([case["response"].encode()]) as daemon:
        out, status = run("-c", f"127.0.0.1:{daemon.port}", *case["args"])
    assert daemon.received == [case["sent"].encode()]
    expected = DECIDED.get(case["stdout"], case["stdout"]) if "ctld_differs" in case else case["stdout"]
    assert (out, status) == (expected, case["rc"])


FILE = '{"response":"file","data":"/w=="};;'


@pytest.mark.parametrize(
    ("words", "answer", "out", "status"),
    [
        (["START", "a"], '{"response":"redundant"};;', "Already running.\n", 1),
        (["kill", "a"], '{"response":"redundant"};;', "Already stopped.\n", 1),
        (["list"], "junk;;", "Json error!\n", 0),
        (["list"], '{"response":"list","data":"!"};;', "B64 error!\n", 0),
        (["pull", "a"], FILE, "File encoding error!\n", 0),
        (["list"], None, "Connection to server lost.\n", 1),
    ],
)
def test_b9_further_answers(run, words, answer, out, status):
    with ScriptedDaemon([answer and answer.encode()]) as daemon:
        assert run("-c", f"localhost:{daemon.port}", *words) == (out, status)


@pytest.mark.parametrize(
    ("words", "out", "status"),
    [
        ([], "No command?!\n", 1),
        (["bogus"], "Invalid command.\n", 1),
        (["list", "a"], "Invalid command.\n", 1),
        (["restart", "a"], "Invalid command.\n", 1),
        (["start"], "Invalid command.\n", 1),
        (["start", "a", "b"], "Invalid command.\n", 1),
        (["-x", "list"], "Invalid command.\n", 1),
        (["-c"], "Invalid command.\n", 1),
        (["push", "a.json"], 'Invalid file.\nTaskmasterd config files must end with ".tm.json"\n', 1),
        (["push", "nosuch.tm.json"], "File read error!\n", 0),
        (["-c", "h:99999", "list"], 'Invalid port: "99999".\nPlease use a valid port number.\n', 1),
        (["-c", "h:x", "list"], 'Invalid port: "x".\nPlease use a valid port number.\n', 1),
        (["-c", "[::1]:123456", "list"], 'Invalid port: "123456".\nPlease use a valid port number.\n', 1),
    ],
)
def test_b9_what_is_refused_here(run, words, out, status):
    assert run(*words) == (out, status)


def test_b9_no_daemon(run):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert run("-c", f":{port}", "list") == ("Could not connect to server.\nConnection timed out.\n", 1)


def test_b9_a_folder_is_part_of_the_jobs_name(run, tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web/api.tm.json").write_text("{}")
    with ScriptedDaemon([b'{"response":"success"};;']) as daemon:
        assert run("-c", f"127.0.0.1:{daemon.port}", "push", "web/api.tm.json") == ("Success!\n", 0)
    assert json.loads(daemon.received[0][:-2])["job"] == "d2ViL2FwaQ=="


@pytest.mark.parametrize(("typed", "ending"), [("exit\n", ""), ("", "\n")])
def test_b9_the_shell(run, monkeypatch, typed, ending):
    monkeypatch.setattr(sys, "stdin", io.StringIO("list\n\nbogus\nlist\nstart a\n" + typed))
    answers = [
        b'{"response":"list","data":"eyJqb2JzIjpbeyJuYW1lIjoibmdpbngifV19"};;',
        None,
        b'{"response":"success"};;',
    ]
    with ScriptedDaemon(answers) as daemon:
        out, status = run("-c", f"127.0.0.1:{daemon.port}", "--shell")
    prompt = "127.0.0.1 >>> "
    assert out == (
        f"{prompt}nginx\n{prompt}{prompt}Invalid command.\n{prompt}Connection to server lost.\n"
        f"{prompt}Success!\n{prompt}{ending}"
    )
    assert status == 0
