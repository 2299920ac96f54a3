"""The worker as a process: every vector, every phase, every way to end."""

import fcntl
import json
import os
import pty
import random
import signal
import socket
import subprocess
import sys
import termios
import threading
from array import array
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ctld.errors import ConfigError
from ctld.gatherer.worker import main, parse_arguments
from tests.gatherer.driver import QUICK, REPOSITORY, Driver, until
from tests.procfs import alive

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/gatherer.json").read_text())["cases"]
BOTH = pytest.mark.parametrize("revision", ["v1", "v2"])

Drive = Callable[..., Driver]


@BOTH
@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_vectors(drive: Drive, case: dict, revision: str) -> None:
    driver = drive(f"--sigint={revision}")
    for step in case["steps"]:
        if step.startswith("sleep "):
            driver.settle()
        elif step.startswith("SIG"):
            driver.kill(getattr(signal, step))
        else:
            driver.send(step.encode())
    want = case["spec" if revision == "v1" else "v2"]
    assert driver.end() == (want["stdout"].encode(), want["stderr"].encode(), want["rc"])


GOLDEN = {
    b"glob\n/bin/ech[o]\n": b"1\n/bin/echo\n",
    b"glob\n/?kyzh?\n": b"0\n",
    b"exec\necho lol\n": b"0\n4\nlol\n\n0\n\n",
    b"exec\nprintf abc\n": b"0\n3\nabc\n0\n\n",
    b"exec\nprintf '\\303\\251\\000\\377'; echo e >&2; exit 7\n": b"7\n4\n\xc3\xa9\x00\xff\n2\ne\n\n",
    b"exec\nkill -9 $$\n": b"-9\n0\n\n0\n\n",
    b"exec\nprintf '#1#\\n'\n": b"0\n4\n#1#\n\n0\n\n",
    b"exec\n\n": b"0\n0\n\n0\n\n",
    b"noop\n": b"",
}


@pytest.mark.parametrize(("request_", "returns"), GOLDEN.items(), ids=[key.decode() for key in GOLDEN])
def test_golden_bytes(drive: Drive, request_: bytes, returns: bytes) -> None:
    driver = drive()
    driver.send(request_ + b"exit\n")
    assert driver.end() == (b"#0#\n" + returns + b"#1#\n", b"", 0)


# Input.


def test_a_request_split_at_every_byte(drive: Drive) -> None:
    wire = b"noop\nexec\nprintf '\xff\\n'\nglob\n/bin/ech[o]\ncp\nx\n/\nexit\n"
    want = (b"#0#\n#1#\n0\n2\n\xff\n\n0\n\n#2#\n1\n/bin/echo\n#3#\n1\nFAIL EINVAL\n1\nx\n#4#\n", b"", 0)
    driver = drive()
    for byte in range(len(wire)):
        driver.send(wire[byte : byte + 1])
        until(lambda: not driver.unread or driver.state == "Z")
    assert driver.end() == want


def test_many_requests_in_one_write_and_the_counter(drive: Drive) -> None:
    driver = drive()
    driver.send(b"noop\n" * 12 + b"exit\nnoop\n")
    assert driver.end() == (b"".join(b"#%d#\n" % number for number in range(13)), b"", 0)


def test_parameters_keep_their_spaces(ask: Callable[..., bytes], tmp_path: Path) -> None:
    (tmp_path / "end ").write_text("")
    path = os.fsencode(tmp_path / "end ")
    assert ask(b"glob", path) == b"1\n" + path + b"\n"
    assert ask(b" \tglob\r ", path.rstrip()) == b"0\n"
    assert ask(b"glob", path + b"\r") == b"0\n"


def test_a_parameter_of_a_mebibyte(ask: Callable[..., bytes]) -> None:
    size = 1024 * 1024
    assert ask(b"glob", b"[" + b"x" * size + b"/]" + b"bin") == b"0\n"
    path = b"x" * size
    assert ask(b"cp", path, b"/") == b"1\nFAIL EINVAL\n%d\n%b\n" % (size, path)
    assert ask(b"cp", b"/" + path, b"/") == b"1\nFAIL ENAMETOOLONG\n%d\n/%b\n" % (size + 1, path)


def test_names_that_are_not_text_and_names_of_two_lines(ask: Callable[..., bytes], tmp_path: Path) -> None:
    for name in (b"a\xff", b"x\n#5#", b"\xfe"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text("")
    directory = os.fsencode(tmp_path)
    assert ask(b"glob", directory + b"/*") == b"2\n%b/a\xff\n%b/\xfe\n" % (directory, directory)


def test_relative_patterns_start_at_the_root(ask: Callable[..., bytes]) -> None:
    assert ask(b"glob", b"de[v]") == b"1\ndev\n"


@pytest.mark.parametrize("wire", [b"ex\0ec\n", b"\n", b"Noop\n", b"echo\nexec\ntouch %s\n", b"#0#\nnoop\n"])
def test_nothing_after_an_unknown_command_is_executed(drive: Drive, tmp_path: Path, wire: bytes) -> None:
    mark = tmp_path / "mark"
    driver = drive()
    driver.send(wire + b"exec\ntouch %b\n" % os.fsencode(mark))
    assert driver.end() == (b"#0#\n", b"UNKNOWN COMMAND\n", 255)
    assert not mark.exists()


def test_a_line_that_does_not_end(drive: Drive) -> None:
    driver = drive()
    driver.send(b"glob\n")
    with suppress(BrokenPipeError):
        while True:
            driver.send(b"x" * 65536)
    assert driver.end() == (b"#0#\n", b"UNKNOWN COMMAND\n", 255)


@BOTH
def test_end_of_input_at_every_byte(drive: Drive, tmp_path: Path, revision: str) -> None:
    wire = b"noop\nglobcp\n/none*\n/\n0\nexec\ntouch %b/mark\n" % os.fsencode(tmp_path)
    boundaries = {0: b"", 5: b"#1#\n", wire.index(b"exec"): b"#1#\n0\n#2#\n"}
    for end in range(wire.index(b"touch") + 3):
        driver = drive(f"--sigint={revision}", boot=QUICK)
        driver.send(wire[:end])
        out = b"#0#\n" + boundaries[max(start for start in boundaries if start <= end)]
        assert driver.end() == (out, b"", 0 if end in boundaries else 255)
        driver.close()
    assert os.listdir(tmp_path) == []


def test_input_that_does_not_block(drive: Drive) -> None:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    driver = drive(stdin=theirs)
    ours.sendall(b"noop\n")
    driver.wait_out(b"#1#\n")
    ours.sendall(b"exit\n")
    assert driver.end() == (b"#0#\n#1#\n", b"", 0)
    ours.close()
    theirs.close()


# Signals.


@BOTH
def test_sigint_while_idle(drive: Drive, revision: str) -> None:
    driver = drive(f"--sigint={revision}")
    driver.settle()
    driver.kill(signal.SIGINT)
    if revision == "v1":
        assert driver.end() == (b"#0#\n", b"", 0)
        return
    driver.wait_out(b"#1#\n")
    driver.send(b"noop\nexit\n")
    assert driver.end() == (b"#0#\n#1#\n#2#\n", b"#0# INTERRUPTED\n", 0)


@BOTH
@pytest.mark.parametrize("count", range(30))
def test_sigint_just_after_a_prompt(drive: Drive, revision: str, count: int) -> None:
    driver = drive(f"--sigint={revision}", boot=QUICK)
    driver.kill(signal.SIGINT)
    if revision == "v2":
        driver.wait_out(b"#1#\n")
        driver.send(b"exit\n")
    want = (b"#0#\n", b"") if revision == "v1" else (b"#0#\n#1#\n", b"#0# INTERRUPTED\n")
    assert driver.end() == (*want, 0)


@BOTH
def test_sigint_drops_half_a_parameter(drive: Drive, revision: str) -> None:
    driver = drive(f"--sigint={revision}")
    driver.send(b"cp\n/etc/passwd\n/half")
    driver.settle()
    driver.kill(signal.SIGINT)
    again, token = (b"#0#\n", b"") if revision == "v1" else (b"#1#\n", b"#0# INTERRUPTED\n")
    driver.wait_for(lambda: driver.out == b"#0#\n" + again)
    driver.send(b"exit\n")
    assert driver.end() == (b"#0#\n" + again, token, 0)


@BOTH
def test_many_sigints_in_one_phase_count_once(drive: Drive, revision: str) -> None:
    driver = drive(f"--sigint={revision}")
    driver.send(b"exec\nsleep 100\n")
    driver.wait_child()
    driver.kill(signal.SIGSTOP)
    until(lambda: driver.state == "T")
    for _ in range(5):
        driver.kill(signal.SIGINT)
    driver.kill(signal.SIGCONT)
    driver.wait_out(b"#1#\n")
    driver.send(b"exit\n")
    token = b"INTERRUPTED\n" if revision == "v1" else b"#0# INTERRUPTED\n"
    assert driver.end() == (b"#0#\n#1#\n", token, 0)


@BOTH
@pytest.mark.parametrize("size", [65_530, 300_000])  # the prompt alone does not fit, or much more than it
def test_sigint_while_returns_are_written_is_too_late(drive: Drive, revision: str, size: int) -> None:
    reading, writing = os.pipe()
    driver = Driver(f"--sigint={revision}", stdout=writing)
    os.close(writing)
    assert os.read(reading, 4) == b"#0#\n"
    driver.send(b"exec\nhead -c %d /dev/zero\n" % size)
    readable = array("i", [0])

    def full() -> bool:
        fcntl.ioctl(reading, termios.FIONREAD, readable)
        return readable[0] >= 60_000 and driver.state == "S"

    until(full)
    driver.kill(signal.SIGUSR1)
    driver.wait_err(b"ALIVE\n")
    driver.kill(signal.SIGINT)
    until(full)
    driver.send(b"noop\nexit\n")
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b"0\n%d\n%b\n0\n\n#1#\n#2#\n" % (size, bytes(size))
    assert driver.end() == (b"", b"ALIVE\n", 0)
    driver.close()


def test_output_that_does_not_block(drive: Drive) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    driver = Driver(stdout=writing)
    os.close(writing)
    driver.send(b"exec\nhead -c 300000 /dev/zero\nexit\n")
    with os.fdopen(reading, "rb") as pipe:
        assert len(pipe.read()) == 300000 + len(b"#0#\n0\n300000\n\n0\n\n#1#\n")
    assert driver.end() == (b"", b"", 0)
    driver.close()


def test_sigint_during_a_glob_of_a_huge_tree(drive: Drive, tmp_path: Path) -> None:
    for number in range(60):
        (tmp_path / f"{number:02}").mkdir()
    (tmp_path / "loop").symlink_to(".")
    driver = drive()
    driver.send(b"glob\n%b%b\n" % (os.fsencode(tmp_path), b"/*/.." * 7))  # 60 to the seventh paths
    until(lambda: not driver.unread)  # what has been read is what a signal hits
    driver.kill(signal.SIGINT)
    driver.wait_out(b"#1#\n")
    assert driver.end() == (b"#0#\n#1#\n", b"INTERRUPTED\n", 0)


@BOTH
def test_a_storm_of_probes_changes_nothing(drive: Drive, revision: str) -> None:
    driver = drive(f"--sigint={revision}")
    for number in range(1, 40):
        driver.send(b"exec\necho x; sleep 0.01\n")
        for _ in range(30):
            driver.kill(signal.SIGUSR1)
        driver.wait_out(b"#%d#\n" % number)
    driver.send(b"exit\n")
    out, err, status = driver.end()
    assert out == b"#0#\n" + b"".join(b"0\n2\nx\n\n0\n\n#%d#\n" % number for number in range(1, 40))
    assert set(err.split(b"\n")) == {b"ALIVE", b""}
    assert status == 0


def test_sigterm_and_a_reader_that_is_gone_end_it(drive: Drive) -> None:
    driver = drive(preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN))
    driver.kill(signal.SIGTERM)
    assert driver.end() == (b"#0#\n", b"", -signal.SIGTERM)
    reading, writing = os.pipe()
    driver = Driver(stdout=writing)
    os.close(writing)
    os.read(reading, 4)
    os.close(reading)
    assert driver.end() == (b"", b"", -signal.SIGPIPE)
    driver.close()


def test_a_command_does_not_outlive_who_asked_for_it(drive: Drive) -> None:
    reading, writing = os.pipe()
    driver = Driver(stdout=writing)
    os.close(writing)
    driver.send(b"exec\nsleep 100 & sleep 100\n")
    command = driver.wait_child()
    driver.settle()
    os.close(reading)  # as when a daemon is killed; its end of the input may live on in others
    until(lambda: not alive(command))
    assert driver.process.wait(20) == -signal.SIGPIPE
    driver.close()


@BOTH
def test_on_a_terminal_the_half_typed_line_is_forgotten(drive: Drive, revision: str) -> None:
    master, slave = pty.openpty()
    driver = drive(f"--sigint={revision}", stdin=slave)
    os.write(master, b"glob\n/half")
    echo, waiting = b"", array("i", [1])
    while not echo.endswith(b"/half"):
        echo += os.read(master, 100)

    def read() -> bool:
        fcntl.ioctl(slave, termios.FIONREAD, waiting)
        return not waiting[0] and driver.state == "S"

    until(read)
    driver.kill(signal.SIGINT)
    again = b"#0#\n" if revision == "v1" else b"#1#\n"
    driver.wait_for(lambda: driver.out == b"#0#\n" + again)
    os.write(master, b"exit\n")
    token = b"" if revision == "v1" else b"#0# INTERRUPTED\n"
    assert driver.end() == (b"#0#\n" + again, token, 0)
    os.close(master)
    os.close(slave)


# Weight.


def modules_after(statement: str) -> set[str]:
    boot = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); {statement}; print(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-I", "-S", "-c", boot], text=True).split())


def test_it_is_light() -> None:
    """What is imported is what its start costs; unlike a time, it is the same on every machine."""
    loaded = modules_after("import ctld.gatherer.worker")
    assert not loaded & {"asyncio", "uvloop", "msgspec", "orjson", "rich"}
    assert not loaded & {
        "typing",
        "re",
        "argparse",
        "dataclasses",
        "inspect",
        "logging",
        "socket",
        "subprocess",
        "threading",
    }
    # On top of what the package itself loads for everybody:
    own = loaded - modules_after("import ctld, os, signal")
    assert {name for name in own if not name.startswith("ctld.")} <= {"errno", "select"}
    allowed = {"ctld.errors", "ctld.wire", "ctld.wire.buffer", "ctld.gatherer"}
    assert {name for name in own if name.startswith("ctld.") and not name.startswith("ctld.gatherer.")} <= allowed


def resident(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1])


def test_it_is_small(drive: Drive) -> None:
    bare = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "import sys; sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    bare.stdout.read(1)
    driver = drive(boot=QUICK)
    driver.send(b"glob\n/*\nexec\necho x\ncp\nx\n/\n")
    driver.wait_out(b"#3#\n")
    assert resident(driver.pid) < 1.5 * resident(bare.pid)
    bare.communicate()


# Start options.


def test_arguments() -> None:
    settings = parse_arguments(["--sigint=v2", "--forbid", "/a*", "--forbid=/b=c", "--owner", "1:2", "--max-output=5"])
    assert [pattern.text for pattern in settings.rules.forbidden] == [b"/a*", b"/b=c"]
    assert (settings.numbered, settings.rules.owner, settings.max_output) == (True, (1, 2), 5)
    settings = parse_arguments(["--sigint", "v1", "--forbid", "\udcff"])
    assert [pattern.text for pattern in settings.rules.forbidden] == [b"\xff"]
    assert (settings.numbered, settings.rules.owner, settings.max_output) == (False, None, None)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--sigint=v3"],
        ["--sigint"],
        ["--verbose"],
        ["file"],
        ["--owner=root:root"],
        ["--owner=1"],
        ["--owner=1:2:3"],
        ["--owner=4294967295:0"],
        ["--owner=" + "9" * 5000 + ":0"],
        ["--max-output=-1"],
        ["--max-output=\u0663"],
        [""],
    ],
    ids=lambda arguments: arguments[0][:20],
)
def test_wrong_arguments(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError):
        parse_arguments(arguments)
    assert main(arguments) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("ctld gatherer: ")
    assert "usage:" in err


# Everything at once.


def random_request(chance: random.Random) -> tuple[bytes, str]:
    kind = chance.choice(["noop", "glob", "exec", "cp", "globcp", "ping"])
    lines = {
        "noop": b"",
        "ping": b"",
        "glob": chance.choice([b"/etc/*", b"/none", b"/usr/lib/*/*", b""]) + b"\n",
        "exec": chance.choice([b"echo x", b"sleep 0.01", b"head -c 100000 /dev/zero", b"exit 3", b"printf '#7#\\n'"])
        + b"\n",
        "cp": b"/etc/hostname\n" + chance.choice([b"/none", b"ROOT"]) + b"\n",
        "globcp": b"/etc/*.conf\nROOT\n%d\n" % chance.choice([0, 100, 10**6]),
    }
    return kind.encode() + b"\n" + lines[kind], kind


class Reading:
    """Reads returns by their lengths alone, as a driver must; fails when they break."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.at = 0

    def line(self) -> bytes | None:
        """Return the next line, or None at the end."""
        driver = self.driver
        driver.wait_for(lambda: driver.out.find(b"\n", self.at) >= 0 or driver.ended == 2)
        end = driver.out.find(b"\n", self.at)
        if end < 0:
            return None
        line, self.at = bytes(driver.out[self.at : end]), end + 1
        return line

    def blob(self, size: int) -> None:
        self.driver.wait_for(lambda: len(self.driver.out) > self.at + size)
        assert self.driver.out[self.at + size : self.at + size + 1] == b"\n"
        self.at += size + 1

    def returns(self, kind: str, first: bytes) -> None:
        if kind == "glob":
            for _ in range(int(first)):
                assert self.line().startswith(b"/")
        elif kind == "exec":
            assert -64 <= int(first) <= 255
            self.blob(int(self.line()))
            self.blob(int(self.line()))
        else:
            for _ in range(int(first)):
                assert self.line().split()[0] in {b"FILE", b"TAIL", b"DIR", b"LINK", b"SKIP", b"FAIL"}
                self.blob(int(self.line()))


def interrupt(driver: Driver, revision: str) -> None:
    """As a daemon does: one of the second revision makes sure that the request has been read."""
    if revision == "v2":
        until(lambda: not driver.unread)
    driver.kill(signal.SIGINT)


@BOTH
def test_random_requests_and_interrupts_never_break_framing(drive: Drive, tmp_path: Path, revision: str) -> None:
    chance = random.Random(f"{revision} 1")
    driver, reading, number = drive(f"--sigint={revision}", boot=QUICK), None, 0
    seen = {"returned": 0, "interrupted": 0, "ended": 0}
    for turn in range(450):
        if reading is None:
            reading, number = Reading(driver), 0
            assert reading.line() == b"#0#"
        wire, kind = random_request(chance)
        root = tmp_path / str(turn)
        root.mkdir()
        driver.send(wire.replace(b"ROOT", os.fsencode(root)))
        timer = None
        if chance.random() < 0.6:
            timer = threading.Timer(chance.random() * 0.008, interrupt, [driver, revision])
            timer.start()
        line = reading.line()
        if line is None:
            seen["ended"] += 1  # v1: SIGINT came before the request was read
        elif line.startswith(b"#"):
            assert line == b"#%d#" % (number + 1)
            seen["interrupted"] += kind not in ("noop", "ping")
        else:
            reading.returns(kind, line)
            assert reading.line() == b"#%d#" % (number + 1)
            seen["returned"] += 1
        if timer is not None:
            timer.join()
        driver.settle()  # a signal that came late is an event of its own
        if driver.state == "Z":
            assert driver.end()[2] == 0
            assert revision == "v1"
            assert b"Traceback" not in driver.err
            driver.close()
            driver, reading = drive(f"--sigint={revision}", boot=QUICK), None
            continue
        driver.send(b"glob\n/\n")
        while (line := reading.line()) != b"1":
            assert line is not None
            assert line.startswith(b"#")
            assert revision == "v2"
        assert reading.line() == b"/"
        number = int(reading.line().strip(b"#"))
    assert seen["returned"] > 100
    assert seen["interrupted"] > 5  # how many is a matter of luck and of how busy the machine is
    assert (seen["ended"] > 0) <= (revision == "v1")
    assert b"Traceback" not in driver.err
