"""`ctlctl guest send` against a scripted monitor (guest agent A10, A12 row 11)."""

import io
import sys
import tempfile
from pathlib import Path

import pytest

import ctlctl
from ctlctl.guest import complete
from tests.one_answer import OneAnswer

LOST = '{"Status":103,"StatusMessage":"Connection error"}\n'


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="ga-") as folder:
        yield Path(folder)


def test_the_bytes_of_the_request_are_unchanged_and_the_answer_is_printed(folder, capsys):
    request = ' {"Command":"VmEvent", "Event":"startup"}\t'
    with OneAnswer(folder / "s", "[é not json".encode()) as monitor:
        assert ctlctl.main(["guest", "send", "--socket", str(folder / "s"), request]) == 0
    assert monitor.received == request.encode()
    assert capsys.readouterr().out == "[é not json\n"


@pytest.mark.parametrize(("words", "name"), [([], "guestagent"), (["--listener=coreplugin"], "coreplugin")])
def test_known_listeners_in_a_directory(folder, capsys, words, name):
    with OneAnswer(folder / name, b"{}"):
        assert ctlctl.main(["guest", "send", *words, "--dir", str(folder), "{}"]) == 0
    assert capsys.readouterr().out == "{}\n"


def test_the_request_from_the_standard_input(folder, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"Command":"x"}\n')))
    with OneAnswer(folder / "s", b"ok") as monitor:
        assert ctlctl.main(["guest", "send", "--socket", str(folder / "s"), "--timeout", "5", "-"]) == 0
    assert monitor.received == b'{"Command":"x"}\n'


def test_nobody_is_an_answer_as_for_the_original(folder, capsys):
    assert ctlctl.main(["guest", "send", "--socket", str(folder / "none"), "{}"]) == 0
    assert capsys.readouterr().out == LOST


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["[]"], "invalid request: [[]]"),
        (["junk\x1b"], "invalid request: [junk\\u001b]"),
        (['{"Command":123}'], "invalid request: "),
        (["{" + " " * 2**20], "more than 1048576 bytes"),
        ([], "takes one JSON object"),
        (["{}", "{}"], "takes one JSON object"),
        (["{}", "--", "--timeout"], "takes one JSON object"),
        (["--nothing", "{}"], "no option --nothing"),
        (["-x", "{}"], "no option -x"),
        (["--socket=/s", "--listener=coreplugin", "{}"], "--socket says where already"),
        (["--dir", "/d", "--socket=/s", "{}"], "--socket says where already"),
        (["--socket"], "--socket needs a value"),
        (["--listener", "x", "{}"], "there is no listener 'x'"),
        (["--timeout", "0", "{}"], "--timeout takes a number"),
        (["--timeout", "x", "{}"], "--timeout takes a number"),
    ],
)
def test_what_is_not_sent(capfd, words, message):
    assert ctlctl.main(["guest", "send", *words]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err


def test_options_may_follow_the_request(folder, capsys):
    with OneAnswer(folder / "s", b"ok") as monitor:
        assert ctlctl.main(["guest", "send", "{}", f"--socket={folder}/s", "--timeout", "5"]) == 0
    assert monitor.received == b"{}"


def test_two_dashes_end_the_options(folder, capsys):
    with OneAnswer(folder / "s", b"ok"):
        assert ctlctl.main(["guest", "send", f"--socket={folder}/s", "--", "{}"]) == 0


def test_on_a_terminal_nothing_in_an_answer_moves_the_cursor(folder, capsys, monkeypatch):
    monkeypatch.setattr("ctlctl.guest.is_terminal", lambda number: True)
    with OneAnswer(folder / "s", b"\x1b[2J"):
        assert ctlctl.main(["guest", "send", "--socket", str(folder / "s"), "{}"]) == 0
    assert capsys.readouterr().out == "\\u001b[2J\n"


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["--timeout", "5", "--help"]])
def test_help(capfd, words):
    assert ctlctl.main(["guest", "send", *words]) == 0
    assert capfd.readouterr().out.startswith("usage: ")


@pytest.mark.parametrize(
    ("words", "candidates"),
    [
        ([], {"--socket", "--listener", "--dir", "--timeout"}),
        (["--listener"], {"guestagent", "coreplugin"}),
        (["--dir"], set()),
        (["--dir", "/x"], {"--listener", "--timeout", "--socket"}),
    ],
)
def test_completion(words, candidates):
    assert {word for word, _ in complete(words)} == candidates
