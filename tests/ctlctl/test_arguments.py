"""ctlctl.arguments: what stands before COMMAND, and where COMMAND begins."""

import subprocess
import sys

import pytest

from ctlctl.arguments import help_text, parse_arguments, usage_text
from ctlctl.exits import UsageError


def test_nothing() -> None:
    arguments = parse_arguments([])
    assert arguments.words == []
    assert not arguments.bare
    assert (arguments.address, arguments.json, arguments.timeout) == (None, False, None)


@pytest.mark.parametrize("words", [["ping"], ["job", "start", "x"], ["x", "--json"], ["x", "-s", "y"], ["x", "--"]])
def test_global_options_end_where_the_command_begins(words: list[str]) -> None:
    arguments = parse_arguments(["--json", *words])
    assert arguments.words == words
    assert arguments.bare == (len(words) == 1)
    assert arguments.address is None


@pytest.mark.parametrize(
    "argv", [["-s", "/x"], ["-s/x"], ["--socket", "/x"], ["--socket=/x"], ["-s", "/y", "--socket=/x"]]
)
def test_the_address(argv: list[str]) -> None:
    arguments = parse_arguments([*argv, "ping"])
    assert (arguments.address, arguments.words) == ("/x", ["ping"])


def test_everything() -> None:
    argv = "--timeout 1.5 --tls-ca a --tls-cert=b --tls-key c --json --help --version -h -- ping"
    arguments = parse_arguments(argv.split())
    assert (arguments.timeout, arguments.tls_ca, arguments.tls_certificate, arguments.tls_key) == (1.5, "a", "b", "c")
    assert (arguments.json, arguments.help, arguments.version) == (True, True, True)
    assert arguments.words == ["ping"]


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--nope"], "unknown option --nope"),
        (["-x"], "unknown option -x"),
        (["--json=1"], "--json takes no value"),
        (["-s"], "-s needs a value"),
        (["--timeout"], "--timeout needs a value"),
        (["--timeout", "soon", "ping"], "--timeout takes a number of seconds above 0, not 'soon'"),
        (["--timeout=0", "ping"], "above 0"),
        (["--timeout=-1", "ping"], "above 0"),
        (["--timeout=inf", "ping"], "above 0"),
        (["--timeout=nan", "ping"], "above 0"),
        (["--", "--ping"], "--ping is no command"),
        (["-"], "- is no command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes(argv: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        parse_arguments(argv)


def test_help_names_the_program_and_every_option() -> None:
    text = help_text("vmctl")
    assert text.startswith(usage_text("vmctl"))
    assert "ctlctl" not in text
    for option in ("-s", "--socket", "--json", "--timeout", "--tls-ca", "--tls-cert", "--tls-key", "--version", "-h"):
        assert option in text
    assert max(map(len, text.splitlines())) <= 90


def test_the_module_is_light() -> None:
    code = "import sys; before = set(sys.modules); import ctlctl.arguments; print(*sorted(set(sys.modules) - before))"
    added = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    ours = {"__future__", "ctlctl", "ctlctl.arguments", "ctlctl.exits", "ctld", "ctld.errors", "ctld.version"}
    assert set(added) <= ours


def test_options_about_output_and_behaviour() -> None:
    argv = ["--json-seq", "--quiet", "--detach", "--columns", "a,,b.c", "--sort=-a,b", "--watch", "x", "y"]
    arguments = parse_arguments(argv)
    assert (arguments.json_seq, arguments.quiet, arguments.detach, arguments.json) == (True, True, True, False)
    assert (arguments.columns, arguments.sort, arguments.watch) == (["a", "b.c"], ["-a", "b"], 2.0)
    assert (arguments.words, arguments.literal) == (["x", "y"], False)
    assert parse_arguments(["-q", "--", "help"]).literal
    assert parse_arguments(["--watch=0.5", "x"]).watch == 0.5
    assert parse_arguments(["--watch=0.0001", "x"]).watch == 0.1, "more often nobody can read"


def test_options_after_the_command() -> None:
    arguments = parse_arguments(["x"])
    rest = ["further", "5"]
    assert arguments.take("--timeout", rest)
    assert (arguments.timeout, rest) == (5.0, ["further"])
    assert arguments.take("--watch", rest)
    assert arguments.take("--sort=a", rest)
    for word in ("--socket", "-s", "-q", "--tls-ca", "--help", "--nope"):
        assert not arguments.take(word, rest)
    assert rest == ["further"]
    with pytest.raises(UsageError, match="--columns needs a value"):
        arguments.take("--columns", [])


def test_a_copy_is_another_one() -> None:
    arguments = parse_arguments(["--json", "x"])
    copy = arguments.copy()
    copy.json = False
    assert (arguments.json, copy.words) == (True, ["x"])
