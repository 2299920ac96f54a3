"""One process: what its environment does to it when things go wrong.  Its life is in `test_supervisor.py`."""

import asyncio
import os
import signal

import msgspec
import pytest

from ctld.errors import CommandFailed
from ctld.jobs import process as process_module
from ctld.jobs.jobfile import JobSpec
from ctld.jobs.ledger import Ledger
from ctld.jobs.process import JobProcess, World, exec_digest
from ctld.jobs.state import Input, Policy, State

FAST = Policy(start_time=0.2, stop_time=0.2, restart_times=0)


@pytest.fixture
def world(tmp_path):
    ledger = Ledger(str(tmp_path / "state"))
    ledger.open()
    return World(str(tmp_path), ledger, asyncio.Semaphore(1), dict(os.environ), lambda event: None, lambda: None)


def make(world: World, command: str = "sleep 60", **keys) -> JobProcess:
    return JobProcess("web", 0, JobSpec(command=command, policy=FAST, **keys), world)


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.002)


async def end(process: JobProcess) -> None:
    process.feed(Input.KILL)
    await until(lambda: not process.state.is_up)


async def test_a_full_disk_keeps_a_job_from_starting_and_says_so(world, monkeypatch):
    def full(entry):
        raise OSError(28, "No space left on device")

    process = make(world)
    monkeypatch.setattr(Ledger, "write", lambda ledger, entry: full(entry))
    process.feed(Input.START)
    await until(lambda: process.state is State.BADSTOP)
    assert process.info().message == "Failed to start. (cannot open a file: No space left on device)"


async def test_a_disk_that_fills_up_later_does_not_stop_a_job(world, monkeypatch, caplog):
    process = make(world)
    process.feed(Input.START)
    await until(lambda: process.pid is not None)

    def full(ledger, entry):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Ledger, "write", full)
    process.feed(Input.STOP)
    await until(lambda: process.state is State.STOPPED)
    assert "cannot be noted" in caplog.text


async def test_a_defect_in_starting_is_logged_and_no_end_of_the_world(world, monkeypatch, caplog):
    async def broken(spec):
        raise RuntimeError("a defect")

    monkeypatch.setattr(process_module, "spawn", broken)
    process = make(world)
    process.feed(Input.START)
    await until(lambda: process.state is State.BADSTOP)
    assert "RuntimeError: a defect" in caplog.text


async def test_a_stop_cancels_a_start_that_is_under_way(world, monkeypatch):
    entered = asyncio.Event()

    async def slow(spec):
        entered.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(process_module, "spawn", slow)
    process = make(world)
    process.feed(Input.START)
    await entered.wait()
    process.feed(Input.STOP)
    assert process.state is State.STOPPING
    await until(lambda: process.state is State.STOPPED)
    assert world.ledger.entries() == []


async def test_what_may_not_be_signalled_says_so(world, monkeypatch, caplog):
    process = make(world)
    process.feed(Input.START)
    await until(lambda: process.pid is not None)

    def refuse(child, number):
        raise CommandFailed("not permitted to send SIGTERM")

    with monkeypatch.context() as patched:
        patched.setattr(process_module.Child, "signal", refuse)
        process.feed(Input.STOP)
    assert "not permitted to send SIGTERM" in caplog.text
    assert process.state is State.STOPPING
    await end(process)


async def test_a_pause_holds_a_restart_back(world):
    process = make(world, "false")
    process.spec = msgspec.structs.replace(process.spec, policy=Policy(start_time=0.1, restart_times=1))
    process.feed(Input.START)
    await until(lambda: process.state is State.BADSTOP)
    assert process.info().retry_in is not None
    process.pause()
    process.pause()
    await asyncio.sleep(0.2)
    assert process.state is State.BADSTOP
    process.resume()
    process.resume()
    await until(lambda: process.info().restarts == 1)
    await until(lambda: process.state is State.BADSTOP)


async def test_a_wish_ends_a_pause(world):
    process = make(world)
    process.feed(Input.START)
    await until(lambda: process.pid is not None)
    process.pause()
    process.feed(Input.REPAIR)
    await until(lambda: process.state is State.ALIVE)
    await end(process)


async def test_release_leaves_the_process_alive_and_noted(world):
    process = make(world)
    process.feed(Input.START)
    await process.release()
    (entry,) = world.ledger.entries()
    assert entry.identity.is_current()
    assert entry.digest == exec_digest(process.spec)
    assert process.pid is None
    os.kill(entry.identity.pid, signal.SIGKILL)
    os.waitpid(entry.identity.pid, 0)  # noqa: ASYNC222 - it was killed
    await process.release()


async def test_there_is_nothing_to_signal_without_a_process(world):
    assert make(world).signal(signal.SIGHUP) is False


async def test_the_restarts_that_are_left_are_noted(world):
    process = make(world)
    process.spec = msgspec.structs.replace(process.spec, policy=Policy(restart_times=7))
    process.feed(Input.START)
    await until(lambda: process.pid is not None)
    (entry,) = world.ledger.entries()
    assert (entry.job, entry.index, entry.budget, entry.stopping) == ("web", 0, 7, False)
    process.feed(Input.STOP)
    process.feed(Input.START)
    (entry,) = world.ledger.entries()
    assert (entry.stopping, entry.again) == (True, True)
    await end(process)
    assert world.ledger.entries() == []
