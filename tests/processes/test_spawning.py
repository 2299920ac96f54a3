import asyncio
import contextlib
import errno
import os
import pwd
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ctld.errors import Busy, CommandFailed, InvalidOptions, NotFound
from ctld.processes import PIPE, STDOUT, Spawn, open_terminal, spawn

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its user")

# What takes the way through the launcher, and changes nothing else.
HARMLESS = {"limits": {resource.RLIMIT_CORE: (0, 0)}}
WAYS = pytest.mark.parametrize("way", [{}, HARMLESS], ids=["popen", "launcher"])


async def readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(fd, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def read_all(fd: int) -> bytes:
    data = b""
    while True:
        await readable(fd)
        try:
            chunk = os.read(fd, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # that is how a terminal ends
                raise
            return data
        if not chunk:
            return data
        data += chunk


async def output_of(script: str, **more) -> str:
    async with await spawn(Spawn(argv=["/bin/sh", "-c", script], stdout=PIPE, stderr=STDOUT, **more)) as child:
        return (await read_all(child.stdout)).decode()


@WAYS
async def test_streams_are_pipes_when_asked_for(way):
    script = "cat; echo error >&2; exit 3"
    spec = Spawn(argv=["/bin/sh", "-c", script], stdin=PIPE, stdout=PIPE, stderr=PIPE, **way)
    async with await spawn(spec) as child:
        assert not any(os.get_blocking(fd) for fd in (child.stdin, child.stdout, child.stderr))
        stdin = child.take("stdin")
        os.write(stdin, b"input")
        os.close(stdin)
        assert await read_all(child.stdout) == b"input"
        assert await read_all(child.stderr) == b"error\n"
        assert (await child.wait()).code == 3


@WAYS
async def test_streams_may_be_descriptors_that_stay_ours(way, tmp_path):
    with open(tmp_path / "out", "w+b") as file, open(os.devnull, "rb") as null:
        spec = Spawn(argv=["echo", "hello"], stdin=null.fileno(), stdout=file.fileno(), stderr=STDOUT, **way)
        async with await spawn(spec) as child:
            await child.wait()
        file.seek(0)
        assert file.read() == b"hello\n"


@WAYS
async def test_nothing_is_inherited_by_default(way):
    leak = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        listing = await output_of("ls -l /proc/self/fd", **way)
    finally:
        os.close(leak)
    # Its three streams, and the descriptor of the listing itself.
    assert len([line for line in listing.splitlines() if "->" in line]) == 4


@WAYS
async def test_environment_directory_and_mask_are_the_childs_own(way, tmp_path):
    mask = os.umask(0)
    os.umask(mask)
    env = {"PATH": os.environ["PATH"], "A": "größe \udcff"}
    text = await output_of(
        "echo $A | od -An -c | tr -d ' \\n'; pwd; umask; env | wc -l", env=env, cwd=str(tmp_path), umask=0o27, **way
    )
    assert "377" in text
    assert str(tmp_path) in text
    assert "0027" in text
    assert os.umask(mask) == mask
    assert os.getcwd() != str(tmp_path)


@WAYS
async def test_the_program_is_looked_up_in_the_childs_path(way, tmp_path):
    program = tmp_path / "own-program"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    async with await spawn(Spawn(argv=["own-program"], env={"PATH": str(tmp_path)}, stdout=PIPE, **way)) as child:
        assert await read_all(child.stdout) == b"found\n"


@WAYS
async def test_arguments_never_meet_a_shell(way):
    async with await spawn(Spawn(argv=["echo", "$HOME;", "`id`", "a  b"], stdout=PIPE, **way)) as child:
        assert await read_all(child.stdout) == b"$HOME; `id` a  b\n"


@WAYS
async def test_ignored_signals_of_the_interpreter_are_not_passed_on(way):
    text = await output_of("grep SigIgn /proc/self/status", **way)
    ignored = int(text.split()[1], 16)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        assert not ignored & (1 << number - 1), number


@WAYS
@root
async def test_the_user_the_groups_and_the_file_mode_change(way):
    entry = pwd.getpwnam("nobody")
    uid, gid, groups = (await output_of("id -u; id -g; id -G", user="nobody", **way)).splitlines()
    assert (int(uid), int(gid)) == (entry.pw_uid, entry.pw_gid)
    assert set(map(int, groups.split())) == set(os.getgrouplist("nobody", entry.pw_gid))


@WAYS
@root
async def test_a_user_without_entry_has_no_groups_but_those_given(way):
    assert (await output_of("id -u; id -G", user=54321, group=54322, extra_groups=(5,), **way)).split() == [
        "54321",
        "54322",
        "5",
    ]


async def test_limits_and_priority_hold_in_the_child_alone():
    mine = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = await output_of("ulimit -Sn; ulimit -Hn; nice", limits={resource.RLIMIT_NOFILE: (50, 60)}, nice=7)
    assert text.split() == ["50", "60", "7"]
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == mine


@root
async def test_limits_and_another_user_go_together():
    text = await output_of("id -u; ulimit -Hn; nice", limits={resource.RLIMIT_NOFILE: (50, 60)}, nice=7, user="nobody")
    assert text.split() == [str(pwd.getpwnam("nobody").pw_uid), "60", "7"]


async def test_numbers_with_names_reach_the_launcher():
    limits = {resource.RLIMIT_NOFILE: (50, 60)}
    assert (await output_of("ulimit -Sn", limits=limits, death_signal=signal.SIGTERM)).split() == ["50"]


async def test_the_terminal_controls_the_child_and_has_its_size_at_once():
    with open_terminal(31, 97) as terminal:
        async with await spawn(
            Spawn(argv=["/bin/sh", "-c", "stty size; tty; stty size </dev/tty"], terminal=terminal)
        ) as child:
            assert terminal.slave == -1
            text = (await read_all(terminal.master)).decode().split("\r\n")
            assert text == ["31 97", terminal.path, "31 97", ""]
            assert (await child.wait()).code == 0


async def test_keys_of_the_terminal_are_signals():
    with open_terminal() as terminal:
        script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.01; done"
        async with await spawn(Spawn(argv=["/bin/sh", "-c", script], terminal=terminal)) as child:
            await readable(terminal.master)
            os.write(terminal.master, b"\x03")
            assert (await child.wait()).code == 9


async def test_closing_the_terminal_hangs_up():
    terminal = open_terminal()
    async with await spawn(Spawn(argv=["sleep", "60"], terminal=terminal)) as child:
        terminal.close()
        assert (await child.wait()).signal == signal.SIGHUP


async def test_a_resize_is_told_to_the_child():
    with open_terminal() as terminal:
        script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.01; done"
        async with await spawn(Spawn(argv=["/bin/sh", "-c", script], terminal=terminal)) as child:
            await readable(terminal.master)
            terminal.resize(40, 132)
            await child.wait()
            assert b"40 132" in os.read(terminal.master, 1000)


async def test_other_streams_may_stand_beside_the_terminal():
    with open_terminal() as terminal:
        spec = Spawn(argv=["/bin/sh", "-c", "echo out; echo err >&2"], terminal=terminal, stdout=PIPE)
        async with await spawn(spec) as child:
            assert await read_all(child.stdout) == b"out\n"
            assert await read_all(terminal.master) == b"err\r\n"


@root
async def test_the_terminal_belongs_to_the_user():
    with open_terminal() as terminal:
        script = 'echo hello >"$(tty)"; stat -c "%u %a" "$(tty)"'
        async with await spawn(Spawn(argv=["/bin/sh", "-c", script], terminal=terminal, user="nobody")) as child:
            text = (await read_all(terminal.master)).decode().split()
            assert text == ["hello", str(pwd.getpwnam("nobody").pw_uid), "600"]
            await child.wait()


async def test_a_child_can_be_bound_to_the_daemon():
    # A process of its own plays the daemon, to be killed without a word.
    daemon = (
        "import asyncio, signal\n"
        "from ctld.processes import Spawn, spawn\n"
        "async def main():\n"
        "    child = await spawn(Spawn(argv=['sleep', '60'], death_signal=signal.SIGTERM))\n"
        "    print(child.pid, flush=True)\n"
        "    await child.wait()\n"
        "asyncio.run(main())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", daemon], stdout=PIPE, cwd=Path(__file__).parents[2])
    pidfd = os.pidfd_open(int(process.stdout.readline()))
    process.kill()
    process.communicate()
    await readable(pidfd)
    os.close(pidfd)


def in_a(directory: Path, mode: int, text: str = "") -> Path:
    path = directory / "program"
    path.write_text(text)
    path.chmod(mode)
    return path


@WAYS
@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"argv": ["no-such-program"]}, NotFound, "cannot start 'no-such-program': no such program"),
        (
            {"argv": ["/bin/true"], "cwd": "/no/such"},
            NotFound,
            "cannot start '/bin/true': directory '/no/such': No such file",
        ),
        ({"argv": ["/bin/true"], "cwd": "/etc/passwd"}, NotFound, "directory '/etc/passwd': Not a directory"),
        ({"argv": ["true"], "user": "no such user"}, NotFound, "there is no user 'no such user'"),
        ({"argv": ["true"], "group": "no such group"}, NotFound, "there is no group 'no such group'"),
        ({"argv": ["/etc"]}, CommandFailed, "cannot start '/etc': Permission denied"),
        ({"argv": ["a\0b"]}, CommandFailed, "cannot start 'a\\x00b'"),
        ({"argv": ["true"], "env": {"A=B": "c"}}, CommandFailed, "illegal environment variable name"),
        ({"argv": ["true", "x" * 200_000]}, CommandFailed, "cannot start 'true': Argument list too long"),
        ({"argv": []}, InvalidOptions, "there is no program to start"),
    ],
)
async def test_what_cannot_start_says_why_and_leaves_nothing(way, changes, kind, message):
    with pytest.raises(kind) as caught:
        await spawn(Spawn(**{**way, "stdin": PIPE, "stdout": PIPE, "stderr": PIPE, **changes}))
    assert message in str(caught.value)


@WAYS
async def test_files_that_are_no_programs_say_why(way, tmp_path):
    plain = in_a(tmp_path, 0o644)
    with pytest.raises(CommandFailed, match="Permission denied"):
        await spawn(Spawn(argv=[str(plain)], **way))
    script = in_a(tmp_path, 0o755, "#!/no/such/interpreter\n")
    with pytest.raises(CommandFailed, match="the interpreter in its first line is missing"):
        await spawn(Spawn(argv=[str(script)], **way))
    empty = in_a(tmp_path, 0o755, "no interpreter\n")
    with pytest.raises(CommandFailed, match="Exec format error"):
        await spawn(Spawn(argv=[str(empty)], **way))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"limits": {resource.RLIMIT_NOFILE: (20, 10)}}, "cannot set its limits: current limit exceeds maximum limit"),
        ({"death_signal": 999}, "cannot bind it to the daemon: Invalid argument"),
    ],
)
async def test_what_the_launcher_cannot_do_is_told(more, message):
    with pytest.raises(CommandFailed, match=message):
        await spawn(Spawn(argv=["true"], stdout=PIPE, **more))


async def test_a_terminal_of_another_session_cannot_be_given():
    with open_terminal() as terminal:
        async with await spawn(Spawn(argv=["sleep", "60"], terminal=terminal)):
            slave = os.open(terminal.path, os.O_RDWR | os.O_NOCTTY)
            terminal._slave = slave
            if os.geteuid() == 0:  # root may steal it, but only by force
                with pytest.raises(CommandFailed, match="cannot give it the terminal"):
                    await spawn(Spawn(argv=["true"], terminal=terminal))


async def test_descriptors_that_run_out_are_busy_and_come_back(monkeypatch):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd")))
    for spare in range(14):
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare, hard))
        try:
            child = await spawn(Spawn(argv=["true"], stdin=PIPE, stdout=PIPE, stderr=PIPE, **HARMLESS))
        except Busy:
            continue
        else:
            async with child:
                assert (await child.wait()).code == 0
            break
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    else:
        pytest.fail("never enough descriptors")


async def test_a_child_that_cannot_be_watched_is_not_left_behind(monkeypatch):
    def fail(pid):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", fail)
    with pytest.raises(Busy):
        await spawn(Spawn(argv=["sleep", "60"], stdin=PIPE))


async def test_a_cancelled_start_leaves_nothing():
    task = asyncio.create_task(spawn(Spawn(argv=["sleep", "60"], stdin=PIPE, stdout=PIPE, **HARMLESS)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_many_start_at_once_through_the_launcher():
    children = await asyncio.gather(*(spawn(Spawn(argv=["true"], **HARMLESS)) for _ in range(40)))
    assert {(await child.wait()).code for child in children} == {0}


async def test_the_loop_runs_on_while_the_launcher_starts():
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    async with await spawn(Spawn(argv=["true"], **HARMLESS)) as child:
        counting.cancel()
        await child.wait()
    with contextlib.suppress(asyncio.CancelledError):
        await counting
    assert turns > 10


async def test_the_raised_limit_of_open_files_is_the_daemons_alone(monkeypatch):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr("ctld.processes.spawning._OPEN_FILES", 200)  # as if we had raised it since
    assert await output_of("ulimit -S -n; ulimit -H -n", **HARMLESS) == f"200\n{'unlimited' if hard < 0 else hard}\n"
    wanted = {"limits": {resource.RLIMIT_NOFILE: (100, 300)}}
    assert await output_of("ulimit -S -n; ulimit -H -n", **wanted) == "100\n300\n"
    monkeypatch.setattr("ctld.processes.spawning._OPEN_FILES", soft)
    assert await output_of("ulimit -S -n", **HARMLESS) == f"{soft}\n"


@WAYS
async def test_what_the_service_manager_said_is_not_inherited_by_default(monkeypatch, way):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("CTLD_TEST", "here")
    assert await output_of("echo $CTLD_TEST $NOTIFY_SOCKET", **way) == "here\n"
