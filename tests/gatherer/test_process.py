"""One worker and its parent: good ones, dead ones, liars, and signals at bad moments."""

import asyncio
import logging
import os
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ctld.errors import CommandFailed, NotFound
from ctld.gatherer.process import WorkerFailed, WorkerProcess
from ctld.gatherer.profile import Profile
from ctld.gatherer.replies import Answer, Executed, exec_request, glob_request, noop_request, ping_request
from ctld.gatherer.restarts import Patience
from tests.gatherer.actors import QUICK, actor, eventually, usable_interpreter
from tests.procfs import alive, state_of

ETC = Answer((b"/etc",))


@asynccontextmanager
async def running(profile: Profile | None = None, patience: Patience = QUICK) -> AsyncIterator[WorkerProcess]:
    ended: list[WorkerProcess] = []
    worker = await WorkerProcess.start(profile or Profile(), patience, ended.append)
    assert ended == []
    yield worker
    await worker.stop()
    assert ended == [worker]


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def begun(worker: WorkerProcess, line: bytes = b"sleep 100") -> tuple[asyncio.Task[Answer[Executed]], int]:
    """Have a command run; return the task that waits for it, and the command's process."""
    task = asyncio.create_task(worker.ask(exec_request(line)))
    # Between fork and exec there is a moment in which it has no session of its own yet.
    await eventually(lambda: [os.getsid(child) for child in children(worker.pid)] == children(worker.pid) != [])
    return task, children(worker.pid)[0]


async def abandon(task: asyncio.Task[Answer[Executed]]) -> None:
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


# Starting.


async def test_a_worker_answers_and_counts() -> None:
    async with running() as worker:
        assert not worker.busy
        for _ in range(12):
            assert await worker.ask(glob_request(b"/et[c]")) == ETC
        assert await worker.ask(noop_request()) == Answer(None)
        assert await worker.ask(exec_request(b"echo x; exit 3")) == Answer(Executed(3, b"x\n", b""))
        assert worker.requests == 14
        assert worker.resident > 1_000_000
        assert str(worker.pid) in repr(worker)
    assert worker.ended_well
    assert worker.resident == 0
    with pytest.raises(WorkerFailed, match="exit code 0"):
        await worker.ask(noop_request())
    assert not await worker.probe()


async def test_without_descriptors_nothing_is_known_of_a_workers_memory() -> None:
    async with running() as worker:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            assert worker.resident == 0
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("role", "message"),
    [
        ("say(b'#1#\\n'); hear()", "broke the protocol"),
        ("say(b'hello\\n'); hear()", "broke the protocol"),
        ("say(b'#0#\\n#1#\\n'); hear()", "broke the protocol"),
        ("mutter(b'no luck today\\n'); sys.exit(3)", "ended: exit code 3"),
        ("os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("os.close(1); sys.exit(4)", "ended: exit code 4"),
        ("say(b'x' * 100_000_000)", "broke the protocol: the returns are too long"),
    ],
)
async def test_what_does_not_start_well_is_refused(tmp_path: Path, role: str, message: str) -> None:
    profile = Profile(python=actor(tmp_path / "actor", role), max_response=4096)
    with pytest.raises(WorkerFailed, match=message) as caught:
        await WorkerProcess.start(profile, QUICK, lambda _: None)
    if "luck" in role:
        assert caught.value.fields["stderr"] == "no luck today\n"
        assert (caught.value.fields["status"], caught.value.fields["signal"]) == (3, 0)


async def test_a_silent_start_ends(tmp_path: Path) -> None:
    profile = Profile(python=actor(tmp_path / "actor", "hear()"))
    with pytest.raises(WorkerFailed, match=r"said nothing within 0\.1 s"):
        await WorkerProcess.start(profile, Patience(start=0.1, grace=20), lambda _: None)


async def test_a_cancelled_start_leaves_nothing(tmp_path: Path) -> None:
    profile = Profile(python=actor(tmp_path / "actor", f"open({str(tmp_path / 'mark')!r}, 'w'); hear()"))
    task = asyncio.create_task(WorkerProcess.start(profile, QUICK, lambda _: None))
    await eventually((tmp_path / "mark").exists)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_missing_interpreter(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        await WorkerProcess.start(Profile(python=str(tmp_path / "none")), QUICK, lambda _: None)


# Ending while a request runs.


async def test_kill_9_tells_who_waits() -> None:
    ended: list[WorkerProcess] = []
    worker = await WorkerProcess.start(Profile(), QUICK, ended.append)
    task, command = await begun(worker)
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(WorkerFailed, match="killed by SIGKILL") as caught:
        await task
    assert caught.value.fields["signal"] == 9
    assert ended == [worker]
    assert not worker.ended_well
    await worker.interrupt()
    await worker.stop()
    # Nobody reads its output any more, but it has its own session: only itself can end it.
    os.killpg(command, signal.SIGKILL)


async def test_the_last_words_come_along(tmp_path: Path) -> None:
    role = "say(b'#0#\\n'); hear(); mutter(b'a' * 9000 + b'\\nTraceback: why\\n'); sys.exit(1)"
    profile = Profile(python=actor(tmp_path / "actor", role))
    async with running(profile) as worker:
        with pytest.raises(WorkerFailed, match="exit code 1") as caught:
            await worker.ask(noop_request())
    said = caught.value.fields["stderr"]
    assert len(said) == 8192
    assert said.endswith("aaa\nTraceback: why\n")


async def test_an_answer_and_the_end_in_one_breath(tmp_path: Path) -> None:
    role = "say(b'#0#\\n'); hear(); say(b'#1#\\n'); sys.exit(0)"
    async with running(Profile(python=actor(tmp_path / "actor", role))) as worker:
        assert await worker.ask(noop_request()) == Answer(None)
        await eventually(lambda: worker.failure is not None)
        with pytest.raises(WorkerFailed):
            await worker.ask(noop_request())


@pytest.mark.parametrize(
    ("act", "message"),
    [
        ("say(b'nonsense\\n')", "broke the protocol"),
        ("say(b'#7#\\n')", "broke the protocol"),
        ("mutter(b'UNKNOWN COMMAND\\n')", "did not understand"),
        ("say(b'1\\n' + b'x' * 10_000)", "too long"),
        ("os.kill(os.getpid(), 15)", "killed by SIGTERM"),
    ],
)
async def test_nonsense_costs_the_worker_its_life(tmp_path: Path, act: str, message: str) -> None:
    profile = Profile(
        python=actor(tmp_path / "actor", f"say(b'#0#\\n'); hear(); {act}; hear(); hear()"), max_response=4096
    )
    async with running(profile) as worker:
        with pytest.raises(WorkerFailed, match=message):
            await worker.ask(glob_request(b"/*"))
        await eventually(lambda: not alive(worker.pid))
    assert not worker.ended_well


async def test_speaking_out_of_turn(tmp_path: Path) -> None:
    role = "signal.signal(signal.SIGUSR1, lambda *_: say(b'#1#\\n')); say(b'#0#\\n')\nwhile True: hear()"
    async with running(Profile(python=actor(tmp_path / "actor", role))) as worker:
        os.kill(worker.pid, signal.SIGUSR1)
        await eventually(lambda: worker.failure is not None)
        assert "out of turn" in str(worker.failure)
        await eventually(lambda: not alive(worker.pid))


# Interrupting.


async def test_an_interrupted_worker_goes_on() -> None:
    async with running() as worker:
        pid = worker.pid
        for _ in range(5):
            task, command = await begun(worker)
            await abandon(task)
            assert worker.busy
            await worker.interrupt()
            assert not alive(command)
            assert not worker.busy
            assert not worker.retired
            assert await worker.ask(glob_request(b"/et[c]")) == ETC
        assert worker.pid == pid
        await worker.interrupt()  # with nothing to do


async def test_sigint_waits_until_the_request_is_read(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with running(patience=Patience(grace=20)) as worker:
        os.kill(worker.pid, signal.SIGSTOP)
        await eventually(lambda: state_of(worker.pid) == "T")
        task = asyncio.create_task(worker.ask(exec_request(b"sleep 100; touch %b" % os.fsencode(mark))))
        await asyncio.sleep(0)
        await abandon(task)
        ending = asyncio.create_task(worker.interrupt())
        await asyncio.wait([ending], timeout=0.05)
        assert not ending.done()
        os.kill(worker.pid, signal.SIGCONT)
        await ending
        assert not worker.retired
        assert await worker.ask(glob_request(b"/et[c]")) == ETC
        assert worker.requests == 2
    assert not mark.exists()


async def test_a_request_that_the_pipe_cannot_hold(tmp_path: Path) -> None:
    async with running() as worker:
        assert await worker.ask(glob_request(b"/" + b"x" * 1_000_000)) == Answer(())
        os.kill(worker.pid, signal.SIGSTOP)
        await eventually(lambda: state_of(worker.pid) == "T")
        task = asyncio.create_task(worker.ask(exec_request(b"x" * 1_000_000)))
        await asyncio.sleep(0)
        await abandon(task)
        await worker.interrupt()  # cannot be read within the grace
        assert not alive(worker.pid)
        assert worker.ended_well


async def test_a_stopped_worker_is_killed_with_its_command() -> None:
    async with running() as worker:
        task, command = await begun(worker, b"sleep 100 & sleep 100")
        os.kill(worker.pid, signal.SIGSTOP)
        await abandon(task)
        await worker.interrupt()
        assert not alive(worker.pid)
        await eventually(lambda: not alive(command))
        assert worker.ended_well  # because we wanted it to


async def test_returns_that_come_nevertheless_retire_the_worker(tmp_path: Path) -> None:
    role = "signal.signal(signal.SIGINT, lambda *_: say(b'0\\n#1#\\n')); say(b'#0#\\n')\nwhile True: hear()"
    async with running(Profile(python=actor(tmp_path / "actor", role))) as worker:
        task = asyncio.create_task(worker.ask(glob_request(b"/*")))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await worker.interrupt()
        assert worker.retired
        assert worker.failure is None


async def test_a_death_while_interrupting(tmp_path: Path) -> None:
    role = "signal.signal(signal.SIGINT, lambda *_: os._exit(5)); say(b'#0#\\n')\nwhile True: hear()"
    async with running(Profile(python=actor(tmp_path / "actor", role))) as worker:
        task, _ = asyncio.create_task(worker.ask(glob_request(b"/*"))), await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await worker.interrupt()
        assert worker.retired
        assert "exit code 5" in str(worker.failure)


# Probing.


async def test_probes_idle_busy_and_stopped() -> None:
    async with running(patience=Patience(probe=20)) as worker:
        assert await worker.probe()
        assert await worker.ask(ping_request()) == Answer(None)  # an ALIVE that nobody waits for
        task, _ = await begun(worker)
        assert await worker.probe()
        assert all(await asyncio.gather(*(worker.probe() for _ in range(30))))  # many signals are one
        await abandon(task)
        await worker.interrupt()
        assert not worker.stuck


async def test_a_stopped_worker_is_stuck_until_it_goes_on() -> None:
    async with running(patience=Patience(probe=0.1)) as worker:
        os.kill(worker.pid, signal.SIGSTOP)
        assert not await worker.probe()
        assert worker.stuck
        os.kill(worker.pid, signal.SIGCONT)
        await eventually(lambda: state_of(worker.pid) == "S")
        assert await worker.probe()
        assert not worker.stuck


async def test_a_probe_of_one_that_dies(tmp_path: Path) -> None:
    role = "signal.signal(signal.SIGUSR1, lambda *_: os._exit(5)); say(b'#0#\\n')\nwhile True: hear()"
    async with running(Profile(python=actor(tmp_path / "actor", role)), Patience(probe=20)) as worker:
        assert not await worker.probe()


# Stopping.


@pytest.mark.parametrize(
    ("role", "status"),
    [
        ("say(b'#0#\\n'); hear()", 0),
        ("say(b'#0#\\n')\nwhile True: time.sleep(100)", 128 + signal.SIGTERM),
        ("signal.signal(15, signal.SIG_IGN); say(b'#0#\\n')\nwhile True: time.sleep(100)", 128 + signal.SIGKILL),
    ],
)
async def test_stopping_insists(tmp_path: Path, role: str, status: int) -> None:
    ended: list[WorkerProcess] = []
    worker = await WorkerProcess.start(Profile(python=actor(tmp_path / "actor", role)), QUICK, ended.append)
    await worker.stop()
    assert ended == [worker]
    assert worker.ended_well
    assert worker.failure is not None
    assert worker.failure.fields["status"] == status


async def test_one_that_cannot_be_killed_is_let_go(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As with one that sleeps in the kernel, or that runs as somebody whom we may not signal."""
    ended: list[WorkerProcess] = []
    worker = await WorkerProcess.start(Profile(), QUICK, ended.append)

    def refuse(group: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    with caplog.at_level(logging.ERROR, "ctld.gatherer"):
        await worker.kill()
    assert "cannot be killed" in caplog.text
    assert ended == [worker]
    monkeypatch.undo()
    await eventually(lambda: not Path(f"/proc/{worker.pid}").exists())  # its pipes were closed; it is reaped as ever
    assert ended == [worker]


async def test_what_a_worker_says_is_logged_on_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    role = "say(b'#0#\\n'); hear(); mutter(b'odd \\x1b[31m\\n#0# INTERRUPTED\\nhalf'); say(b'#1#\\n'); hear()"
    with caplog.at_level(logging.INFO, "ctld.gatherer"):
        async with running(Profile(python=actor(tmp_path / "actor", role))) as worker:
            await worker.ask(noop_request())
            await eventually(lambda: bool(caplog.records))
    assert len(caplog.records) == 1
    assert r"b'odd \x1b[31m'" in caplog.text


async def test_a_worker_of_another_user(tmp_path: Path) -> None:
    interpreter = usable_interpreter()
    profile = Profile(python=interpreter, user="nobody", nice=7, forbid=("/etc/ssl",), memory=2**30)
    async with running(profile) as worker:
        answer = await worker.ask(exec_request(b"id -un; id -G; nice; ulimit -v; ulimit -c; umask; pwd; env | wc -l"))
        name, groups, nice, memory, core, umask, home, variables = answer.value.output.decode().split("\n")[:8]
        assert (name, nice, memory, core, umask, home) == ("nobody", "7", str(2**20), "0", "0077", "/")
        assert "0" not in groups.split()
        assert int(variables) <= 4  # PATH, LC_ALL, and what the shell adds
        assert Path(f"/proc/{worker.pid}").stat().st_uid == 65534
        denied = await worker.ask(exec_request(b"cat /etc/shadow"))
        assert denied.value.status == 1


async def test_without_the_right_to_become_somebody_else(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed):
        await WorkerProcess.start(Profile(user="no-such-user-here"), QUICK, lambda _: None)


async def test_a_worker_writes_no_core_file():
    """It would hold what the worker has read."""
    worker = await WorkerProcess.start(Profile(), Patience(), lambda worker: None)
    try:
        assert resource.prlimit(worker.pid, resource.RLIMIT_CORE) == (0, 0)
    finally:
        await worker.kill()
