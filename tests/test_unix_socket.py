import errno
import fcntl
import os
import socket
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ctld import unix_socket
from ctld.errors import AddressInUse, ListenFailed
from ctld.unix_socket import ListeningSocket, bind_unix

ROOT = Path(__file__).parents[1]


def bind(path, mode=0o660, **more):
    return bind_unix(str(path), mode=mode, backlog=16, **more)


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def leave_stale(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    sock.close()


@pytest.fixture
def umask():
    before = os.umask(0)
    yield os.umask
    os.umask(before)


def test_it_listens_and_leaves_nothing(tmp_path):
    made = bind(tmp_path / "s")
    assert made.path == str(tmp_path / "s")
    assert not made.socket.getblocking()
    assert not made.socket.get_inheritable()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(made.path)
    made.close()
    assert os.listdir(tmp_path) == []
    made.close()


def test_a_client_s_socket_is_what_the_kernel_says(tmp_path):
    made = bind(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(made.path)
        sock, _address = made.socket.accept()
        made.close()
        with sock:
            plain = socket.socket(fileno=os.dup(sock.fileno()))
            with plain:
                assert (sock.family, sock.type, sock.proto) == (plain.family, plain.type, plain.proto)
            assert not sock.get_inheritable()
            sock.sendall(b"hello")
            assert client.recv(10) == b"hello"
            with sock.dup() as another:
                another.sendall(b"again")
            assert client.recv(10) == b"again"


class TestMode:
    @pytest.mark.parametrize("wanted", [0o600, 0o660, 0o666, 0o000, 0o777])
    def test_is_the_wanted_one_under_every_umask(self, tmp_path, umask, wanted):
        for mask in range(0o1000):
            umask(mask)
            made = bind(tmp_path / "s", wanted)
            try:
                assert mode_of(made.path) == wanted
            finally:
                made.close()
                assert umask(mask) == mask, "the umask belongs to all threads"

    def test_is_never_wider_on_the_way(self, tmp_path, umask, monkeypatch):
        umask(0)
        seen = []

        class Watched(ListeningSocket):
            def bind(self, path):
                super().bind(path)
                seen.append(("bound", mode_of(path)))

            def listen(self, backlog):
                seen.append(("listening", mode_of(tmp_path / "s")))
                super().listen(backlog)

        monkeypatch.setattr(unix_socket, "ListeningSocket", Watched)
        bind(tmp_path / "s", 0o640).close()
        assert [step for step in seen if step[0] == "bound"] == [("bound", 0o600)]
        assert seen[-1] == ("listening", 0o640)

    def test_owner_and_group_are_there_before_anybody_can_connect(self, tmp_path, monkeypatch):
        if os.geteuid() != 0:
            pytest.skip("only root may give files away")
        seen = []

        class Watched(ListeningSocket):
            def listen(self, backlog):
                found = os.stat(tmp_path / "s")
                seen.append((found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)))
                super().listen(backlog)

        monkeypatch.setattr(unix_socket, "ListeningSocket", Watched)
        bind(tmp_path / "s", 0o660, uid=4000, gid=4001).close()
        bind(tmp_path / "s", 0o660, gid=4001).close()
        assert seen == [(4000, 4001, 0o660), (0, 4001, 0o660)]

    @pytest.mark.parametrize(
        ("ids", "who"), [({"uid": 7}, "user 7"), ({"gid": 8}, "group 8"), ({"uid": 0, "gid": 8}, "user 0 and group 8")]
    )
    def test_an_owner_that_cannot_be_given_is_an_error_and_leaves_nothing(self, tmp_path, monkeypatch, ids, who):
        def chown(path, uid, gid):
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "chown", chown)
        with pytest.raises(ListenFailed, match=f"cannot give .*/s to {who}: only root may give files away"):
            bind(tmp_path / "s", **ids)
        assert os.listdir(tmp_path) == []


class TestInTheWay:
    def test_a_stale_socket_is_replaced(self, tmp_path):
        leave_stale(tmp_path / "s")
        made = bind(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(made.path)
        made.close()

    def test_a_stale_lock_file_is_no_hindrance(self, tmp_path):
        (tmp_path / "s.lock").touch()
        bind(tmp_path / "s").close()
        assert os.listdir(tmp_path) == []

    def test_a_live_one_of_ours_is_in_use(self, tmp_path):
        made = bind(tmp_path / "s")
        with pytest.raises(AddressInUse, match=r"cannot listen on .*/s: another daemon listens there"):
            bind(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(made.path)
        made.close()
        assert os.listdir(tmp_path) == []

    def test_a_live_one_of_another_program_is_in_use(self, tmp_path):
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(tmp_path / "s"))
            other.listen(0)
            with pytest.raises(AddressInUse, match="another program listens there"):
                bind(tmp_path / "s")
            assert os.listdir(tmp_path) == ["s"]

    def test_one_whose_backlog_is_full_is_in_use(self, tmp_path):
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(tmp_path / "s"))
            other.listen(0)
            waiting = [socket.socket(socket.AF_UNIX) for _ in range(2)]
            try:
                for client in waiting:
                    client.setblocking(False)
                    client.connect_ex(str(tmp_path / "s"))
                with pytest.raises(AddressInUse):
                    bind(tmp_path / "s")
            finally:
                for client in waiting:
                    client.close()

    @pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
    def test_a_socket_of_another_type_is_in_use(self, tmp_path, kind):
        with socket.socket(socket.AF_UNIX, kind) as other:
            other.bind(str(tmp_path / "s"))
            if kind == socket.SOCK_SEQPACKET:
                other.listen()
            with pytest.raises(AddressInUse):
                bind(tmp_path / "s")
            assert stat.S_ISSOCK(os.stat(tmp_path / "s").st_mode)

    @pytest.mark.parametrize(
        ("make", "what"),
        [
            (lambda path: path.write_text("precious"), "a file that is no socket"),
            (lambda path: path.mkdir(), "a directory"),
            (lambda path: path.symlink_to("/dev/null"), "a symbolic link"),
            (lambda path: path.symlink_to("nowhere"), "a symbolic link"),
            (lambda path: os.mkfifo(path), "a file that is no socket"),
        ],
    )
    def test_anything_else_is_left_alone(self, tmp_path, make, what):
        path = tmp_path / "s"
        make(path)
        before = os.stat(path, follow_symlinks=False)
        with pytest.raises(ListenFailed, match=rf"cannot listen on .*/s: {what} is in the way") as caught:
            bind(path)
        assert not isinstance(caught.value, AddressInUse)
        assert os.path.samestat(before, os.stat(path, follow_symlinks=False))
        assert os.listdir(tmp_path) == ["s"]

    def test_a_symbolic_link_to_a_stale_socket_is_not_followed(self, tmp_path):
        leave_stale(tmp_path / "target")
        (tmp_path / "s").symlink_to(tmp_path / "target")
        with pytest.raises(ListenFailed, match="a symbolic link is in the way"):
            bind(tmp_path / "s")
        assert (tmp_path / "target").is_socket()

    def test_a_symbolic_link_at_the_lock_is_not_followed(self, tmp_path):
        (tmp_path / "s.lock").symlink_to(tmp_path / "created-for-somebody-else")
        with pytest.raises(ListenFailed, match=r"s\.lock is a symbolic link"):
            bind(tmp_path / "s")
        assert not (tmp_path / "created-for-somebody-else").exists()

    def test_a_directory_at_the_lock_is_an_error(self, tmp_path):
        (tmp_path / "s.lock").mkdir()
        with pytest.raises(ListenFailed, match="Is a directory"):
            bind(tmp_path / "s")

    def test_a_directory_that_is_missing_is_named(self, tmp_path):
        with pytest.raises(ListenFailed, match=rf"there is no directory {tmp_path}/no$"):
            bind(tmp_path / "no" / "s")

    @pytest.mark.parametrize("name", ["new\nline", "\x1b[2J", "\udcff"])
    def test_silly_names_stay_one_line(self, tmp_path, name):
        with pytest.raises(ListenFailed) as caught:
            bind(tmp_path / name / "s")
        assert str(caught.value).isprintable()
        (tmp_path / name).mkdir()
        bind(tmp_path / name / "s").close()

    def test_a_directory_that_is_none_is_named(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(ListenFailed, match=rf"{tmp_path}/file is no directory$"):
            bind(tmp_path / "file" / "s")

    @pytest.mark.parametrize("answer", [errno.EACCES, errno.EPERM])
    def test_a_socket_that_we_may_not_ask_is_left_alone(self, tmp_path, monkeypatch, answer):
        leave_stale(tmp_path / "s")

        class Refused(socket.socket):
            def connect_ex(self, address):
                return answer

        monkeypatch.setattr(socket, "socket", Refused)
        with pytest.raises(ListenFailed, match="another user's socket is in the way"):
            bind(tmp_path / "s")
        assert (tmp_path / "s").is_socket()

    def test_a_stale_socket_that_vanishes_meanwhile(self, tmp_path, monkeypatch):
        leave_stale(tmp_path / "s")

        class Vanishing(socket.socket):
            def connect_ex(self, address):
                os.unlink(address)
                return super().connect_ex(address)

        with monkeypatch.context() as patched:
            patched.setattr(socket, "socket", Vanishing)
            made = bind(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(made.path)
        made.close()

    def test_somebody_who_binds_between_check_and_bind(self, tmp_path, monkeypatch):
        class Late(ListeningSocket):
            def bind(self, address):
                os.mknod(address, stat.S_IFSOCK | 0o600)
                super().bind(address)

        monkeypatch.setattr(unix_socket, "ListeningSocket", Late)
        with pytest.raises(AddressInUse, match="somebody else has just taken it"):
            bind(tmp_path / "s")
        assert (tmp_path / "s").is_socket()

    def test_somebody_who_removes_it_after_the_bind(self, tmp_path, monkeypatch):
        class Removed(ListeningSocket):
            def bind(self, address):
                super().bind(address)
                os.unlink(address)

        monkeypatch.setattr(unix_socket, "ListeningSocket", Removed)
        with pytest.raises(ListenFailed, match="No such file"):
            bind(tmp_path / "s")

    def test_a_file_slipped_in_after_the_bind_is_not_touched(self, tmp_path, monkeypatch):
        class Swapped(ListeningSocket):
            def bind(self, address):
                super().bind(address)
                os.unlink(address)
                Path(address).write_text("precious")
                os.chmod(address, 0o644)

        monkeypatch.setattr(unix_socket, "ListeningSocket", Swapped)
        with pytest.raises(ListenFailed, match="it was replaced while it was made"):
            bind(tmp_path / "s", 0o666)
        assert mode_of(tmp_path / "s") == 0o644

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (PermissionError(errno.EACCES, "Permission denied"), "no permission to make it in"),
            (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
            (OSError("AF_UNIX path too long"), "AF_UNIX path too long"),
        ],
    )
    def test_every_other_error_is_one_line(self, tmp_path, monkeypatch, error, message):
        class Failing(ListeningSocket):
            def bind(self, address):
                raise error

        monkeypatch.setattr(unix_socket, "ListeningSocket", Failing)
        with pytest.raises(ListenFailed, match=f"cannot listen on .*/s: {message}") as caught:
            bind(tmp_path / "s")
        assert "\n" not in str(caught.value)
        assert os.listdir(tmp_path) == []

    def test_a_lock_of_another_user_is_named(self, tmp_path, monkeypatch):
        (tmp_path / "s.lock").touch()

        def no_open(path, *args):
            raise PermissionError(errno.EACCES, "Permission denied", path)

        monkeypatch.setattr(os, "open", no_open)
        with pytest.raises(ListenFailed, match=r"s\.lock belongs to another user"):
            bind(tmp_path / "s")


class TestRemoval:
    def test_only_our_own_inode_is_unlinked(self, tmp_path):
        made = bind(tmp_path / "s")
        os.unlink(tmp_path / "s")
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(tmp_path / "s"))
            made.close()
            assert os.listdir(tmp_path) == ["s"]

    def test_a_link_to_our_own_is_not_ours(self, tmp_path):
        made = bind(tmp_path / "s")
        os.rename(tmp_path / "s", tmp_path / "moved")
        (tmp_path / "s").symlink_to(tmp_path / "moved")
        made.close()
        assert sorted(os.listdir(tmp_path)) == ["moved", "s"]

    def test_nothing_to_unlink_is_fine(self, tmp_path):
        made = bind(tmp_path / "s")
        os.unlink(tmp_path / "s")
        os.unlink(tmp_path / "s.lock")
        made.close()
        assert os.listdir(tmp_path) == []

    def test_a_vanished_directory_is_fine(self, tmp_path):
        (tmp_path / "d").mkdir()
        made = bind(tmp_path / "d" / "s")
        os.rename(tmp_path / "d", tmp_path / "e")
        (tmp_path / "d").touch()
        made.close()
        assert sorted(os.listdir(tmp_path / "e")) == ["s", "s.lock"]

    def test_the_directory_may_change(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        made = bind("./s")
        monkeypatch.chdir("/")
        made.close()
        assert os.listdir(tmp_path) == []

    def test_what_cannot_be_removed_is_logged(self, tmp_path, monkeypatch, caplog):
        made = bind(tmp_path / "s")

        def no_unlink(path):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(os, "unlink", no_unlink)
        made.close()
        assert [record.getMessage() for record in caplog.records] == [
            f"cannot remove {tmp_path}/s: Permission denied",
            f"cannot remove {tmp_path}/s.lock: Permission denied",
        ]
        assert made.socket.fileno() == -1

    def test_the_path_goes_before_the_socket(self, tmp_path, monkeypatch):
        # The bound socket keeps its inode, and so the number that is compared, from coming back.
        made = bind(tmp_path / "s")
        order = []
        real = os.unlink
        monkeypatch.setattr(
            os, "unlink", lambda path: (order.append((path[-5:], made.socket.fileno() != -1)), real(path))
        )
        made.close()
        assert [is_open for _, is_open in order] == [True, False]


class TestLock:
    def test_whoever_holds_a_lock_file_that_is_gone_starts_over(self, tmp_path, monkeypatch):
        name = str(tmp_path / "s.lock")
        real = fcntl.flock
        calls = []

        def flock(fd, how):
            real(fd, how)
            calls.append(fd)
            if len(calls) <= 2:  # the last holder has just stopped; the second time another one is there already
                os.unlink(name)
            if len(calls) == 2:
                Path(name).touch()

        monkeypatch.setattr(fcntl, "flock", flock)
        bind(tmp_path / "s").close()
        assert len(calls) == 3
        assert os.listdir(tmp_path) == []

    def test_but_not_for_ever(self, tmp_path, monkeypatch):
        name = str(tmp_path / "s.lock")
        monkeypatch.setattr(fcntl, "flock", lambda fd, how: os.unlink(name))
        with pytest.raises(AddressInUse, match="keeps changing hands"):
            bind(tmp_path / "s")

    def test_a_file_system_without_locks_is_an_error(self, tmp_path, monkeypatch):
        def flock(fd, how):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(fcntl, "flock", flock)
        with pytest.raises(ListenFailed, match="No locks available"):
            bind(tmp_path / "s")

    def test_the_lock_dies_with_its_process(self, tmp_path):
        code = f"""
            import os, sys; sys.path.insert(0, {str(ROOT)!r})
            from ctld.unix_socket import bind_unix
            made = bind_unix({str(tmp_path / "s")!r}, mode=0o600, backlog=1)
            print("ready", flush=True)
            sys.stdin.read()
        """
        with subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout.readline() == b"ready\n"
            with pytest.raises(AddressInUse):
                bind(tmp_path / "s")
            child.kill()
        assert sorted(os.listdir(tmp_path)) == ["s", "s.lock"]
        bind(tmp_path / "s").close()
        assert os.listdir(tmp_path) == []


RACER = """
    import os, sys; sys.path.insert(0, sys.argv[1])
    from ctld.errors import AddressInUse
    from ctld.unix_socket import bind_unix
    print("ready", flush=True)
    sys.stdin.readline()
    wins = 0
    while wins < int(sys.argv[3]):
        try:
            made = bind_unix(sys.argv[2], mode=0o600, backlog=1)
        except AddressInUse:
            continue
        # While we hold it, it is ours: nobody removes or replaces it.
        before = os.stat(sys.argv[2]).st_ino
        for _ in range(20):
            assert os.stat(sys.argv[2]).st_ino == before
        wins += 1
        made.close()
"""


def test_daemons_that_start_at_once_do_not_steal_from_each_other(tmp_path):
    leave_stale(tmp_path / "s")
    command = [sys.executable, "-c", textwrap.dedent(RACER), str(ROOT), str(tmp_path / "s"), "200"]
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        for racer in racers:
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            racer.stdin.write("go\n")
            racer.stdin.flush()
        results = [racer.communicate(timeout=50) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.wait()
    assert results == [("", "")] * 3
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("mode", "told"), [(0o755, False), (0o1777, False), (0o777, True)])
def test_a_folder_in_which_anybody_may_swap_the_socket_is_told(tmp_path, caplog, mode, told):
    tmp_path.chmod(mode)
    bind_unix(str(tmp_path / "s"), mode=0o600, backlog=1).close()
    assert ("anybody may put another socket" in caplog.text) == told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_a_folder_of_another_user_is_told(tmp_path, caplog):
    os.chown(tmp_path, 54321, -1)
    bind_unix(str(tmp_path / "s"), mode=0o600, backlog=1).close()
    assert "belongs to user 54321" in caplog.text


@pytest.mark.parametrize("mask", [0, 0o022, 0o077, 0o777])
def test_every_mode_is_the_wanted_one(tmp_path, mask):
    before = os.umask(mask)
    try:
        for mode in range(0o1000):
            made = bind_unix(str(tmp_path / "s"), mode=mode, backlog=1)
            found = mode_of(made.path)
            made.close()
            assert found == mode
    finally:
        os.umask(before)
