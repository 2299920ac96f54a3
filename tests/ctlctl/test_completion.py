"""ctlctl.completion: real shells, and the hidden command that they call."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ctlctl.completion import BUDGET, formatted, script
from tests.client.scripted import BANNER, Peer, Serve
from tests.ctlctl.running import COMMAND, ROOT, Run, answering
from tests.ctlctl.test_candidates import ANSWERS


def require(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        if os.environ.get("CTLD_INTEROP") == "required":
            pytest.fail(f"{shell} is missing")
        pytest.skip(f"{shell} is not installed")
    return found


@pytest.fixture
def environ(serve: Serve, tmp_path: Path) -> dict[str, str]:
    """An environment with a `vm-ctl` in it, which knows its daemon."""
    program = tmp_path / "vm-ctl"
    address = serve(answering(ANSWERS)).address
    code = f"import sys, ctlctl; sys.exit(ctlctl.main(prog='vm-ctl', address={address!r}))"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -c "{code}" "$@"\n')
    program.chmod(0o755)
    (tmp_path / "afile").touch()
    # How long it may take is what another test is about.
    return os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "CTLD_COMPLETE_TIMEOUT": "20",
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": f"{tmp_path}/config",
        "XDG_DATA_HOME": f"{tmp_path}/data",
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
    }


def said_by(command: list[str], environ: dict[str, str], tmp_path: Path) -> list[str]:
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.stderr == ""
    return done.stdout.splitlines()


BASH = """
source <(vm-ctl completion bash)
COMP_LINE=$1; COMP_POINT=${#1}
# Words as readline makes them: it breaks at = and : as well.
read -ra COMP_WORDS <<< "${1//[=:]/ & }"; [[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); current=${COMP_WORDS[COMP_CWORD]}
[[ $current == [=:] ]] && current=""
complete -p vm-ctl | grep -q -- '-o default' || echo "no files"
function=$(complete -p vm-ctl | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" vm-ctl "$current" x
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.interop
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("vm-ctl job sta", ["start"]),
        ("vm-ctl job st", ["start", "stop"]),
        ("vm-ctl job start ", ["web:1", "db\\ 2"]),
        ("vm-ctl job start web:", ["1"]),
        ("vm-ctl job start web:1 --mode=", ["fast", "slow"]),
        ("vm-ctl job start --mode=s", ["slow"]),
        ("vm-ctl job start 'db 2' ", ["fast", "slow"]),
        ("vm-ctl job start --cpus ", [""]),
    ],
)
def test_bash(environ: dict[str, str], tmp_path: Path, line: str, found: list[str]) -> None:
    bash = [require("bash"), "--norc", "--noprofile", "-c", BASH, "bash", line]
    assert said_by(bash, environ, tmp_path) == found


@pytest.mark.interop
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child does nothing but exec
def test_bash_as_a_person_uses_it(environ: dict[str, str], tmp_path: Path) -> None:
    import pty

    from tests.ctlctl.running import read_until

    require("bash")
    pid, fd = pty.fork()
    if pid == 0:  # pragma: no cover - this is the child
        os.chdir(tmp_path)
        os.execvpe("bash", ["bash", "--norc", "--noprofile"], environ | {"PS1": "ready> ", "INPUTRC": "/dev/null"})
    try:
        read_until(fd, b"ready> ")
        os.write(fd, b"source <(vm-ctl completion bash); echo so''urced\n")
        read_until(fd, b"sourced\r\n")
        os.write(fd, b"vm-ctl job start we\t")
        read_until(fd, b"web:1 ")
        os.write(fd, b"--mode sl\t")
        read_until(fd, b"slow ")
        os.write(fd, b"--cpus afi\t")
        read_until(fd, b"afile ")  # where the daemon knows nothing, bash looks for files
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(fd)


@pytest.mark.interop
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child does nothing but exec
def test_zsh(environ: dict[str, str], tmp_path: Path) -> None:
    import pty

    from tests.ctlctl.running import read_until

    zsh = require("zsh")
    pid, fd = pty.fork()
    if pid == 0:  # pragma: no cover - this is the child
        os.chdir(tmp_path)
        os.execvpe(zsh, ["zsh", "-f"], environ | {"TERM": "xterm"})
    try:
        # What is asked for must not be found in the echo of the question.
        setup = "PS1='re''ady> '; autoload -U compinit; compinit -u; source <(vm-ctl completion zsh); bindkey -e\n"
        os.write(fd, setup.encode())
        read_until(fd, b"ready> ")
        os.write(fd, b"vm-ctl job start we\t")
        read_until(fd, b"web:1")
        os.write(fd, b"--mode sl\t")
        read_until(fd, b"slow")
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(fd)


@pytest.mark.interop
@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("vm-ctl job sta", ["start\tStart."]),
        ("vm-ctl job start ", ["web:1\trunning", "db 2\tfailed"]),
        ("vm-ctl job start web", ["web:1\trunning"]),
        ("vm-ctl job start web:1 --mode ", ["fast", "slow"]),
        ("vm-ctl job start --cpus af", ["afile"]),
    ],
)
def test_fish(environ: dict[str, str], tmp_path: Path, line: str, found: list[str]) -> None:
    fish = require("fish")
    program = "vm-ctl completion fish | source; complete -C $argv[1]"
    said = said_by([fish, "--no-config", "-c", program, "--", line], environ, tmp_path)
    assert sorted(said) == sorted(found)


def test_the_scripts_have_the_name_of_their_program(run: Run) -> None:
    for shell in ("bash", "zsh", "fish"):
        text = script(shell, "vm-ctl")
        assert "vm-ctl __complete" in text or "__complete" in text
        assert "PROG" not in text
        assert "FUNCTION" not in text
        assert run("completion", shell) == (0, script(shell, "ctlctl"), "")
    assert run("completion", "csh")[::2] == (
        2,
        "ctlctl: completion takes one of bash, zsh, fish: see 'ctlctl help completion'\n",
    )


@pytest.mark.parametrize(
    ("shell", "text", "replaced", "lines"),
    [
        ("zsh", "", "", ["a\\:b:about", "c d"]),
        ("fish", "", "", ["a:b\tabout", "c d"]),
        ("bash", "", "", ["a:b", "c\\ d"]),
        ("bash", "a:", "", ["b"]),
        ("bash", "a:b", "b", ["b"]),
        ("bash", "'a", "'a", ["a:b"]),
    ],
)
def test_what_each_shell_gets(shell: str, text: str, replaced: str, lines: list[str]) -> None:
    assert formatted(shell, [("a:b", "about"), ("c d", "")], text, replaced)[: len(lines)] == lines


def test_errors_are_not_told_in_the_middle_of_a_line(run: Run) -> None:
    for argv in (["zsh", "job", ""], ["bash", "x", "y"], ["bash"], ["fish"], []):
        assert run("-s", "unix:@ctld-test-nobody", "__complete", *argv) == (0, "", "")


def test_an_address_on_the_line_counts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTLD_COMPLETE_TIMEOUT", "20")
    address = run.serve(answering(ANSWERS)).address
    assert run("__complete", "fish", "-s", address, "pi") == (0, "ping\tAnswer.\n", "")


@pytest.mark.parametrize("environ", ["", "nonsense", "0.05", "-1"])
def test_nobody_waits_for_a_daemon_that_does_not_answer(
    run: Run, monkeypatch: pytest.MonkeyPatch, environ: str
) -> None:
    def silent(peer: Peer) -> None:
        peer.send(BANNER)
        peer.until_closed()

    monkeypatch.setenv("CTLD_COMPLETE_TIMEOUT", environ)
    address = run.serve(silent).address
    started = time.monotonic()
    assert run("-s", address, "__complete", "fish", "job", "") == (0, "", "")
    assert time.monotonic() - started < BUDGET + 5, "it gave up, although a slow machine may need a moment for that"


@pytest.mark.slow
def test_values_come_soon_enough(serve: Serve) -> None:
    """Within 100 ms where a Python that does nothing takes 12; as a ratio of work: machines differ and are shared."""
    command = [*COMMAND, "-s", serve(answering(ANSWERS)).address, "__complete", "fish", "job", "start", ""]

    def work(argv: list[str]) -> float:
        """The processor time that a program takes; who runs beside it does not count."""
        process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, env=patient)
        with process:
            assert process.stdout is not None
            said.append(process.stdout.read())
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return used.ru_utime + used.ru_stime

    said: list[bytes] = []
    patient = os.environ | {"CTLD_COMPLETE_TIMEOUT": "20"}
    with_values, bare = zip(*((work(command), work([sys.executable, "-c", "pass"])) for _ in range(7)), strict=True)
    assert set(said) == {b"web:1\trunning\ndb 2\tfailed\n", b""}
    assert min(with_values) < 8 * min(bare)


def test_the_answer_is_what_was_asked_for(serve: Serve) -> None:
    done: Any = subprocess.run(
        [*COMMAND, "-s", serve(answering(ANSWERS)).address, "__complete", "fish", "job", "start", ""],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | {"CTLD_COMPLETE_TIMEOUT": "20"},
    )  # fmt: skip  # a command
    assert done.stdout == "web:1\trunning\ndb 2\tfailed\n"
