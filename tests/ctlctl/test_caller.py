"""ctlctl.caller: a command asked, and what is printed of its answer."""

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ctlctl.arguments import Arguments
from ctlctl.caller import Caller, Printer, command_line
from tests.client.scripted import Serve
from tests.ctlctl.running import COMMAND, ROOT, Run, Terminal, answering, entry, item, response

ROWS = [{"name": "b", "n": 1, "age": 61}, {"name": "a", "n": 2, "age": 5}]
DONE = response(None)


def test_a_connection_is_made_once_and_only_when_needed(serve: Serve) -> None:
    daemon = serve(answering({"a": 1, "describe": []}))
    caller = Caller(Arguments(), "ctlctl", daemon.address)
    assert (caller.banner, caller.protocol) == ({}, 0)
    caller.close()
    assert caller.ask("a") == 1
    assert caller.commands() is caller.commands()
    caller.forget_commands()
    assert caller.commands() == []
    assert caller.protocol == 2
    assert caller.banner["version"] == "1.0"
    caller.close()
    assert daemon.connections == 1


def test_columns_and_order(run: Run) -> None:
    address = run.serve(answering({"describe": [entry("job_list")], "job_list": ROWS})).address
    assert run("-s", address, "--columns", "name,age", "--sort=-age", "job_list")[1] == (
        "NAME      AGE\nb     1 min 1 s\na           5 s\n".replace("AGE", "  AGE")
    )
    assert run("-s", address, "job", "list", "--sort", "name", "--columns=name", "--json")[1] == (
        '[{"name":"a"},{"name":"b"}]\n'
    )
    assert run("-s", address, "job", "list", "--sort", "name", "--json-seq")[1].startswith('{"name":"a"')
    status, _, err = run("-s", address, "job_list", "--columns", "nope")
    assert (status, err) == (2, "ctlctl: there is no column 'nope': there are name, n, age\n")


@pytest.mark.parametrize("command", ["job_schedule", "job_list", "x"])
def test_a_list_without_rows_says_so(run: Run, command: str) -> None:
    none = response([])
    assert run.against([none], command) == (0, "", "(none)\n")
    assert run.against([none], "--columns", "name", "--sort", "name", command) == (0, "", "(none)\n")
    assert run.against([none], "--quiet", command) == (0, "", "")
    assert run.against([none], "--json", command) == (0, "[]\n", "")
    assert run.against([none], "--json-seq", command) == (0, "", "")


def test_a_list_without_rows_says_so_on_a_terminal(serve: Serve) -> None:
    daemon = serve(answering({"job_schedule": []}))
    terminal = Terminal("-s", daemon.address, "job_schedule")
    try:
        assert terminal.finish() == (0, b"(none)\r\n")
    finally:
        terminal.close()


def test_our_options_may_stand_after_the_command_unless_it_has_them(run: Run) -> None:
    got: list[Any] = []
    commands = [entry("a_b"), entry("c_d", {"json": {"type": "string"}, "watch": {"type": "boolean"}})]
    address = run.serve(answering({"describe": commands, "a_b": 1, "c_d": 2}, got)).address
    assert run("-s", address, "a", "b", "--timeout", "5", "--json")[0] == 0
    assert got[-1]["deadline"] == 5.0
    assert run("-s", address, "c", "d", "--json", "x", "--watch")[0] == 0
    assert got[-1]["opts"] == {"json": "x", "watch": True, "cli": "ctlctl c d --json x --watch"}
    assert run("-s", address, "a", "b", "--jsn")[2] == "ctlctl: a_b has no option --jsn\n"


def test_b23_detach_prints_the_operation(run: Run) -> None:
    answer = response({"operation": "op-1"})
    assert run.against([answer], "--detach", "backup") == (0, "op-1\n", "ctlctl: it runs on: ctlctl op watch op-1\n")
    assert run.requests[-1] == {"cmd": "backup", "opts": {"cli": "ctlctl backup"}, "detach": True}
    assert run.against([answer], "--detach", "-q", "backup") == (0, "op-1\n", "")
    assert run.against([answer], "--detach", "--json", "backup") == (0, '{"operation":"op-1"}\n', "")


def test_b23_op_watch_looks_as_if_the_operation_were_ours(run: Run) -> None:
    messages = [
        item({"seq": 1, "progress": "copied", "current": 1, "total": 2, "unit": "chunks"}),
        item({"seq": 2, "progress": "nearly"}),
        item({"result": {"copied": 2}}),
        DONE,
    ]
    assert run.against(messages, "op_watch", "--opts", '{"id": "x"}') == (
        0,
        "copied  2\n",
        "copied [1/2 chunks]\nnearly\n",
    )
    assert run.against(messages[-2:], "--json-seq", "op_watch")[1] == '{"result":{"copied":2}}\n'


def test_quiet(run: Run) -> None:
    assert run.against([{"status": True, "progress": "x"}, response(1)], "-q", "a") == (0, "1\n", "")


@pytest.mark.parametrize(
    ("messages", "argv", "out"),
    [
        ([item({"a": 1}), item({"a": 2}), DONE], [], "A\n1\n2\n"),
        ([item({"a": 1, "b": 2}), DONE], ["--columns", "b"], "B\n2\n"),
        ([item({"a": 1, "b": 2}), DONE], ["--columns", "b", "--json-seq"], '{"b":2}\n'),
        ([item([1]), item(None), DONE], [], "[\n  1\n]\n"),
        ([response([{"a": {"b": 1}}])], ["--columns", "a.b"], "A.B\n  1\n"),
        ([response({"a": 1, "b": 2})], ["--columns", "b"], "b  2\n"),
    ],
)
def test_what_is_printed(run: Run, messages: list[Any], argv: list[str], out: str) -> None:
    assert run.against(messages, *argv, "x") == (0, out, "")


def test_what_is_deprecated_is_said(run: Run) -> None:
    old = {"type": "string", "deprecated": True, "x-deprecated": "use --new"}
    commands = [entry("a_b", {"old": old, "older": {"deprecated": True}}, deprecated="use c")]
    address = run.serve(answering({"describe": commands, "a_b": 1})).address
    assert run("-s", address, "a", "b", "--old", "x", "--older", "1") == (
        0,
        "1\n",
        "ctlctl: a b is deprecated: use c\nctlctl: --old is deprecated: use --new\nctlctl: --older is deprecated\n",
    )


def test_secrets_come_from_files_and_variables_and_are_not_shown(run: Run, tmp_path: Path, monkeypatch: Any) -> None:
    got: list[Any] = []
    secret = {"type": "string", "format": "password", "writeOnly": True}
    commands = [entry("log_in", {"user": {"type": "string"}, "pass_word": secret}, ["user", "pass_word"])]
    address = run.serve(answering({"describe": commands, "log_in": "ok"}, got)).address
    (tmp_path / "f").write_text("s3\n")
    monkeypatch.setenv("PW", "s4")
    monkeypatch.chdir(tmp_path)
    for argv, value, cli in (
        (["--pass-word-file", "f"], "s3", "--pass-word-file f"),
        (["--pass-word-env=PW"], "s4", "--pass-word-env PW"),
        (["@f"], "s3", "@f"),
        (["s5"], "s5", "'***'"),
        (["--pass-word", "s6"], "s6", "--pass-word '***'"),
    ):
        assert run("-s", address, "log", "in", "me", *argv) == (0, "ok\n", "")
        assert got[-1]["opts"]["pass_word"] == value
        assert shlex.split(got[-1]["opts"]["cli"]) == ["ctlctl", "log", "in", "me", *shlex.split(cli)]
    assert run("-s", address, "log", "in", "me")[2] == "ctlctl: log_in needs --pass-word\n"
    assert run("-s", address, "log", "in", "me", "--pass-word-file", "nope")[0] == 2
    assert run("-s", address, "log", "in", "me", "--pass-word", "x", "--pass-word-env", "PW")[2].endswith(
        "is given twice\n"
    )


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child does nothing but exec
@pytest.mark.parametrize("argv", [[], ["--password", "-"]], ids=["missing", "-"])
def test_a_secret_is_asked_for_without_echo(serve: Serve, terminal: Any, argv: list[str]) -> None:
    got: list[Any] = []
    secret = {"type": "string", "writeOnly": True}
    commands = [entry("log_in", {"password": secret}, ["password"])]
    on_terminal = terminal(
        "-s", serve(answering({"describe": commands, "log_in": "ok"}, got)).address, "log", "in", *argv
    )
    on_terminal.until(b"password: ")
    on_terminal.type("s3cret\n")
    status, said = on_terminal.finish()
    assert status == 0
    assert b"s3cret" not in said
    assert got[-1]["opts"]["password"] == "s3cret"


def test_long_values_from_the_standard_input(serve: Serve) -> None:
    got: list[Any] = []
    commands = [entry("a_b", {"text": {"type": "string"}, "n": {"type": "integer"}}, ["text"])]
    address = serve(answering({"describe": commands, "a_b": "ok", "x": 1}, got)).address
    text = "line\n" * 50_000
    subprocess.run([*COMMAND, "-s", address, "a", "b", "-"], input=text.encode(), cwd=ROOT, check=True)
    assert got[-1]["opts"] == {"text": text[:-1], "cli": "ctlctl a b -"}
    subprocess.run([*COMMAND, "-s", address, "x", "--opts", "-"], input=b'{"a": 1}', cwd=ROOT, check=True)
    assert got[-1]["opts"]["a"] == 1


def test_a_large_value_is_not_repeated_in_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x" * 10_000)
    commands = [entry("a_b", {"n": {"type": "integer"}})]
    address = run.serve(answering({"describe": commands})).address
    status, _, err = run("-s", address, "a", "b", "--n", f"@{tmp_path}/f")
    assert status == 2
    assert len(err) < 200


def test_a_downstream_has_its_name_everywhere(run: Run) -> None:
    address = run.serve(answering({"describe": [entry("job_list")], "job_list": []})).address
    for argv in (["help"], ["help", "job", "list"], ["completion", "bash"], ["--help"], ["help", "shell"]):
        status, out, _ = run(*argv, prog="vmctl", address=address)
        assert status == 0
        assert "vmctl" in out
        assert "ctlctl" not in out.replace("vmctl", "")


def test_the_command_line_that_others_see() -> None:
    assert command_line("/usr/bin/vmctl", ["a", "b c"]) == "vmctl a 'b c'"


def test_a_printer_that_never_printed_leaves_nothing(capfd: Any) -> None:
    Printer("x", Arguments(), "c").close()
    assert capfd.readouterr() == ("", "")
