"""`ctlctl control` prints and exits as the FSS `control` program does (specification F5)."""

import json
import socket
import tempfile
import threading
from pathlib import Path

import pytest

import ctlctl
from ctlctl.control import complete
from ctld.dialects.fss_control.actions import ACTIONS, INIT_ACTIONS
from ctld.dialects.fss_control.packet import encode_packet
from ctld.dialects.fss_control.responses import Response, encode_response

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/fss_control.json").read_text())["cases"]
RECORDED = [case for case in VECTORS if "expect_R" in case]
REQUESTS = [case for case in VECTORS if "args" in case]


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="fss-") as folder:
        yield Path(folder)


@pytest.fixture
def control(folder, capfd):
    def control(*words, answer=b"", name="default.socket"):
        received = []
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(folder / name))
            sock.listen()

            def serve():
                client, _ = sock.accept()
                with client:
                    received.append(client.recv(65536))
                    client.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            status = ctlctl.main(["control", *words])
            thread.join()
        out, err = capfd.readouterr()
        return status, out, err, received[0]

    return control


def wire(*parts):
    return encode_packet(encode_response(Response(*parts)))


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: case["name"])
def test_recorded_answers(case, control, folder):
    answer = bytes.fromhex(case["hex"])
    status, out, err, _ = control("-R", "-k", str(folder), "start", "a", "b", answer=answer)
    assert (status, out, err) == (case["expect_rc"], f"{case['expect_R']}\n", "")


@pytest.mark.parametrize("case", RECORDED[:3], ids=lambda case: case["name"])
def test_recorded_sentences(case, control, folder):
    answer = bytes.fromhex(case["hex"])
    status, out, err, _ = control("-k", f"{folder}/default.socket", "start", "a", "b", answer=answer)
    where, _, text = case["expect_plain"].partition(": ")
    assert {"stdout": out, "stderr": err}[where] == f"{text}\n"
    assert status == case["expect_rc"]


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case["name"])
def test_recorded_requests(case, control, folder):
    answer = wire("controller", "F_success", "start")
    assert control("-k", str(folder), *case["args"], answer=answer)[3] == bytes.fromhex(case["hex"])


@pytest.mark.parametrize(
    ("answer", "line", "status"),
    [
        (("controller", "F_failure", "my_action"), "response controller my_action F_failure", 1),
        (("error", "F_memory_not", "my_action"), "response error my_action F_memory_not", 1),
        (("controller", "F_success", "my_action"), "response controller my_action F_success", 0),
        (("init", "F_done", "reboot"), "response init reboot F_done", 0),
        (("error", "F_packet_not"), "response error  F_packet_not", 1),
        (("error", "F_done"), "response error  F_done", 1),
        (("controller", "F_success", "a\x1b[2J"), "response controller a\\u001b[2J F_success", 0),
    ],
)
def test_the_line_for_scripts(control, folder, answer, line, status):
    found = control("--return", f"--socket={folder}", "start", "a", "b", answer=wire(*answer))
    assert found[:3] == (status, f"{line}\n", "")


@pytest.mark.parametrize(
    ("answer", "out", "err"),
    [
        (("controller", "F_success", "stop"), "The action 'stop' is performed successfully.\n", ""),
        (("controller", "F_failure", "stop", b"Why:\x1b."), "failed with status 'F_failure': Why:\\u001b.\n", ""),
        (("controller", "F_failure", "stop"), "The action 'stop' failed with status 'F_failure'.\n", ""),
        (
            ("error", "F_memory_not", "start", b"The program is out of memory."),
            "",
            "Received error response for action 'start' with status 'F_memory_not': The program is out of memory.\n",
        ),
        (("error", "F_my_own"), "", "Received error response with status 'F_my_own'.\n"),
    ],
)
def test_plain_sentences(control, folder, answer, out, err):
    found = control("-k", str(folder), "start", "a", "b", answer=wire(*answer))
    assert found[1].endswith(out)
    assert found[2].endswith(err)
    assert bool(found[1]) == bool(out)


def test_where_the_socket_is(control, folder):
    settings = folder / "settings"
    settings.write_text(f"path_socket {folder}\nname_socket mine\n")
    answer = wire("controller", "F_done", "start")
    assert control("-s", str(settings), "start", "a", "b", answer=answer, name="mine.socket")[0] == 0
    assert control("-s", str(settings), "-nelse", "start", "a", "b", answer=answer, name="else.socket")[0] == 0


@pytest.mark.parametrize(
    "words",
    [
        ["-R", "-k", "/no/such/socket", "start", "a", "b"],
        ["-R", "-s", "/no/such/settings", "start", "a", "b"],
        ["-R", "-k", "/x", "burn"],
        ["-R", "-k", "/x", "start", "a"],
        ["-R", "-k", "/x"],
        [
            "-R",
            "--",
        ],
        ["-R", "-k"],
        ["-x", "start", "a", "b"],
    ],
)
def test_where_the_client_fails_there_is_no_line_and_a_reason(capfd, words):
    assert ctlctl.main(["control", *words]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1


def test_an_answer_that_is_none(control, folder):
    status, out, err, _ = control("-R", "-k", str(folder), "start", "a", "b", answer=b"junk!")
    assert (status, out) == (1, "")
    assert "not understood" in err


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["-R", "--help"]])
def test_help(capfd, words):
    assert ctlctl.main(["control", *words]) == 0
    assert capfd.readouterr().out.startswith("usage: ")


def test_the_help_has_a_line_for_each_action(capfd):
    assert ctlctl.main(["control", "--help"]) == 0
    text = capfd.readouterr().out
    lines = [line.split(None, 1) for line in text.splitlines() if line.startswith("  ")]
    assert sorted(action for action, _ in lines) == list(ACTIONS)
    assert all(about for _, about in lines)
    rules, machine = (text.index(f"\nACTION {words}") for words in ("DIRECTORY NAME", "(now"))
    for action in ACTIONS:
        at = text.index(f"\n  {action} ")
        assert (at > machine) == (action in INIT_ACTIONS)
        assert at > rules


@pytest.mark.parametrize("words", [[], ["-R"], ["-x"], ["-k"]])
def test_who_does_not_know_the_words_is_told_where_they_stand(capfd, words):
    assert ctlctl.main(["control", *words]) == 1
    assert capfd.readouterr().err.endswith(" (see 'ctlctl control --help')\n")


@pytest.mark.parametrize(
    ("words", "candidates"),
    [
        ("", {"start", "reboot", "--socket", "--return"}),
        ("-R -k /x --name=n", {"start", "thaw", "--settings"}),
        ("-k", set()),
        ("start", set()),
        ("start a", set()),
        ("start a b", {"now", "at", "in"}),
        ("reboot", {"now", "at", "in"}),
        ("-R shutdown in", set()),
        ("shutdown in 5", {"minutes", "weeks"}),
        ("start a b in 5 minutes", set()),
        ("start a b in 5 minutes 3", {"seconds"}),
        ("start a b at 12:30", set()),
    ],
)
def test_completion(words, candidates):
    found = {word for word, _ in complete(words.split())}
    assert found >= candidates
    assert bool(found) == bool(candidates)


def test_completion_needs_no_daemon(capfd):
    assert ctlctl.main(["-s", "/nowhere", "__complete", "fish", "control", "reb"]) == 0
    assert capfd.readouterr().out == "reboot\tstart the machine anew\n"


def test_who_has_said_nothing_is_told_how_to_say_where(capfd, monkeypatch, folder):
    monkeypatch.setattr("ctlctl.control.socket_path", lambda *options: f"{folder}/default.socket")
    assert ctlctl.main(["control", "start", "a", "b"]) == 1
    assert capfd.readouterr().err == (
        f"ctlctl: cannot connect to {folder}/default.socket: No such file or directory "
        "(-k says where the controller listens)\n"
    )
    assert ctlctl.main(["control", "-k", str(folder), "start", "a", "b"]) == 1
    assert "-k says" not in capfd.readouterr().err
