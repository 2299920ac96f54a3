"""The wishes of a job, with processes that only note what they are fed."""

import asyncio
import os
import signal
from types import SimpleNamespace

import pytest

from ctld.errors import CommandFailed
from ctld.jobs import job as job_module
from ctld.jobs.freezer import Freezer
from ctld.jobs.job import Job
from ctld.jobs.jobfile import JobSpec
from ctld.jobs.snapshot import ProcessInfo
from ctld.jobs.state import Input, State
from tests.jobs.cgroups import FakeTree, kernel_cgroup
from tests.native import until

__all__ = ["kernel_cgroup"]


class Puppet:
    """A process that does nothing by itself."""

    def __init__(self, name, index, spec, world):
        self.index, self.spec = index, spec
        self.state = State.STOPPED
        self.pid = None
        self.fed = []
        self.suspended = False

    def feed(self, event):
        self.fed.append(event)
        if event is Input.START:
            self.state = State.ALIVE
        elif event in (Input.STOP, Input.KILL) and self.state.is_up:
            self.state = State.STOPPING

    def pause(self):
        self.suspended = True

    def resume(self):
        self.suspended = False

    def info(self):
        return ProcessInfo(index=self.index, state=self.state)


@pytest.fixture
def job(monkeypatch):
    monkeypatch.setattr(job_module, "JobProcess", Puppet)
    world = SimpleNamespace(freezer=Freezer())
    return Job("web", JobSpec(command="old", processes=2), world)


def fed(job) -> list[list[Input]]:
    return [process.fed for process in job.processes]


def test_start_and_stop_reach_every_process_once(job):
    assert job.start({}) is True
    assert job.start({}) is False
    assert fed(job) == [[Input.START]] * 2
    assert job.stop() is True
    assert job.stop() is False
    assert job.info().is_up


def test_it_waits_for_what_it_depends_on(job):
    job.start({"db": ""})
    assert fed(job) == [[], []]
    assert job.info().waits_for == {"db": ""}
    job.repair()
    job.go_on({"db": "has failed"})
    assert fed(job) == [[], []]
    job.go_on({})
    job.go_on({})
    assert fed(job) == [[Input.START]] * 2


def test_a_stop_ends_the_waiting(job):
    job.start({"db": ""})
    job.stop()
    job.go_on({})
    assert fed(job) == [[Input.STOP]] * 2


def test_kill_reaches_what_is_still_stopping(job):
    assert job.kill() is False
    job.start({})
    job.stop()
    assert job.kill() is True
    assert fed(job)[0] == [Input.KILL, Input.START, Input.STOP, Input.KILL]


def test_repair_needs_a_running_job(job):
    with pytest.raises(CommandFailed, match=r'"web" not running\.'):
        job.repair()
    job.start({})
    job.repair()
    assert fed(job)[1] == [Input.START, Input.REPAIR]


def test_pause_needs_a_process_and_any_wish_ends_it(job):
    with pytest.raises(CommandFailed, match="job 'web' is not running"):
        job.pause()
    job.start({})
    assert job.pause() is True
    assert job.pause() is False
    assert all(process.suspended for process in job.processes)
    assert job.resume() is True
    assert job.resume() is False
    job.pause()
    job.stop()
    assert job.info().paused is False


def test_a_replacement_waits_for_the_end_of_the_processes(job):
    job.start({})
    old = job.processes
    job.replace(JobSpec(command="new", processes=3), restart=True)
    assert job.settle() is False
    assert job.target.command == "new"
    assert job.spec.command == "old"
    assert job.info().leaving == "replaced"
    for process in old:
        process.state = State.STOPPED
    assert job.settle() is True
    assert [process.spec.command for process in job.processes] == ["new"] * 3
    assert job.desired is False
    job.begin()
    assert fed(job) == [[]] * 3
    assert job.settle() is False


def test_a_start_during_the_replacement_is_for_the_new_one(job):
    job.start({})
    old = job.processes
    job.replace(JobSpec(command="new"), restart=True)
    assert job.start({"db": ""}) is True
    job.go_on({})
    job.repair()
    assert old[0].fed == [Input.START, Input.STOP]
    for process in old:
        process.state = State.STOPPED
    job.settle()
    job.begin()
    assert fed(job) == [[Input.START]]


def test_a_change_that_needs_no_restart_reaches_the_living(job):
    job.start({})
    job.replace(JobSpec(command="old", processes=2, log_backups=9), restart=False)
    assert {process.spec.log_backups for process in job.processes} == {9}
    assert fed(job) == [[Input.START]] * 2


def test_what_is_on_its_way_out_does_not_start_unless_it_is_brought_back(job):
    job.start({})
    job.remove()
    assert job.info().leaving == "removed"
    with pytest.raises(CommandFailed, match="job 'web' is being removed"):
        job.start({})
    job.bring_back(JobSpec(command="new"))
    assert job.info().leaving == "replaced"
    assert job.start({}) is True


@pytest.mark.parametrize(
    ("stopping", "again", "desired", "events"),
    [
        (False, False, True, []),
        (True, False, False, [Input.STOP]),
        (True, True, True, [Input.STOP, Input.START]),
    ],
)
def test_what_an_earlier_daemon_meant_is_gone_on_with(job, stopping, again, desired, events):
    job.take_over(1, stopping=stopping, again=again)
    assert job.desired is desired
    assert fed(job) == [[], events]


# Its last words are what its cgroup's switch says when it hears the signal.
LAST_WORDS = "trap 'cat {switch} > words; exit 7' TERM; sleep 60 & echo ready > ready; wait"


class Frozen:
    """A job that notes how it is stopped, in a cgroup that is frozen."""

    def __init__(self, lab, folder, freezer):
        self.lab, self.folder = lab, folder
        self.freezer = lab.freezer = freezer
        self.switch = folder / "cgroup.freeze"
        self.words, self.ready = lab.work / "words", lab.work / "ready"
        self.supervisor = None

    async def run(self, enter="", **keys):
        (self.lab.work / "script").write_text(f"{enter}\n{LAST_WORDS.format(switch=self.switch)}\n")
        self.lab.file("web", "sh script", **{"stopTime": 60, "restart": 0, **keys})
        self.supervisor = await self.lab.supervise()
        self.supervisor.start_job("web")
        await self.supervisor.wait_for("web", "running")
        await until(self.ready.exists)

    @property
    def pid(self):
        return self.supervisor.info("web").processes[0].pid

    def freeze(self):
        assert self.freezer.freeze(self.freezer.cgroups_of([self.pid]))


class FrozenByFiles(Frozen):
    """The switch is a file, and nothing is frozen by it: what shows is when it was written."""

    def __init__(self, lab, tree):
        super().__init__(lab, tree.cgroups / "web", tree.freezer)
        self._tree = tree

    async def run(self, enter="", **keys):
        await super().run(enter, **keys)
        self._tree.put(self.pid, "/web")


class FrozenByTheKernel(Frozen):
    def __init__(self, lab, folder):
        super().__init__(lab, folder, Freezer(cgroups=folder.parent))

    async def run(self, enter="", **keys):
        await super().run(f"echo $$ > {self.folder}/cgroup.procs", **keys)

    def freeze(self):
        super().freeze()
        while "frozen 1" not in (self.folder / "cgroup.events").read_text():
            os.sched_yield()


@pytest.fixture(params=["files", "kernel"])
def frozen(request, lab, tmp_path):
    if request.param == "files":
        return FrozenByFiles(lab, FakeTree(tmp_path / "cgroups"))
    return FrozenByTheKernel(lab, request.getfixturevalue("kernel_cgroup"))


async def test_f6_a_frozen_job_is_thawed_to_hear_that_it_shall_stop(frozen):
    await frozen.run()
    frozen.freeze()
    frozen.supervisor.stop_job("web")
    stopped = await frozen.supervisor.wait_for("web", "stopped")
    assert stopped.processes[0].last_exit == "exit code 7"
    assert frozen.words.read_text().strip() == "0"


async def test_f6_a_frozen_job_is_thawed_to_start_anew(frozen):
    await frozen.run()
    first = frozen.pid
    frozen.freeze()
    frozen.ready.unlink()
    frozen.supervisor.restart_job("web")
    await until(frozen.ready.exists)
    assert frozen.pid not in (None, first)
    assert frozen.words.read_text().strip() == "0"


async def test_f6_a_frozen_job_hears_that_the_daemon_ends(frozen):
    await frozen.run()
    frozen.freeze()
    async with asyncio.timeout(10):
        await frozen.supervisor.close()
    assert frozen.words.read_text().strip() == "0"


@pytest.mark.parametrize("wish", ["kill", "stop"])
async def test_f6_a_job_suspended_by_signals_is_killed_as_it_is_and_stopped_awake(lab, monkeypatch, wish):
    lab.file("web", "sleep 60")
    supervisor = await lab.supervise()
    supervisor.start_job("web")
    await supervisor.wait_for("web", "running")
    supervisor.pause_job("web")
    sent, send = [], os.killpg
    monkeypatch.setattr(os, "killpg", lambda group, number: (sent.append(number), send(group, number)))
    (supervisor.kill_job if wish == "kill" else supervisor.stop_job)("web")
    expected = {"kill": [signal.SIGKILL], "stop": [signal.SIGCONT, signal.SIGTERM, signal.SIGCONT]}
    assert sent == expected[wish]
    stopped = await supervisor.wait_for("web", "stopped")
    assert stopped.processes[0].last_exit == f"killed by {expected[wish][-1 if wish == 'kill' else 1].name}"
    assert not stopped.paused


async def test_f6_a_frozen_job_that_is_killed_does_nothing_any_more(frozen, monkeypatch):
    await frozen.run()
    frozen.freeze()
    sent, send = [], os.killpg
    monkeypatch.setattr(os, "killpg", lambda *words: (sent.append(frozen.switch.read_text().strip()), send(*words)))
    frozen.supervisor.kill_job("web")
    assert sent == ["1"]
    assert frozen.switch.read_text().strip() == "0"  # or what comes next into this cgroup would wait for ever
    stopped = await frozen.supervisor.wait_for("web", "stopped")
    assert stopped.processes[0].last_exit == "killed by SIGKILL"
    assert not frozen.words.exists()
