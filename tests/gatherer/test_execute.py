"""What `exec` does, seen from outside: a real shell below a real worker."""

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gatherer.driver import Driver, until
from tests.procfs import alive

Ask = Callable[..., bytes]
Drive = Callable[..., Driver]


def outcome(returns: bytes) -> tuple[int, bytes, bytes]:
    """Read returns by their lengths, as a driver must."""
    status, size, rest = returns.split(b"\n", 2)
    output, rest = rest[: int(size)], rest[int(size) :]
    _, size, rest = rest.split(b"\n", 2)
    assert rest[int(size) :] == b"\n"
    return int(status), output, rest[: int(size)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"exit 255", (255, b"", b"")),
        (b"echo out; echo err >&2", (0, b"out\n", b"err\n")),
        (b"kill -TERM $$", (-15, b"", b"")),
        (b"cat; echo no input is left", (0, b"no input is left\n", b"")),
        (b"pwd", (0, b"/\n", b"")),
        (b"  echo '  x '  ", (0, b"  x \n", b"")),
        (b"printf '\\377\\376'; echo '\xff'", (0, b"\xff\xfe\xff\n", b"")),
        (b"exec >&- 2>&-; exit 3", (3, b"", b"")),
        (b"printf '#%d#\\n' 0 1 2", (0, b"#0#\n#1#\n#2#\n", b"")),
    ],
    ids=repr,
)
def test_status_and_outputs(ask: Ask, line: bytes, expected: tuple[int, bytes, bytes]) -> None:
    assert outcome(ask(b"exec", line)) == expected


def test_both_outputs_are_read_at_once(ask: Ask) -> None:
    line = b"head -c 1000000 /dev/zero >&2; head -c 1000000 /dev/zero; head -c 300000 /dev/zero >&2"
    assert outcome(ask(b"exec", line)) == (0, bytes(1000000), bytes(1300000))


def test_it_lasts_until_the_outputs_are_closed(ask: Ask) -> None:
    assert outcome(ask(b"exec", b"(sleep 0.2; echo late) & echo early")) == (0, b"early\nlate\n", b"")


def test_it_lasts_until_the_shell_has_ended(ask: Ask) -> None:
    assert outcome(ask(b"exec", b"exec >&- 2>&-; sleep 0.2; exit 7")) == (7, b"", b"")


def test_a_command_that_cannot_be_started(ask: Ask) -> None:
    assert outcome(ask(b"exec", b"echo \0")) == (127, b"", b"gatherer: embedded null byte\n")
    assert outcome(ask(b"exec", b"#" * 2**20)) == (127, b"", b"gatherer: Argument list too long\n")


def test_signals_are_at_their_defaults_in_the_child(drive: Drive) -> None:
    def ignore() -> None:
        for number in (signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP])

    driver = drive(preexec_fn=ignore)
    driver.send(b"exec\ngrep -E 'Sig(Ign|Blk|Cgt)' /proc/self/status\nexec\nyes | head -n 1\nexit\n")
    out, err, status = driver.end()
    masks = dict(line.split(b":\t") for line in out.split(b"\n") if line.startswith(b"Sig"))
    touched = sum(1 << (n - 1) for n in (signal.SIGINT, signal.SIGUSR1, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD))
    assert [int(mask, 16) & touched for mask in masks.values()] == [0, 0, 0]
    assert int(masks[b"SigBlk"], 16) == 0
    assert (err, status) == (b"", 0)  # `yes` was killed by SIGPIPE, without a word


def test_it_has_a_session_of_its_own_and_no_foreign_descriptors(ask: Ask) -> None:
    code, out, _ = outcome(ask(b"exec", b"ps -o pid=,pgid=,sid= -p $$; ls /proc/$$/fd | wc -l"))
    ids, descriptors = out.split(b"\n")[:2]
    assert len(set(ids.split())) == 1
    assert int(descriptors) == 3
    assert code == 0


def test_too_much_output_is_cut_and_its_group_killed(ask: Ask) -> None:
    options = ("--max-output", "1000")
    assert outcome(ask(b"exec", b"echo short", options=options)) == (0, b"short\n", b"")
    assert outcome(ask(b"exec", b"head -c 1000 /dev/zero", options=options)) == (0, bytes(1000), b"")
    code, out, err = outcome(ask(b"exec", b"echo why >&2; cat /dev/zero | cat", options=options))
    assert (code, out, err) == (-9, bytes(1000), b"why\n")
    code, out, err = outcome(ask(b"exec", b"cat /dev/zero >&2", options=("--max-output=0",)))
    assert (code, out, err) == (-9, b"", b"")


def test_too_much_output_does_not_wait_for_who_left_the_group(ask: Ask, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    line = f"setsid sh -c 'echo $$ > {mark}.new; mv {mark}.new {mark}; exec sleep 100' & "
    line += f"while ! test -e {mark}; do sleep 0.01; done; cat /dev/zero"
    code, out, _ = outcome(ask(b"exec", line.encode(), options=("--max-output", "10")))
    os.kill(int(mark.read_text()), signal.SIGKILL)
    assert (code, out) == (-9, bytes(10))


def interrupt_while(drive: Drive, line: bytes, started: Callable[[Driver], None]) -> tuple[bytes, bytes, int]:
    driver = drive()
    driver.send(b"exec\n" + line + b"\nnoop\nexit\n")
    started(driver)
    driver.kill(signal.SIGINT)
    return driver.end()


def test_an_interrupt_kills_a_child_that_ignores_everything_else(drive: Drive, tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def started(driver: Driver) -> None:
        driver.wait_child()
        until(mark.exists)

    line = f"trap '' INT TERM HUP; touch {mark}; while :; do sleep 1; done"
    assert interrupt_while(drive, line.encode(), started) == (b"#0#\n#1#\n#2#\n", b"INTERRUPTED\n", 0)


def test_an_interrupt_kills_what_runs_in_the_background(drive: Drive, tmp_path: Path) -> None:
    mark = tmp_path / "pid"

    def started(driver: Driver) -> None:
        until(mark.exists)

    line = f"sleep 100 & echo $! > {mark}.new; mv {mark}.new {mark}; exit"
    result = interrupt_while(drive, line.encode(), started)
    assert result == (b"#0#\n#1#\n#2#\n", b"INTERRUPTED\n", 0)
    until(lambda: not alive(int(mark.read_text())))


def test_an_interrupt_of_a_shell_that_has_closed_its_outputs(drive: Drive, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    line = f"exec >&- 2>&-; touch {mark}; while :; do sleep 1; done"
    result = interrupt_while(drive, line.encode(), lambda _: until(mark.exists))
    assert result == (b"#0#\n#1#\n#2#\n", b"INTERRUPTED\n", 0)


def test_partial_output_of_an_interrupted_command_is_dropped(drive: Drive) -> None:
    driver = drive()
    driver.send(b"exec\necho partial; sleep 100\n")
    driver.wait_child()
    driver.settle()
    driver.kill(signal.SIGINT)
    driver.wait_out(b"#1#\n")
    assert driver.end() == (b"#0#\n#1#\n", b"INTERRUPTED\n", 0)


def test_no_process_is_left_after_many_commands(drive: Drive) -> None:
    driver = drive()
    for number in range(30):
        driver.send(b"exec\ntrue & false\n")
        driver.wait_out(b"#%d#\n" % (number + 1))
    assert driver.children == []
    assert len(os.listdir(f"/proc/{driver.pid}/fd")) == 5  # three streams, both ends of the wake-up pipe
    driver.end()


def test_without_descriptors_nothing_is_started(drive: Drive) -> None:
    driver = drive()
    limits = resource.prlimit(driver.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(driver.pid, resource.RLIMIT_NOFILE, (6, limits[1]))
    driver.send(b"exec\necho x\n")
    driver.wait_out(b"#1#\n")
    resource.prlimit(driver.pid, resource.RLIMIT_NOFILE, limits)
    driver.send(b"exec\necho x\nexit\n")
    out, err, _ = driver.end()
    text = b"gatherer: Too many open files\n"
    assert out == b"#0#\n127\n0\n\n%d\n%b\n#1#\n0\n2\nx\n\n0\n\n#2#\n" % (len(text), text)
    assert err == b""
