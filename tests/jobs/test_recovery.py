"""`kill -9` of the daemon, at any moment: nothing lost, nothing doubled, no job file harmed."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ctld.errors import CommandFailed
from ctld.jobs import recovery
from ctld.jobs.freezer import Freezer
from ctld.jobs.ledger import Ledger
from ctld.jobs.state import State
from ctld.processes import Child
from tests.jobs.cgroups import FakeTree, kernel_cgroup
from tests.native import until

__all__ = ["kernel_cgroup"]

ROOT = Path(__file__).parents[2]

# A daemon to be killed.  It says "up" once each of its processes has a pid.
DAEMON = """
import asyncio, sys
from ctld.jobs.store import JobStore
from ctld.jobs.supervisor import Supervisor

async def main():
    supervisor = Supervisor(JobStore(sys.argv[1]), sys.argv[2], directory=sys.argv[3])
    await supervisor.start()
    if "orderly" in sys.argv:
        await supervisor.close(leave_running=True)
        return
    if "early" in sys.argv:
        print("up", flush=True)
    while not all(process.pid for job in supervisor.jobs() for process in job.processes):
        await asyncio.sleep(0.005)
    for name in sys.argv[5:]:
        supervisor.stop_job(name)
    print("up", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def daemon(lab, *words: str) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", DAEMON, lab.store.directory, lab.state, str(lab.work), *words]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=ROOT)


def run_and_kill(lab, *words: str, after: float = 0.0) -> None:
    process = daemon(lab, *(words or ("normal",)))
    assert process.stdout.readline() == b"up\n"
    if after:
        with_patience = subprocess.run(["sleep", str(after)], check=True)
        assert with_patience.returncode == 0
    process.kill()
    process.communicate()


def running(lab) -> list[int]:
    """The processes that work in the lab's directory."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                if os.readlink(path / "cwd") == str(lab.work):
                    found.append(int(path.name))
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
    return sorted(found)


def pids_of(supervisor) -> list[int]:
    return sorted(process.pid for job in supervisor.jobs() for process in job.processes if process.pid)


async def test_what_lives_is_taken_over_and_nothing_is_doubled(lab):
    for number in range(10):
        lab.file(f"job{number}", "sleep 60", autoStart=True, procNr=2)
    run_and_kill(lab)
    before = running(lab)
    assert len(before) == 20
    files = lab.store.scan()
    supervisor = await lab.supervise()
    assert pids_of(supervisor) == before == running(lab)
    assert lab.store.scan() == files
    for job in supervisor.jobs():
        assert all(process.adopted for process in job.processes)
        await supervisor.wait_for(job.name, "running")
    assert supervisor.info("job3").processes[1].uptime < 60
    supervisor.restart_job("job3")
    await supervisor.wait_for("job3", "running")
    assert not any(process.adopted for process in supervisor.info("job3").processes)
    assert len(running(lab)) == 20
    await supervisor.close()
    assert running(lab) == []


@pytest.mark.parametrize("after", [0.001, 0.01, 0.02, 0.04])
async def test_a_daemon_killed_while_it_starts_jobs_loses_none(lab, after):
    for number in range(40):
        lab.file(f"job{number}", "sleep 60", autoStart=True, limits={"core": 0} if number % 4 == 0 else {})
    run_and_kill(lab, "early", after=after)
    supervisor = await lab.supervise()
    await lab.until(supervisor, lambda: len(pids_of(supervisor)) == 40)
    async with asyncio.timeout(10):  # what was about to become a process sees that nobody wants it
        while pids_of(supervisor) != running(lab):
            await asyncio.sleep(0.01)


async def test_a_process_that_was_started_but_not_noted_is_found_by_its_token(lab):
    lab.file("web", "sleep 60", autoStart=True)
    run_and_kill(lab)
    (pid,) = running(lab)
    (path,) = Path(lab.state).glob("*.json")
    ledger = Ledger(lab.state)
    (entry,) = ledger.entries()
    path.write_text(path.read_text().replace(f'"pid":{pid}', '"pid":1'))
    (entry,) = ledger.entries()
    ledger.write(
        type(entry)(**{field: getattr(entry, field) for field in entry.__struct_fields__} | {"identity": None})
    )
    supervisor = await lab.supervise()
    assert pids_of(supervisor) == [pid] == running(lab)


async def test_a_job_that_was_stopping_is_stopped(lab):
    lab.file("deaf", "sh -c \"trap '' TERM; while :; do sleep 0.05; done\"", autoStart=True, stopTime=2)
    process = daemon(lab, "normal", "deaf")
    assert process.stdout.readline() == b"up\n"
    process.kill()
    process.communicate()
    supervisor = await lab.supervise()
    info = supervisor.info("deaf")
    assert (info.desired, info.processes[0].state) in [(False, State.STOPPING), (True, State.STARTING)]
    supervisor.kill_job("deaf")
    await supervisor.wait_for("deaf", "stopped")


async def test_a_restart_that_was_under_way_is_finished(lab):
    lab.file("web", "sleep 60", autoStart=True)
    run_and_kill(lab)
    ledger = Ledger(lab.state)
    (entry,) = ledger.entries()
    fields = {field: getattr(entry, field) for field in entry.__struct_fields__}
    ledger.write(type(entry)(**fields | {"stopping": True, "again": True}))
    supervisor = await lab.supervise()
    await supervisor.wait_for("web", "running")
    assert pids_of(supervisor) != [entry.identity.pid]
    assert len(running(lab)) == 1


async def test_what_nobody_wants_any_more_is_stopped_before_anything_starts(lab):
    for name in ("gone", "changed", "fewer", "same"):
        lab.file(name, "sleep 60", autoStart=True, procNr=2 if name == "fewer" else 1)
    run_and_kill(lab)
    before = set(running(lab))
    lab.store.remove("gone")
    lab.file("changed", "sleep 61", autoStart=True)
    lab.file("fewer", "sleep 60", autoStart=True)
    supervisor = await lab.supervise()
    assert set(running(lab)) <= before
    await supervisor.wait_for("changed", "running")
    kept = set(pids_of(supervisor))
    assert kept == set(running(lab))
    assert len(kept) == 3
    assert len(kept & before) == 2


async def test_a_changed_policy_is_no_reason_to_stop(lab):
    lab.file("web", "sleep 60", autoStart=True)
    run_and_kill(lab)
    before = running(lab)
    lab.file("web", "sleep 60", autoStart=True, restartTimes=9, stopSig=2)
    supervisor = await lab.supervise()
    assert running(lab) == before == pids_of(supervisor)


async def test_the_end_of_a_process_that_was_taken_over_counts_as_unexpected(lab):
    lab.file("web", "sleep 60", autoStart=True)
    run_and_kill(lab)
    supervisor = await lab.supervise()
    await supervisor.wait_for("web", "running")
    (before,) = running(lab)
    supervisor.signal_job("web", signal.SIGTERM)
    await lab.until(supervisor, lambda: pids_of(supervisor) not in ([], [before]))
    assert "web/0: Process stopped unexpectedly! (ended, nobody knows how)" in lab.events


async def test_what_died_without_a_daemon_is_started_again(lab):
    lab.file("web", "sleep 60", autoStart=True, procNr=2)
    run_and_kill(lab)
    first, second = running(lab)
    os.kill(first, signal.SIGKILL)
    pidfd = os.pidfd_open(first) if Path(f"/proc/{first}").exists() else -1
    if pidfd >= 0:
        os.close(pidfd)
    supervisor = await lab.supervise()
    await supervisor.wait_for("web", "running")
    assert len(running(lab)) == 2
    assert second in pids_of(supervisor)


async def test_a_pid_that_belongs_to_a_stranger_now_is_left_alone(lab):
    lab.file("web", "sleep 60", autoStart=True)
    run_and_kill(lab)
    ledger = Ledger(lab.state)
    (entry,) = ledger.entries()
    os.kill(entry.identity.pid, signal.SIGKILL)
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    identity = type(entry.identity)(stranger.pid, entry.identity.started - 1, entry.identity.boot)
    fields = {field: getattr(entry, field) for field in entry.__struct_fields__}
    ledger.write(type(entry)(**fields | {"identity": identity}))
    supervisor = await lab.supervise()
    await supervisor.wait_for("web", "running")
    assert supervisor.info("web").processes[0].pid != stranger.pid
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


async def test_output_goes_on_without_a_daemon(lab):
    lab.file("tick", "sh -c 'while :; do echo tick; sleep 0.01; done'", autoStart=True, stdout="out")
    run_and_kill(lab)
    size = (lab.work / "0_out").stat().st_size
    async with asyncio.timeout(10):
        while (lab.work / "0_out").stat().st_size <= size:
            await asyncio.sleep(0.005)
    await lab.supervise()


async def test_an_orderly_daemon_can_leave_its_jobs_to_the_next(lab):
    for number in range(5):
        lab.file(f"job{number}", "sleep 60", autoStart=True, limits={"core": 0} if number else {})
    process = daemon(lab, "orderly")
    process.communicate()
    assert process.returncode == 0
    before = running(lab)
    assert len(before) == 5
    supervisor = await lab.supervise()
    assert pids_of(supervisor) == before


async def test_what_may_not_be_signalled_is_left_alone(lab, monkeypatch):
    lab.file("web", "sleep 60", autoStart=True)
    run_and_kill(lab)
    lab.store.remove("web")
    (before,) = running(lab)

    async def refuse(child, grace, number):
        raise CommandFailed("not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(Child, "terminate", refuse)
        ledger = Ledger(lab.state)
        await recovery.recover(ledger, lambda name: None, Freezer())
    assert ledger.entries() == []
    assert running(lab) == [before]
    os.kill(before, signal.SIGKILL)


@pytest.mark.parametrize("freezes", ["files", "kernel"])
@pytest.mark.parametrize("why", ["nobody wants it", "it was stopping"])
async def test_what_an_earlier_daemon_left_frozen_hears_that_it_shall_stop(lab, tmp_path, request, freezes, why):
    script = "trap 'echo bye > words; exit 0' TERM; sleep 60 & echo ready > ready; wait"
    if freezes == "kernel":
        folder = request.getfixturevalue("kernel_cgroup")
        lab.freezer = Freezer(cgroups=folder.parent)
        script = f"echo $$ > {folder}/cgroup.procs; {script}"
    (lab.work / "script").write_text(f"{script}\n")
    lab.file("web", "sh script", autoStart=True, stopTime=60, restart=0)
    run_and_kill(lab)
    (entry,) = Ledger(lab.state).entries()
    if freezes == "files":
        tree = FakeTree(tmp_path / "cgroups")
        folder, lab.freezer = tree.put(entry.identity.pid, "/web"), tree.freezer
    await until((lab.work / "ready").exists)
    assert lab.freezer.freeze(lab.freezer.cgroups_of([entry.identity.pid]))
    if why == "nobody wants it":
        lab.store.remove("web")
    else:
        fields = {field: getattr(entry, field) for field in entry.__struct_fields__}
        Ledger(lab.state).write(type(entry)(**fields | {"stopping": True}))
    supervisor = await lab.supervise()
    if why == "it was stopping":
        await supervisor.wait_for("web", "stopped")
    assert (folder / "cgroup.freeze").read_text().strip() == "0"
    await until(lambda: running(lab) == [])  # its child, too
    assert (lab.work / "words").read_text() == "bye\n"
