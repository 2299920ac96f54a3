"""`ctlctl exec`, `console` and `session attach` as processes: pipes, files, signals, and a person in tmux."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Self

import pytest

from ctld.client import Client
from tests.examples.conftest import folder, start  # noqa: F401 - fixtures
from tests.procfs import alive, state_of

ROOT = Path(__file__).parents[2]
DAEMON = """
import sys, ctld
async def main():
    server = ctld.Server(listen=[f"unix:{sys.argv[1]}"], limits=ctld.Limits(session_grace=0.3))
    async with server:
        tcp = await server.listen(ctld.Listen(address="tcp:127.0.0.1:0", role="admin"))
        open(sys.argv[1] + ".tcp", "w").write(tcp.address)
        await server.serve_forever()
ctld.run(main())
"""


@pytest.fixture
def socket(folder, start, daemon_stops):  # noqa: F811 - fixtures
    script = folder / "daemon.py"
    script.write_text(DAEMON)
    with start(script, folder / "s") as daemon:
        yield f"{folder}/s"
        if daemon_stops:
            daemon.wait(20)


@pytest.fixture
def daemon_stops():
    """Whether the test has told the daemon to stop: a list, empty if not."""
    return []


@pytest.fixture
def tcp(socket):
    return Path(f"{socket}.tcp").read_text()


@pytest.fixture
def admin(socket):
    with Client(f"unix:{socket}") as client:
        yield client


def command(address: str, *words: str) -> list[str]:
    return [sys.executable, "-m", "ctlctl", "-s", address, *words]


def ctlctl(address: str, *words: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command(address, *words), capture_output=True, cwd=ROOT, timeout=30, **options)


@contextlib.contextmanager
def running(address: str, *words: str):
    process = subprocess.Popen(
        command(address, *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def sessions(admin) -> list[dict]:
    return [one for one in admin.call("session_list") if one["state"] != "ended"]


def states(admin) -> list[str]:
    return [one["state"] for one in sessions(admin)]


def wait_for(condition, instead=lambda: "nothing to be seen") -> None:
    """Wait for something, and otherwise say what there is instead."""
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up, f"it did not happen, but:\n{instead()}"
        time.sleep(0.01)


@pytest.fixture(params=["unix", "tcp"])
def address(request, socket, tcp):
    return socket if request.param == "unix" else tcp


class TestExec:
    def test_streams_and_status(self, address):
        done = ctlctl(address, "exec", "--", "sh", "-c", "cat; echo err >&2; exit 3", input=b"in")
        assert (done.returncode, done.stdout, done.stderr) == (3, b"in", b"err\n")

    def test_variables_and_directory(self, address):
        done = ctlctl(address, "exec", "-e", "A=1", "-C", "/usr", "--", "sh", "-c", "echo $A; pwd")
        assert done.stdout == b"1\n/usr\n"

    def test_a_missing_program_is_127(self, address):
        done = ctlctl(address, "exec", "/no/such/thing")
        assert done.returncode == 127
        assert done.stderr == b"ctlctl: cannot start '/no/such/thing': no such program\n"

    def test_death_by_signal_is_128_and_the_number(self, address):
        assert ctlctl(address, "exec", "sh", "-c", "kill -TERM $$").returncode == 143

    def test_large_streams(self, address):
        data = os.urandom(3_000_000)
        done = ctlctl(address, "exec", "cat", input=data)
        assert (done.returncode, done.stdout) == (0, data)

    def test_an_input_that_is_never_read(self, address):
        assert ctlctl(address, "exec", "true", input=b"x" * 3_000_000).returncode == 0

    def test_a_reader_that_leaves_ends_it_as_a_shell_expects(self, address, admin):
        with running(address, "exec", "yes") as process:
            process.stdout.readline()
            process.stdout.close()
            assert process.wait(20) == 141
            wait_for(lambda: not sessions(admin))
            process.stdout = None  # there is nothing left to communicate

    @pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
    def test_signals_are_forwarded(self, address, name):
        short = name.removeprefix("SIG")
        with running(
            address, "exec", "sh", "-c", f"trap 'echo got; exit 9' {short}; echo ready; while :; do sleep 0.01; done"
        ) as process:
            assert process.stdout.readline() == b"ready\n"
            process.send_signal(getattr(signal, name))
            assert process.stdout.readline() == b"got\n"
            assert process.wait(20) == 9

    def test_the_death_of_ctlctl_hangs_the_program_up(self, address, admin, tmp_path):
        told = tmp_path / "told"
        program = f"trap 'echo HUP > {told}; exit' HUP; echo ready; while :; do sleep 0.01; done"
        with running(address, "exec", "sh", "-c", program) as process:
            assert process.stdout.readline() == b"ready\n"
            process.kill()
            wait_for(lambda: not sessions(admin))
        assert told.read_text() == "HUP\n"

    def test_the_death_of_the_daemon_is_told(self, folder, start):  # noqa: F811 - fixtures
        script = folder / "daemon.py"
        script.write_text(DAEMON)
        path, told = f"{folder}/s", False
        with (  # noqa: PT012 - the fixture says that a daemon that was killed has not ended well
            pytest.raises(AssertionError),
            start(script, path) as daemon,
            running(path, "exec", "sh", "-c", "echo $$; exec sleep 60") as process,
        ):
            pid = int(process.stdout.readline())
            daemon.kill()
            assert process.wait(20) == 7
            assert b"closed the connection before the program ended" in process.stderr.read()
            wait_for(lambda: not alive(pid))  # nothing stays behind, whoever dies first
            told = True
        assert told

    def test_a_program_is_stopped_and_continued_with_ctlctl(self, socket, admin):
        with running(socket, "exec", "sh", "-c", "echo ready; read x; echo $x") as process:
            assert process.stdout.readline() == b"ready\n"
            pid = sessions(admin)[0]["pid"]
            process.send_signal(signal.SIGTSTP)
            wait_for(lambda: state_of(pid) == state_of(process.pid) == "T")
            process.send_signal(signal.SIGCONT)
            out, _ = process.communicate(b"on\n", timeout=20)
            assert out == b"on\n"

    def test_closed_descriptors(self, socket):
        done = subprocess.run(
            ["sh", "-c", f"{' '.join(command(socket, 'exec', 'cat'))} <&- 2>&-"],
            capture_output=True,
            cwd=ROOT,
            timeout=30,
        )
        assert (done.returncode, done.stdout) == (0, b"")

    def test_the_history_has_no_values_of_variables(self, socket, admin):
        ctlctl(socket, "exec", "-e", "TOKEN=s3cret", "true")
        assert "s3cret" not in str(admin.call("history_list"))
        assert "s3cret" not in str(admin.call("event_list"))

    @pytest.mark.parametrize(
        ("words", "hint"),
        [
            ("exec -t true", b"leave -t away"),
            ("console", b"a console needs one, exec does not"),
            ("session attach x", b"a session is joined with one"),
        ],
    )
    def test_it_is_said_what_needs_a_terminal(self, address, words, hint):
        done = ctlctl(address, *words.split(), input=b"")
        assert done.returncode == 2
        assert done.stderr == b"ctlctl: the standard input is no terminal: " + hint + b"\n"

    def test_usage(self, socket):
        assert ctlctl(socket, "exec").returncode == 2
        assert b"un a program where the daemon runs" in ctlctl(socket, "help", "exec").stdout


class TestManagement:
    def test_list_signal_and_kill(self, socket, admin):
        with running(socket, "exec", "sleep", "60") as process:
            wait_for(lambda: states(admin) == ["attached"])
            session = sessions(admin)[0]["id"]
            assert session.encode() in ctlctl(socket, "session", "list").stdout
            assert ctlctl(socket, "session", "signal", session, "TERM").returncode == 0
            assert process.wait(20) == 143
            wait_for(lambda: not sessions(admin))
        with running(socket, "exec", "sleep", "60") as process:
            wait_for(lambda: states(admin) == ["attached"])
            assert ctlctl(socket, "session", "kill", sessions(admin)[0]["id"]).returncode == 0
            assert process.wait(20) == 137


class Tmux:
    """A person at a terminal."""

    def __init__(self, place: Path) -> None:
        self._tmux = ["tmux", "-S", f"{place}/tmux", "-f", "/dev/null"]
        self._run("new-session", "-d", "-x", "90", "-y", "31", "-s", "s", "env", "PS1=local$ ", "TERM=screen", "sh")

    def __enter__(self) -> Self:
        self.prompt()
        self._modes = self.modes
        return self

    def __exit__(self, *error: object) -> None:
        self._run("kill-server")

    def _run(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True, cwd=ROOT).stdout

    def type(self, *keys: str) -> None:
        self._run("send-keys", "-t", "s", *keys)

    def line(self, text: str) -> None:
        self._run("send-keys", "-t", "s", "-l", text)
        self.type("Enter")

    @property
    def screen(self) -> str:
        return self._run("capture-pane", "-p", "-t", "s")

    def see(self, text: str) -> None:
        wait_for(lambda: text in self.screen, lambda: f"{self.screen}\nwithout {text!r}")

    def prompt(self, prompt: str = "local$") -> None:
        """Wait until the shell of the person asks again; what is typed while it gives something up may be lost."""
        wait_for(lambda: self.screen.rstrip().endswith(prompt), lambda: self.screen)

    @property
    def modes(self) -> list:
        """How the terminal is set, whatever the screen shows."""
        fd = os.open(self._run("display-message", "-p", "-t", "s", "#{pane_tty}").strip(), os.O_RDONLY | os.O_NOCTTY)
        try:
            return termios.tcgetattr(fd)
        finally:
            os.close(fd)

    @property
    def is_raw(self) -> bool:
        return not self.modes[3] & (termios.ICANON | termios.ECHO | termios.ISIG)

    @property
    def is_restored(self) -> bool:
        return self.modes == self._modes

    def fresh(self, mark: str) -> None:
        """Begin on an empty screen."""
        self.prompt()
        self.line(f"clear; echo '{mark[0]}''{mark[1:]}'")
        self.see(mark)

    def resize(self, cols: int, rows: int) -> None:
        self._run("resize-window", "-t", "s", "-x", str(cols), "-y", str(rows))


@pytest.fixture
def person(folder, socket):  # noqa: F811 - fixtures
    if shutil.which("tmux") is None:
        if os.environ.get("CTLD_INTEROP") == "required":
            pytest.fail("tmux is missing")
        pytest.skip("tmux is not installed")
    with Tmux(folder) as person:
        yield person


def shell_line(address: str, *words: str) -> str:
    return " ".join(command(address, *words))


def size_of_terminal(admin) -> tuple[int, int]:
    """The rows and columns that the program of the only session sees."""
    [session] = sessions(admin)
    fd = os.open(f"/proc/{session['pid']}/fd/0", os.O_RDONLY | os.O_NOCTTY)
    try:
        columns, rows = os.get_terminal_size(fd)
    finally:
        os.close(fd)
    return rows, columns


@pytest.mark.interop
class TestPerson:
    def test_a_shell_and_the_terminal_afterwards(self, person, address, admin):
        person.line(shell_line(address, "exec", "-t", "-e", "PS1=remote=", "--", "sh"))
        person.prompt("remote=")
        person.line("stty size; echo $TERM")
        person.see("31 90")
        person.see("screen")
        assert person.is_raw
        person.resize(100, 40)
        wait_for(lambda: size_of_terminal(admin) == (40, 100))
        person.line("sh -c 'echo work\"\"ing; sleep 60'")
        person.see("working")
        person.type("C-c")  # reaches the program, and not ctlctl
        person.prompt("remote=")
        person.line("echo still $((40+2))")
        person.see("still 42")
        person.line("exit 5")
        wait_for(lambda: not sessions(admin))
        person.prompt()
        person.line("echo status=$?")
        person.see("status=5")
        assert person.is_restored
        assert not sessions(admin)

    def test_detach_and_attach(self, person, socket, admin):
        person.line(shell_line(socket, "console", "--", "env", "PS1=remote=", "sh"))
        person.prompt("remote=")
        person.line("echo be''fore")
        person.see("before")
        person.type("C-p", "C-q")
        wait_for(lambda: states(admin) == ["detached"])
        person.see("left session")
        person.fresh("one")
        session = sessions(admin)[0]
        person.line(shell_line(socket, "session", "attach", "--osctl", session["id"]))
        person.see("before")  # the scroll-back
        person.type("C-a", "q")
        wait_for(lambda: states(admin) == ["detached"])
        person.see("left session")
        person.fresh("two")
        person.line(shell_line(socket, "session", "attach", session["id"]))
        person.see("before")
        person.line("exit 6")
        wait_for(lambda: not sessions(admin))
        person.prompt()
        person.line("echo status=$?")
        person.see("status=6")

    @pytest.mark.parametrize(("program", "leave"), [("vi", ":q!"), ("top", "q")])
    def test_full_screen_programs_start_at_the_right_size(self, person, socket, admin, program, leave):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
        person.line(shell_line(socket, "exec", "-t", "--", program))
        if program == "vi":
            # A vi that knows 31 lines fills all but the last with tildes.
            wait_for(lambda: person.screen.count("\n~") >= 28)
        else:
            person.see("load average")
        assert size_of_terminal(admin) == (31, 90)
        person.line(leave)
        wait_for(lambda: not sessions(admin))
        person.fresh(f"after {program}")
        assert person.is_restored

    def test_the_terminal_is_restored_when_the_daemon_dies(self, person, socket, admin, daemon_stops):
        person.line(shell_line(socket, "exec", "-t", "--", "cat"))
        wait_for(lambda: person.is_raw and states(admin) == ["attached"])
        admin.call("shutdown")
        daemon_stops.append(True)
        person.see("shutting down")
        person.prompt()
        assert person.is_restored

    @pytest.mark.parametrize(("name", "status"), [("TERM", 143), ("HUP", 129)])
    def test_the_terminal_is_restored_by_signals(self, person, socket, admin, name, status):
        person.line(shell_line(socket, "exec", "-t", "--", "cat"))
        wait_for(lambda: person.is_raw and states(admin) == ["attached"])
        pid = subprocess.run(
            ["pgrep", "-f", f"ctlctl -s {socket} exec -t"], capture_output=True, text=True
        ).stdout.split()[0]
        os.kill(int(pid), getattr(signal, f"SIG{name}"))
        wait_for(lambda: not sessions(admin))
        person.prompt()
        person.line(f"echo {name}=$?")
        person.see(f"{name}={status}")
        assert person.is_restored

    def test_a_read_only_viewer_types_nothing(self, person, socket, admin):
        with running(socket, "exec", "sh", "-c", "echo hello; read x; echo got $x") as process:
            assert process.stdout.readline() == b"hello\n"
        # On descriptors there is nothing to see; in a terminal there is.
        person.line(shell_line(socket, "exec", "-t", "--", "sh", "-c", "'echo watched; cat'"))
        wait_for(lambda: [one for one in sessions(admin) if one["tty"] and one["bytes_out"]])
        session = next(one["id"] for one in sessions(admin) if one["tty"])
        with admin.session("session_attach", {"id": session, "read_only": True}) as viewer:
            assert b"watched" in next(viewer.stdout)
            viewer.write(b"not typed\n")
            person.line("typed")
            seen = b""
            while b"typed\r\ntyped\r\n" not in seen:
                seen += next(viewer.stdout)
            assert b"not" not in seen
        person.type("C-d")
        person.prompt()
