import asyncio
import os
import signal
import subprocess

import pytest

from ctld.errors import CommandFailed
from ctld.processes import DEVNULL, PIPE, Child, ExitStatus, ProcessIdentity, Spawn, adopt, spawn
from ctld.processes import child as child_module
from tests.procfs import alive


def shell(script: str, **more) -> Spawn:
    return Spawn(argv=["/bin/sh", "-c", script], **more)


async def readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(fd, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(fd)


async def read_line(child: Child) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        await readable(child.stdout)
        line += os.read(child.stdout, 1)
    return line


async def until_dead(pid: int) -> None:
    """Wait for the end of a process that is not ours, by a pidfd of its own."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await readable(pidfd)
    finally:
        os.close(pidfd)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", ExitStatus(0)),
        ("exit 7", ExitStatus(7)),
        ("exit 255", ExitStatus(255)),
        ("kill -TERM $$", ExitStatus(143, signal.SIGTERM)),
        ("kill -KILL $$", ExitStatus(137, signal.SIGKILL)),
    ],
)
async def test_tells_how_it_ended(script, status):
    async with await spawn(shell(script)) as child:
        assert await child.wait() == status
        assert child.status == status


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (ExitStatus(3), "exit code 3"),
        (ExitStatus(143, 15), "killed by SIGTERM"),
        (ExitStatus(128 + 40, 40), "killed by signal 40"),
        (ExitStatus(255, known=False), "ended, nobody knows how"),
    ],
)
def test_a_status_reads_well(status, text):
    assert str(status) == text


async def test_leads_a_group_and_a_session_of_its_own():
    async with await spawn(shell("sleep 60")) as child:
        assert os.getpgid(child.pid) == os.getsid(child.pid) == child.pid
        assert "running" in repr(child)
    assert repr(child) == f"<Child pid={child.pid} killed by SIGKILL>"


async def test_a_cancelled_wait_harms_neither_the_child_nor_other_waiters():
    async with await spawn(shell("sleep 60")) as child:
        first, second = asyncio.create_task(child.wait()), asyncio.create_task(child.wait())
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert alive(child.pid)
        assert child.signal(signal.SIGTERM)
        assert (await second).signal == signal.SIGTERM


async def test_a_cancelled_block_kills_and_reaps():
    started = asyncio.Event()
    pids = []

    async def use():
        async with await spawn(shell("trap '' TERM; sleep 60")) as child:
            pids.append(child.pid)
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ProcessIdentity.of(pids[0]) is None


async def test_callbacks_hear_of_the_end_before_and_after_it():
    heard = []
    async with await spawn(shell("exit 3")) as child:
        child.on_exit(heard.append)
        await child.wait()
        await asyncio.sleep(0)
        child.on_exit(heard.append)
        await asyncio.sleep(0)
    assert heard == [ExitStatus(3), ExitStatus(3)]


async def test_signals_reach_the_whole_group():
    async with await spawn(shell("sleep 60 & echo $!; wait", stdout=PIPE)) as child:
        grandchild = int(await read_line(child))
        assert child.signal(signal.SIGTERM)
        await until_dead(grandchild)
        assert (await child.wait()).signal == signal.SIGTERM


async def test_nobody_is_signalled_after_the_end():
    async with await spawn(shell("exit 0")) as child:
        await child.wait()
        assert child.signal(signal.SIGTERM) is False


async def test_terminate_is_gentle_first():
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done"
    async with await spawn(shell(script, stdout=PIPE)) as child:
        await read_line(child)
        assert await child.terminate(30) == ExitStatus(5)


async def test_terminate_insists_with_a_child_that_does_not_listen():
    async with await spawn(shell("trap '' TERM; echo ready; while :; do sleep 60; done", stdout=PIPE)) as child:
        await read_line(child)
        assert await child.terminate(0.05) == ExitStatus(137, signal.SIGKILL)


async def test_terminate_wakes_a_stopped_child():
    async with await spawn(shell("trap 'exit 6' TERM; echo ready; while :; do sleep 0.01; done", stdout=PIPE)) as child:
        await read_line(child)
        child.signal(signal.SIGSTOP)
        assert await child.terminate(30) == ExitStatus(6)


async def test_terminate_after_the_end_tells_the_status():
    async with await spawn(shell("exit 4")) as child:
        await child.wait()
        assert await child.terminate(1) == ExitStatus(4)


async def test_the_rest_of_the_group_is_killed_when_asked_for():
    async with await spawn(shell("sleep 60 & echo $!; exit 0", stdout=PIPE, kill_group=True)) as child:
        grandchild = int(await read_line(child))
        assert await child.wait() == ExitStatus(0)
        await until_dead(grandchild)


async def test_the_rest_of_the_group_lives_otherwise():
    async with await spawn(shell("sleep 60 & echo $!; exit 0", stdout=PIPE)) as child:
        grandchild = int(await read_line(child))
        await child.wait()
        assert alive(grandchild)
    os.kill(grandchild, signal.SIGKILL)
    await until_dead(grandchild)


async def test_close_is_idempotent_and_the_child_is_reaped():
    child = await spawn(shell("cat", stdin=PIPE, stdout=PIPE, stderr=PIPE))
    child.close()
    child.close()
    assert (child.stdin, child.stdout, child.stderr) == (None, None, None)
    assert (await child.wait()).signal == signal.SIGKILL
    child.close()


async def test_a_pipe_that_was_taken_is_the_callers():
    async with await spawn(shell("echo out; echo err >&2", stdout=PIPE, stderr=PIPE)) as child:
        taken = child.take("stdout")
        assert child.stdout is None
        await child.wait()
    with os.fdopen(taken, "rb") as file:
        assert file.read() == b"out\n"


async def test_kill_now_leaves_nothing_when_it_returns():
    child = await spawn(shell("trap '' TERM; sleep 60", stdin=PIPE))
    child.kill_now()
    assert child.status == ExitStatus(137, signal.SIGKILL)
    assert ProcessIdentity.of(child.pid) is None
    child.kill_now()


async def test_a_refused_signal_is_an_error_and_close_survives_it(monkeypatch):
    def refuse(pid, number):
        raise PermissionError(1, "Operation not permitted")

    async with await spawn(shell("sleep 60")) as child:
        with monkeypatch.context() as patched:
            patched.setattr(child_module.os, "killpg", refuse)
            with pytest.raises(CommandFailed, match=f"not permitted to send SIGHUP to process {child.pid}"):
                child.signal(signal.SIGHUP)
            child.close()
        assert alive(child.pid)


async def test_two_hundred_at_once_are_all_reaped():
    children = [await spawn(shell("exit 9")) for _ in range(200)]
    assert [status.code for status in await asyncio.gather(*(child.wait() for child in children))] == [9] * 200


async def test_where_the_kernel_reaps_the_end_is_seen_and_its_kind_is_not():
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        async with await spawn(shell("read line; exit 3", stdin=PIPE)) as child:
            os.close(child.take("stdin"))
            assert await child.wait() == ExitStatus(255, known=False)
    finally:
        signal.signal(signal.SIGCHLD, before)


async def test_an_adopted_process_is_watched_signalled_and_never_reaped():
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True, stdout=DEVNULL)
    child = adopt(ProcessIdentity.of(stranger.pid))
    assert child.signal(signal.SIGTERM)
    assert await child.wait() == ExitStatus(255, known=False)
    assert child.signal(signal.SIGTERM) is False
    assert stranger.wait() == -signal.SIGTERM


async def test_the_rest_of_an_adopted_group_is_killed_when_asked_for():
    stranger = subprocess.Popen(
        ["/bin/sh", "-c", "sleep 60 & echo $!; read line"], start_new_session=True, stdin=PIPE, stdout=PIPE
    )
    grandchild = int(stranger.stdout.readline())
    child = adopt(ProcessIdentity.of(stranger.pid), kill_group=True)
    stranger.stdin.close()
    await child.wait()
    await until_dead(grandchild)
    stranger.stdout.close()
    stranger.wait()


async def test_a_stranger_with_the_same_number_is_not_killed(monkeypatch):
    stranger = subprocess.Popen(["/bin/sh", "-c", "sleep 60 & echo $!"], start_new_session=True, stdout=PIPE)
    grandchild = int(stranger.stdout.readline())
    child = adopt(ProcessIdentity.of(stranger.pid), kill_group=True)
    another = ProcessIdentity(stranger.pid, child.identity.started + 1, child.identity.boot)
    monkeypatch.setattr(ProcessIdentity, "of", classmethod(lambda cls, pid: another))
    await child.wait()
    assert alive(grandchild)
    os.kill(grandchild, signal.SIGKILL)
    await until_dead(grandchild)
    stranger.communicate()


async def test_a_process_that_is_gone_or_another_is_not_adopted():
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    identity = ProcessIdentity.of(stranger.pid)
    assert adopt(ProcessIdentity(identity.pid, identity.started + 1, identity.boot)) is None
    stranger.kill()
    stranger.wait()
    assert adopt(identity) is None


async def test_a_process_that_leads_no_group_is_not_adopted():
    stranger = subprocess.Popen(["sleep", "60"])
    assert adopt(ProcessIdentity.of(stranger.pid)) is None
    stranger.kill()
    stranger.wait()


async def test_a_process_that_vanishes_during_adoption_is_not_adopted(monkeypatch):
    def vanished(pid):
        raise ProcessLookupError

    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    identity = ProcessIdentity.of(stranger.pid)
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpgid", vanished)
        assert adopt(identity) is None
    stranger.kill()
    stranger.wait()


async def test_a_released_child_lives_and_can_be_adopted():
    child = await spawn(shell("sleep 60", stdin=PIPE))
    child.release()
    assert child.status is None
    assert child.signal(signal.SIGTERM) is False
    assert alive(child.pid)
    again = adopt(child.identity)
    assert again.signal(signal.SIGKILL)
    await again.wait()
    os.waitpid(child.pid, 0)  # noqa: ASYNC222 - it has ended
