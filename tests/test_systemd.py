import os
import shutil
import socket
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest

from ctld.errors import ListenFailed
from ctld.systemd import FIRST_INHERITED, Notifier, inherited_sockets, listening_socket, watchdog_interval

ROOT = Path(__file__).parents[1]


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A service manager's end: an address for NOTIFY_SOCKET and the socket that it reads from."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@ctld-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        sock.settimeout(5)
        yield name, sock


@pytest.fixture
def notifier(manager):
    made = Notifier.from_environ({"NOTIFY_SOCKET": manager[0]})
    yield made
    made.close()


class TestNotifier:
    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda n: n.ready(), "READY=1"),
            (lambda n: n.ready("serving"), "READY=1\nSTATUS=serving"),
            (lambda n: n.stopping(), "STOPPING=1"),
            (lambda n: n.stopping("draining"), "STOPPING=1\nSTATUS=draining"),
            (lambda n: n.status("3 clients"), "STATUS=3 clients"),
            (lambda n: n.status(""), "STATUS="),
            (lambda n: n.status("a\nREADY=1\r\n b"), "STATUS=a READY=1 b"),
            (lambda n: n.status("\udcff"), "STATUS=?"),
            (lambda n: n.watchdog(), "WATCHDOG=1"),
        ],
    )
    def test_says_what_the_manager_expects(self, manager, notifier, call, message):
        assert call(notifier) is True
        assert manager[1].recv(4096).decode() == message

    def test_reloading_carries_the_time(self, manager, notifier):
        assert notifier.reloading()
        first, second = manager[1].recv(4096).decode().split("\n")
        assert first == "RELOADING=1"
        name, _, value = second.partition("=")
        assert name == "MONOTONIC_USEC"
        assert int(value) > 0

    def test_is_silent_once_closed(self, notifier):
        notifier.close()
        notifier.close()
        assert notifier.ready() is False

    def test_a_manager_that_is_gone_is_no_error(self, manager, notifier):
        manager[1].close()
        assert notifier.ready() is False

    def test_a_manager_that_does_not_read_does_not_hold_us_up(self, notifier):
        assert any(not notifier.watchdog() for _ in range(100_000))


class TestWithoutManager:
    @pytest.mark.parametrize("address", ["", "@", "/", "vsock:2:1234", "relative", "/nul\0inside", "/no/such/socket"])
    def test_nothing_happens(self, address):
        notifier = Notifier(address)
        assert notifier.ready() is notifier.status("x") is notifier.reloading() is False
        notifier.close()

    def test_an_unset_variable_needs_no_descriptor(self):
        before = len(os.listdir("/proc/self/fd"))
        notifier = Notifier.from_environ({})
        assert len(os.listdir("/proc/self/fd")) == before
        assert not notifier.watchdog()

    def test_children_do_not_inherit_the_address(self):
        environ = {"NOTIFY_SOCKET": "/nowhere", "PATH": "/bin"}
        Notifier.from_environ(environ).close()
        assert environ == {"PATH": "/bin"}


class TestWatchdog:
    @pytest.mark.parametrize(
        ("environ", "seconds"),
        [
            ({}, None),
            ({"WATCHDOG_USEC": "30000000"}, 15.0),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 15.0),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "me"}, None),
            ({"WATCHDOG_USEC": "0"}, None),
            ({"WATCHDOG_USEC": "-5"}, None),
            ({"WATCHDOG_USEC": "1_000"}, None),
            ({"WATCHDOG_USEC": "soon"}, None),
            ({"WATCHDOG_USEC": "9" * 5000}, None),
            ({"WATCHDOG_PID": "42"}, None),
        ],
    )
    def test_half_the_period_of_this_process(self, environ, seconds):
        assert watchdog_interval(environ, 42) == seconds

    def test_this_process_by_default(self):
        environ = {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}
        assert watchdog_interval(environ) == 1.0


def listener(family=socket.AF_INET, kind=socket.SOCK_STREAM):
    sock = socket.socket(family, kind)
    sock.bind(("127.0.0.1", 0))
    return sock


class TestListeningSocket:
    def test_is_taken_over(self):
        sock = listener()
        sock.listen()
        sock.set_inheritable(True)
        taken = listening_socket(sock.detach())
        with taken:
            assert not taken.get_inheritable()
            assert not taken.getblocking()
            assert taken.family == socket.AF_INET

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (listener, r"it is not listening \(a socket unit needs Accept=no\)"),
            (lambda: listener(kind=socket.SOCK_DGRAM), "it is no stream socket"),
            (lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET), "it is no stream socket"),
            (partial(open, os.devnull), "Socket operation on non-socket"),
        ],
    )
    def test_anything_else_is_refused_and_left_open(self, make, reason):
        with make() as file:
            with pytest.raises(ListenFailed, match=f"descriptor {file.fileno()} cannot be listened on: {reason}"):
                listening_socket(file.fileno())
            os.fstat(file.fileno())

    def test_another_family_is_refused(self):
        try:
            sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        except OSError:
            pytest.skip("this kernel has no vsock")
        with sock, pytest.raises(ListenFailed, match="neither a UNIX nor a TCP socket"):
            listening_socket(sock.fileno())

    def test_a_closed_descriptor_is_refused(self):
        with pytest.raises(ListenFailed, match="Bad file descriptor"):
            listening_socket(1_000_000)


class TestVariables:
    @pytest.mark.parametrize(
        "environ",
        [
            {},
            {"LISTEN_PID": "42", "LISTEN_FDNAMES": "a"},
            {"LISTEN_FDS": "2"},
            {"LISTEN_FDS": "2", "LISTEN_PID": "43", "LISTEN_FDNAMES": "a:b"},
            {"LISTEN_FDS": "2", "LISTEN_PID": "x"},
            {"LISTEN_FDS": "0", "LISTEN_PID": "42"},
        ],
    )
    def test_nothing_for_this_process_and_nothing_for_its_children(self, environ):
        environ["PATH"] = "/bin"
        assert inherited_sockets(environ, 42) == []
        assert environ == {"PATH": "/bin"}

    @pytest.mark.parametrize("count", ["-1", "many", "1000000000", "9" * 5000, "+1"])
    def test_a_silly_number_is_refused(self, count):
        environ = {"LISTEN_FDS": count, "LISTEN_PID": "42"}
        with pytest.raises(ListenFailed, match="is no number of sockets") as caught:
            inherited_sockets(environ, 42)
        assert len(str(caught.value)) < 80
        assert environ == {}

    def test_names_have_to_fit(self):
        with pytest.raises(ListenFailed, match="LISTEN_FDNAMES has 1 names for 2 sockets"):
            inherited_sockets({"LISTEN_FDS": "2", "LISTEN_PID": "42", "LISTEN_FDNAMES": "a"}, 42)


CHILD = """
    import os, sys, socket
    sys.path.insert(0, sys.argv[1])
    from ctld.systemd import inherited_sockets
    from ctld.errors import ListenFailed
    os.environ["LISTEN_PID"] = str(os.getpid())
    try:
        found = inherited_sockets(os.environ, os.getpid())
    except ListenFailed as error:
        print(error)
        found = []
    for name, sock in found:
        print(name, sock.fileno(), sock.getsockname()[1], sock.getblocking(), sock.get_inheritable())
        sock.close()
    open_now = [fd for fd in (3, 4) if os.path.exists(f"/proc/self/fd/{fd}")]
    print(open_now, [name for name in os.environ if name.startswith("LISTEN_")])
"""


def with_sockets(sockets, **environ):
    """Run a child that finds these sockets from descriptor 3 on; a shell puts them there."""
    moves = " ".join(f"{FIRST_INHERITED + index}<&{sock.fileno()}" for index, sock in enumerate(sockets))
    script = f'exec "$@" {moves}'
    command = ["/bin/bash", "-c", script, "bash", sys.executable, "-c", textwrap.dedent(CHILD), str(ROOT)]
    done = subprocess.run(
        command,
        env={**os.environ, "LISTEN_FDS": str(len(sockets)), **environ},
        pass_fds=[sock.fileno() for sock in sockets],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.splitlines()


@pytest.fixture
def two():
    pair = []
    for _ in range(2):
        sock = listener()
        # High numbers, so that the shell's moves do not overwrite one another.
        high = socket.socket(fileno=os.dup2(sock.fileno(), 200 + len(pair)))
        sock.close()
        high.listen()
        pair.append(high)
    yield pair
    for sock in pair:
        sock.close()


class TestInheritedByAChild:
    def test_in_order_named_and_safe(self, two):
        ports = [sock.getsockname()[1] for sock in two]
        out = with_sockets(two, LISTEN_FDNAMES="first:second")
        assert out[0] == f"first 3 {ports[0]} False False"
        assert out[1] == f"second 4 {ports[1]} False False"
        assert out[2].endswith("[]")

    def test_without_names(self, two):
        assert [line.split()[0] for line in with_sockets(two)[:2]] == ["unknown", "unknown"]

    def test_one_that_is_bad_spoils_all(self, two):
        with listener() as deaf:
            high = socket.socket(fileno=os.dup2(deaf.fileno(), 210))
            with high:
                out = with_sockets([two[0], high])
        assert out[0].startswith("descriptor 4 cannot be listened on: it is not listening")
        assert out[1] == "[4] []"


SERVICE = """
    import os, sys
    sys.path.insert(0, sys.argv[1])
    from ctld.systemd import inherited_sockets
    from ctld.listeners import open_endpoints
    inherited = inherited_sockets(os.environ, os.getpid())
    web = open_endpoints("systemd:web", inherited)
    rest = open_endpoints("systemd:", inherited)
    print("READY", *[f"{e.transport}={e.address}" for e in web + rest], len(inherited), flush=True)
    for endpoint in web:
        endpoint.socket.setblocking(True)
        client, _ = endpoint.socket.accept()
        client.sendall(b"hello " + client.recv(100))
        client.close()
    for endpoint in web + rest:
        endpoint.close()
"""


@pytest.mark.interop
def test_a_real_socket_activation(tmp_path):
    tool = shutil.which("systemd-socket-activate")
    if tool is None:
        if os.environ.get("CTLD_INTEROP") == "required":
            pytest.fail("systemd-socket-activate is missing")
        pytest.skip("systemd-socket-activate is not installed")
    paths = [str(tmp_path / "web.sock"), str(tmp_path / "other.sock")]
    command = [tool, *(f"--listen={path}" for path in paths), "--fdname=web:other"]
    command += [sys.executable, "-c", textwrap.dedent(SERVICE), str(ROOT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            # It says so on stderr once each socket listens; the first client starts the service.
            for _ in paths:
                assert "istening" in process.stderr.readline()
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(30)
                client.connect(paths[0])
                client.sendall(b"you")
                assert client.recv(100) == b"hello you"
            line = process.stdout.readline()
            assert line.split() == ["READY", f"unix=unix:{paths[0]}", f"unix=unix:{paths[1]}", "0"]
            assert process.wait(30) == 0
            assert all(os.path.exists(path) for path in paths), "an inherited socket is not ours to remove"
        finally:
            process.kill()
