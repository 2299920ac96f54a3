"""The supervisor with real processes: what the specification of the jobs (B5 to B8, B11) promises."""

import asyncio
import json
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ctld.errors import CommandFailed, NotFound, ShuttingDown
from ctld.jobs.jobfile import InvalidJobFile
from ctld.jobs.state import State
from ctld.jobs.store import InvalidJobName, JobStore
from ctld.jobs.supervisor import Supervisor
from tests.jobs.conftest import SECOND
from tests.procfs import alive, state_of

# For programs that end by themselves: however long that takes here, it is too soon, and the last time.
ONCE = {"restart": 0, "startTime": 300}

DEAF = "sh -c \"trap '' TERM; echo deaf; while :; do sleep 0.05; done\""


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a child does by itself, and nobody tells us about."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def until_written(path: Path, text: str = "\n") -> None:
    await until(lambda: path.exists() and text in path.read_text())


def pids(supervisor: Supervisor, name: str) -> list[int | None]:
    return [process.pid for process in supervisor.info(name).processes]


async def test_start_and_stop_say_whether_they_changed_anything(lab):
    lab.file("web", "sleep 60", procNr=2)
    supervisor = await lab.supervise()
    assert supervisor.info("web").summary == "stopped"
    assert supervisor.start_job("web") is True
    assert supervisor.start_job("web") is False
    assert supervisor.info("web").summary == "starting"
    info = await supervisor.wait_for("web", "running")
    assert (info.summary, info.alive) == ("running", 2)
    assert all(alive(pid) for pid in pids(supervisor, "web"))
    before = pids(supervisor, "web")
    assert supervisor.stop_job("web") is True
    assert supervisor.stop_job("web") is False
    assert (await supervisor.wait_for("web", "stopped")).summary == "stopped"
    assert pids(supervisor, "web") == [None, None]
    assert not any(alive(pid) for pid in before)
    assert lab.events[:6] + sorted(lab.events[6:]) == [
        "web/0: Starting.",
        "web/1: Starting.",
        "web/0: Successfully started.",
        "web/1: Successfully started.",
        "web/0: Stopping.",
        "web/1: Stopping.",
        "web/0: Successfully stopped. (killed by SIGTERM)",
        "web/1: Successfully stopped. (killed by SIGTERM)",
    ]


async def test_auto_start_starts_when_loaded(lab):
    lab.file("a", "sleep 60", autoStart=True)
    lab.file("b", "sleep 60")
    supervisor = await lab.supervise()
    assert [(job.name, job.desired) for job in supervisor.jobs()] == [("a", True), ("b", False)]


async def test_an_unknown_job_is_not_found(lab):
    supervisor = await lab.supervise()
    for call in (
        supervisor.info,
        supervisor.spec,
        supervisor.start_job,
        supervisor.stop_job,
        supervisor.kill_job,
        supervisor.restart_job,
        supervisor.repair_job,
        supervisor.pause_job,
        supervisor.resume_job,
        supervisor.pull,
        supervisor.plan,
        lambda name: supervisor.signal_job(name, 1),
        supervisor.process,
    ):
        with pytest.raises(NotFound, match="there is no job 'nosuch'") as caught:
            call("nosuch")
        assert caught.value.fields == {"kind": "job", "name": "nosuch"}
    for call in (supervisor.delete, supervisor.reload, lambda name: supervisor.wait_for(name, "running")):
        with pytest.raises(NotFound, match="there is no job 'nosuch'"):
            await call("nosuch")


async def test_a_failing_program_is_restarted_as_often_as_allowed_and_not_faster(lab):
    lab.file("bad", "false", restartTimes=2)
    supervisor = await lab.supervise()
    began = asyncio.get_running_loop().time()
    supervisor.start_job("bad")
    with pytest.raises(CommandFailed) as caught:
        await supervisor.wait_for("bad", "running")
    took = asyncio.get_running_loop().time() - began
    assert str(caught.value) == ("job 'bad' is not running: process 0: Failed to start: Exited too soon. (exit code 1)")
    assert lab.events.count("bad/0: Restarting.") == 2
    assert 2 * 0.2 <= took < 3
    info = supervisor.info("bad")
    assert (info.desired, info.summary, info.processes[0].restarts) == (True, "failed", 2)
    # Desired stays running when every process has ended for good.
    assert supervisor.start_job("bad") is False
    supervisor.repair_job("bad")
    assert supervisor.stop_job("bad") is True
    assert supervisor.stop_job("bad") is False


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"dir": "nowhere"}, "Failed to start. (cannot start '/bin/sh': directory '{work}/nowhere': No such file"),
        ({"user": "nobody knows"}, "Failed to start. (there is no user 'nobody knows')"),
        ({"stdout": "no/such/out"}, "Failed to start. (cannot open '{work}/no/such/0_out': No such file or directory)"),
        ({"stderr": "no/such/err"}, "Failed to start. (cannot open '{work}/no/such/0_err': No such file or directory)"),
    ],
)
async def test_what_cannot_be_spawned_is_tried_no_faster_and_says_why(lab, keys, reason):
    lab.file("bad", "sleep 60", restartTimes=-1, **keys)
    supervisor = await lab.supervise()
    began = time.monotonic()
    supervisor.start_job("bad")
    await lab.until(supervisor, lambda: lab.events.count("bad/0: Restarting.") == 3)
    assert time.monotonic() - began > 3 * SECOND - 0.01
    await lab.until(supervisor, lambda: supervisor.info("bad").summary == "backoff")
    assert reason.format(work=lab.work) in supervisor.info("bad").processes[0].message
    supervisor.stop_job("bad")
    await supervisor.wait_for("bad", "stopped")


async def test_stop_during_the_wait_for_a_restart_works(lab):
    lab.file("bad", "false", startTime=1000)
    supervisor = await lab.supervise()
    supervisor.start_job("bad")
    await lab.until_state(supervisor, "bad", State.BADSTOP)
    assert supervisor.info("bad").processes[0].retry_in > 100
    assert supervisor.stop_job("bad") is True
    await supervisor.wait_for("bad", "stopped")
    assert supervisor.info("bad").processes[0].retry_in is None


async def test_a_program_that_ignores_the_stop_signal_is_killed(lab):
    lab.file("deaf", DEAF, stopTime=1, stdout="out")
    supervisor = await lab.supervise()
    supervisor.start_job("deaf")
    await until_written(lab.work / "0_out")
    supervisor.stop_job("deaf")
    await supervisor.wait_for("deaf", "stopped")
    assert "deaf/0: Failed to stop: Didn't stop in time." in lab.events
    assert lab.events[-1] == "deaf/0: Successfully stopped. (killed by SIGKILL)"


async def test_kill_does_not_ask_and_kill_while_stopping_escalates(lab):
    lab.file("deaf", DEAF, stopTime=1000, stdout="out")
    supervisor = await lab.supervise()
    assert supervisor.kill_job("deaf") is False
    supervisor.start_job("deaf")
    await until_written(lab.work / "0_out")
    assert supervisor.kill_job("deaf") is True
    await supervisor.wait_for("deaf", "stopped")
    (lab.work / "0_out").unlink()
    supervisor.start_job("deaf")
    await until_written(lab.work / "0_out")
    supervisor.stop_job("deaf")
    assert supervisor.kill_job("deaf") is True
    await supervisor.wait_for("deaf", "stopped")


async def test_start_while_stopping_starts_once_it_is_gone(lab):
    lab.file("deaf", DEAF, stopTime=1, stdout="out")
    supervisor = await lab.supervise()
    supervisor.start_job("deaf")
    await until_written(lab.work / "0_out")
    before = pids(supervisor, "deaf")
    supervisor.stop_job("deaf")
    assert supervisor.start_job("deaf") is True
    assert supervisor.info("deaf").summary == "restarting"
    await supervisor.wait_for("deaf", "running")
    assert pids(supervisor, "deaf") != before
    assert not alive(before[0])


async def test_a_stop_supersedes_a_start_that_waits(lab):
    lab.file("deaf", DEAF, stopTime=1, stdout="out")
    supervisor = await lab.supervise()
    supervisor.start_job("deaf")
    await until_written(lab.work / "0_out")
    supervisor.restart_job("deaf")
    supervisor.stop_job("deaf")
    await supervisor.wait_for("deaf", "stopped")
    await asyncio.sleep(0.3)
    assert supervisor.info("deaf").processes[0].state is State.STOPPED


async def test_stop_right_after_start_leaves_nothing(lab):
    lab.file("web", "sleep 60", procNr=5, limits={"core": 0})
    supervisor = await lab.supervise()
    for turns in (0, 1, 2, 3, 5, 8):
        supervisor.start_job("web")
        for _ in range(turns):
            await asyncio.sleep(0)
        supervisor.stop_job("web")
        assert (await supervisor.wait_for("web", "stopped")).processes[4].pid is None


async def test_restart_makes_new_processes(lab):
    lab.file("web", "sleep 60", procNr=2)
    supervisor = await lab.supervise()
    supervisor.restart_job("web")
    await supervisor.wait_for("web", "running")
    before = pids(supervisor, "web")
    supervisor.restart_job("web")
    await supervisor.wait_for("web", "running")
    assert not set(before) & set(pids(supervisor, "web"))


async def test_an_expected_end_is_good_and_another_is_restarted(lab):
    lab.file("good", "sh -c 'sleep 0.3; exit 3'", normalExitCode=[3, -15])
    lab.file("bad", "sh -c 'sleep 0.3; exit 4'", normalExitCode=3)
    supervisor = await lab.supervise()
    supervisor.start_job("good")
    supervisor.start_job("bad")
    await lab.until_state(supervisor, "good", State.GOODSTOP)
    assert supervisor.info("good").summary == "finished"
    await lab.until(supervisor, lambda: "bad/0: Restarting." in lab.events)
    assert "bad/0: Process stopped unexpectedly! (exit code 4)" in lab.events
    await supervisor.wait_for("good", "running")  # it has run to its good end


async def test_death_by_an_expected_signal_is_good(lab):
    lab.file("job", "sleep 60", normalExitCode=-15)
    supervisor = await lab.supervise()
    supervisor.start_job("job")
    await supervisor.wait_for("job", "running")
    assert supervisor.signal_job("job", signal.SIGTERM) == 1
    await lab.until_state(supervisor, "job", State.GOODSTOP)
    assert supervisor.signal_job("job", signal.SIGTERM) == 0


async def test_repair_starts_the_dead_and_leaves_the_living_alone(lab):
    lab.file("web", "sleep 60", procNr=2, restart=0)
    supervisor = await lab.supervise()
    with pytest.raises(CommandFailed, match=r'^"web" not running\.$'):
        supervisor.repair_job("web")
    supervisor.start_job("web")
    await supervisor.wait_for("web", "running")
    first, second = pids(supervisor, "web")
    assert supervisor.signal_job("web", signal.SIGKILL, index=1) == 1
    await lab.until_state(supervisor, "web", State.BADSTOP, index=1)
    supervisor.repair_job("web")
    await supervisor.wait_for("web", "running")
    assert pids(supervisor, "web")[0] == first
    assert pids(supervisor, "web")[1] not in (None, second)


async def test_signals_go_to_one_or_all_and_to_the_whole_group(lab):
    lab.file("web", "sh -c 'trap \"echo hup\" HUP; echo up; while :; do sleep 0.01; done'", procNr=2, stdout="out")
    supervisor = await lab.supervise()
    supervisor.start_job("web")
    for index in (0, 1):
        await until_written(lab.work / f"{index}_out", "up\n")
    assert supervisor.signal_job("web", signal.SIGHUP, index=1) == 1
    await until_written(lab.work / "1_out", "hup\n")
    assert "hup" not in (lab.work / "0_out").read_text()
    assert supervisor.signal_job("web", signal.SIGHUP) == 2
    await until_written(lab.work / "0_out", "hup\n")
    with pytest.raises(NotFound, match="job 'web' has no process 2"):
        supervisor.signal_job("web", signal.SIGHUP, index=2)


async def test_pause_suspends_the_processes_and_their_clocks(lab):
    lab.file("web", "sleep 60")
    supervisor = await lab.supervise()
    with pytest.raises(CommandFailed, match="job 'web' is not running"):
        supervisor.pause_job("web")
    supervisor.start_job("web")
    await lab.until(supervisor, lambda: pids(supervisor, "web") != [None])
    assert supervisor.pause_job("web") is True
    assert supervisor.pause_job("web") is False
    await until(lambda: state_of(pids(supervisor, "web")[0]) == "T")
    await asyncio.sleep(0.3)
    assert supervisor.info("web").processes[0].state is State.STARTING
    assert supervisor.info("web").summary == "paused"
    assert supervisor.resume_job("web") is True
    assert supervisor.resume_job("web") is False
    await supervisor.wait_for("web", "running")
    supervisor.pause_job("web")
    supervisor.stop_job("web")
    assert (await supervisor.wait_for("web", "stopped")).paused is False
    assert lab.events[-1] == "web/0: Successfully stopped. (killed by SIGTERM)"


async def test_a_job_that_is_paused_while_it_starts_is_suspended(lab):
    lab.file("web", "sleep 60", limits={"core": 0})
    supervisor = await lab.supervise()
    supervisor.start_job("web")
    supervisor.pause_job("web")
    await lab.until(supervisor, lambda: pids(supervisor, "web") != [None])
    await until(lambda: state_of(pids(supervisor, "web")[0]) == "T")


async def test_output_goes_to_numbered_files_and_is_appended(lab):
    (lab.work / "0_out").write_text("before\n")
    lab.file("web", "sh -c 'echo $CTLD_JOB $CTLD_PROCESS $A; echo error >&2; pwd >&2; umask'", procNr=2, **ONCE,
             stdout="out", stderr="err", env=[{"name": "A", "value": "b c"}], umask="027")  # fmt: skip
    supervisor = await lab.supervise()
    supervisor.start_job("web")
    for index in (0, 1):
        await lab.until_state(supervisor, "web", State.BADSTOP, index)
    assert (lab.work / "0_out").read_text() == "before\nweb 0 b c\n0027\n"
    assert (lab.work / "1_out").read_text() == "web 1 b c\n0027\n"
    assert (lab.work / "1_err").read_text() == f"error\n{lab.work}\n"
    assert (lab.work / "1_out").stat().st_mode & 0o777 == 0o640
    assert supervisor.process("web", 1).logs() == {
        "stdout": str(lab.work / "1_out"),
        "stderr": str(lab.work / "1_err"),
    }


async def test_the_daemons_own_variables_stay_with_it(lab, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("KEPT", "kept")
    lab.file("web", "env", **ONCE, stdout="out")
    supervisor = await lab.supervise()
    supervisor.start_job("web")
    await lab.until_state(supervisor, "web", State.BADSTOP)
    written = (lab.work / "0_out").read_text()
    assert "NOTIFY_SOCKET" not in written
    assert "KEPT=kept\n" in written


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its user")
async def test_a_user_gets_its_own_identity(lab):
    lab.work.chmod(0o755)
    lab.file("web", "sh -c 'id -un; echo $USER $HOME'", **ONCE, runas="nobody", stdout="out")
    supervisor = await lab.supervise()
    supervisor.start_job("web")
    await lab.until_state(supervisor, "web", State.BADSTOP)
    lines = (lab.work / "0_out").read_text().splitlines()
    assert lines[0] == "nobody"
    assert lines[1].startswith("nobody /")
    assert "/root" not in lines[1]


async def test_what_a_job_leaves_in_its_group_goes_with_it(lab):
    lab.file("fork", "sh -c 'sleep 60 & echo $!; exit 0'", **ONCE, stdout="out")
    supervisor = await lab.supervise()
    supervisor.start_job("fork")
    await lab.until_state(supervisor, "fork", State.BADSTOP)
    left = int((lab.work / "0_out").read_text())
    await until(lambda: not alive(left))


async def test_what_has_left_the_session_of_a_job_is_not_killed(lab):
    lab.file("daemon", "sh -c 'setsid sleep 60 & echo $!; sleep 0.05'", **ONCE, stdout="out")
    supervisor = await lab.supervise()
    supervisor.start_job("daemon")
    await lab.until_state(supervisor, "daemon", State.BADSTOP)
    left = int((lab.work / "0_out").read_text())
    assert alive(left)
    os.kill(left, signal.SIGKILL)


async def test_a_start_takes_its_dependencies_along_and_waits_for_them(lab):
    lab.file("app", "sleep 60", dependsOn=["db", "cache"])
    lab.file("db", "sleep 60", dependsOn=["disk"])
    lab.file("cache", "sleep 60")
    lab.file("disk", "sleep 0.3", restart=0)
    supervisor = await lab.supervise()
    supervisor.start_job("app")
    assert supervisor.info("app").summary == "waiting"
    assert supervisor.info("app").waits_for == {"db": "", "cache": ""}
    await supervisor.wait_for("app", "running")
    order = [event.split("/")[0] for event in lab.events if event.endswith("Starting.")]
    assert order.index("disk") < order.index("db") < order.index("app")
    assert order.index("cache") < order.index("app")


@pytest.mark.parametrize(
    ("cmd", "reason"),
    [("false", "it waits for job 'db', which has failed"), (None, "it waits for job 'db', which does not exist")],
)
async def test_a_dependency_that_cannot_be_had_is_the_reason(lab, cmd, reason):
    lab.file("app", "sleep 60", dependsOn=["db"])
    if cmd:
        lab.file("db", cmd, restart=0)
    supervisor = await lab.supervise()
    supervisor.start_job("app")
    with pytest.raises(CommandFailed, match=f"job 'app' is not running: {reason}"):
        await supervisor.wait_for("app", "running")
    # It starts by itself once the dependency is there.
    lab.file("db", "sleep 60", autoStart=True)
    await supervisor.reload("db")
    await supervisor.wait_for("app", "running")


async def test_a_dependency_that_is_stopped_is_the_reason(lab):
    lab.file("app", "sleep 60", dependsOn=["db"])
    lab.file("db", "sleep 60")
    supervisor = await lab.supervise()
    supervisor.start_job("app")
    supervisor.stop_job("db")
    with pytest.raises(CommandFailed, match="which is stopped"):
        await supervisor.wait_for("app", "running")
    supervisor.stop_job("app")
    supervisor.start_job("db")
    await supervisor.wait_for("db", "running")
    assert supervisor.info("app").summary == "stopped"


async def test_the_end_stops_those_first_that_depend_on_others(lab):
    lab.file("app", "sleep 60", dependsOn=["db"])
    lab.file("db", "sleep 60")
    supervisor = await lab.supervise()
    supervisor.start_job("app")
    await supervisor.wait_for("app", "running")
    await supervisor.close()
    assert lab.events[-4:] == [
        "app/0: Stopping.",
        "app/0: Successfully stopped. (killed by SIGTERM)",
        "db/0: Stopping.",
        "db/0: Successfully stopped. (killed by SIGTERM)",
    ]
    with pytest.raises(ShuttingDown):
        supervisor.start_job("app")


async def test_waiting_ends_when_others_decide_otherwise(lab):
    lab.file("slow", "sleep 60", startTime=1000)
    lab.file("deaf", DEAF, stopTime=1000, stdout="out")
    supervisor = await lab.supervise()
    supervisor.start_job("slow")
    waiting = asyncio.create_task(supervisor.wait_for("slow", "running"))
    await asyncio.sleep(0)
    supervisor.stop_job("slow")
    with pytest.raises(CommandFailed, match="job 'slow' is not running: somebody has stopped it"):
        await waiting
    supervisor.start_job("deaf")
    await until_written(lab.work / "0_out")
    supervisor.stop_job("deaf")
    waiting = asyncio.create_task(supervisor.wait_for("deaf", "stopped"))
    await asyncio.sleep(0)
    supervisor.start_job("deaf")
    with pytest.raises(CommandFailed, match="job 'deaf' is not stopped: somebody has started it again"):
        await waiting
    waiting = asyncio.create_task(supervisor.wait_for("deaf", "running"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    supervisor.kill_job("deaf")


async def test_a_reload_does_what_its_plan_says(lab):
    for name in ("same", "changed", "policy", "gone", "broken"):
        lab.file(name, "sleep 60", autoStart=True)
    supervisor = await lab.supervise()
    before = {name: pids(supervisor, name) for name in ("same", "changed", "policy", "broken")}
    for name in before:
        await supervisor.wait_for(name, "running")
        before[name] = pids(supervisor, name)
    lab.file("changed", "sleep 61", autoStart=True)
    lab.file("policy", "sleep 60", autoStart=True, restartTimes=7)
    lab.file("new", "sleep 60", autoStart=True)
    lab.store.remove("gone")
    lab.store.write("broken", b"{")
    plan = supervisor.plan()
    assert {change.name: change.kind for change in plan.changes} == {
        "broken": "invalid", "changed": "changed", "gone": "removed", "new": "added", "policy": "changed",
        "same": "unchanged",
    }  # fmt: skip
    assert [(change.name, change.keys, change.restart) for change in plan.changes if change.kind == "changed"] == [
        ("changed", ("command",), True),
        ("policy", ("policy",), False),
    ]
    assert supervisor.jobs()[1].name == "changed"  # a plan is only a plan
    assert await supervisor.reload() == plan
    assert [job.name for job in supervisor.jobs()] == ["broken", "changed", "new", "policy", "same"]
    assert supervisor.problems["broken"].startswith("not JSON")
    for name in ("new", "changed", "policy"):
        await supervisor.wait_for(name, "running")
    for name in ("same", "policy", "broken"):
        assert pids(supervisor, name) == before[name], name
    assert pids(supervisor, "changed") != before["changed"]
    assert supervisor.spec("policy").policy.restart_times == 7


async def test_a_rescan_leaves_jobs_alone_whose_file_is_gone(lab):
    lab.file("gone", "sleep 60", autoStart=True)
    supervisor = await lab.supervise()
    lab.store.remove("gone")
    assert (await supervisor.reload(remove_missing=False)).names("unchanged") == ["gone"]
    assert supervisor.info("gone").desired
    assert (await supervisor.reload("gone")).names("removed") == ["gone"]
    assert supervisor.jobs() == []


async def test_reload_of_one_touches_no_other(lab):
    lab.file("a", "sleep 60")
    lab.file("b", "sleep 60")
    supervisor = await lab.supervise()
    lab.file("a", "sleep 61", procNr=3)
    lab.file("b", "sleep 61")
    lab.file("c", "sleep 61")
    assert [change.name for change in (await supervisor.reload("a")).changes] == ["a"]
    assert len(supervisor.info("a").processes) == 3
    assert supervisor.spec("b").command == "sleep 60"
    assert (await supervisor.reload("c")).names("added") == ["c"]


async def test_a_job_that_depends_on_itself_is_invalid(lab):
    lab.file("a", "sleep 60", dependsOn=["b"])
    lab.file("b", "sleep 60", dependsOn=["a"])
    lab.file("c", "sleep 60", dependsOn=["a"])
    supervisor = await lab.supervise()
    assert [job.name for job in supervisor.jobs()] == ["c"]
    assert supervisor.problems == {"a": "dependsOn: a -> b -> a", "b": "dependsOn: b -> a -> b"}
    with pytest.raises(InvalidJobFile, match="dependsOn: d -> d"):
        await supervisor.push("d", b'{"cmd": "x", "dependsOn": ["d"]}')
    assert not Path(lab.store.directory, "d.tm.json").exists()


async def test_push_checks_before_it_writes(lab):
    supervisor = await lab.supervise()
    with pytest.raises(InvalidJobFile, match="cmd: it is empty"):
        await supervisor.push("junk", b'{"cmd": ""}')
    for name in ("../evil", "", "a/../../b", "/etc/x"):
        with pytest.raises(InvalidJobName):
            await supervisor.push(name, b'{"cmd": "true"}')
    assert os.listdir(lab.store.directory) == []
    assert not (lab.folder / "evil.tm.json").exists()
    assert supervisor.jobs() == []


async def test_push_of_the_same_bytes_changes_nothing_and_of_others_restarts(lab):
    supervisor = await lab.supervise()
    data = json.dumps({"cmd": "sleep 60"}).encode()
    assert (await supervisor.push("sub/web", data)).names("added") == ["sub/web"]
    await supervisor.wait_for("sub/web", "running")
    before = pids(supervisor, "sub/web")
    assert (await supervisor.push("sub/web", data)).names("unchanged") == ["sub/web"]
    assert pids(supervisor, "sub/web") == before
    other = data.replace(b"60", b"61")
    assert (await supervisor.push("sub/web", other)).names("changed") == ["sub/web"]
    await supervisor.wait_for("sub/web", "running")
    assert pids(supervisor, "sub/web") != before
    assert supervisor.pull("sub/web") == other
    lab.store.write("sub/web", b"edited")
    assert supervisor.pull("sub/web") == b"edited"


async def test_delete_stops_waits_and_forgets(lab):
    lab.file("deaf", DEAF, stopTime=1, stdout="out")
    supervisor = await lab.supervise()
    supervisor.start_job("deaf")
    await until_written(lab.work / "0_out")
    (pid,) = pids(supervisor, "deaf")
    await supervisor.delete("deaf")
    assert not alive(pid)
    assert supervisor.jobs() == []
    assert lab.store.scan().files == {}


async def test_a_job_on_its_way_out_does_not_start_but_can_be_pushed_again(lab):
    data = lab.file("deaf", DEAF, stopTime=1, stdout="out", autoStart=True)
    supervisor = await lab.supervise()
    await until_written(lab.work / "0_out")
    (pid,) = pids(supervisor, "deaf")
    deleting = asyncio.create_task(supervisor.delete("deaf"))
    await lab.until(supervisor, lambda: supervisor.info("deaf").leaving == "removed")
    with pytest.raises(CommandFailed, match="job 'deaf' is being removed"):
        supervisor.start_job("deaf")
    with pytest.raises(CommandFailed, match="job 'deaf' is not running: it is being removed"):
        await supervisor.wait_for("deaf", "running")
    assert (await supervisor.push("deaf", data)).names("added") == ["deaf"]
    await deleting
    await supervisor.wait_for("deaf", "running")
    assert pids(supervisor, "deaf") != [pid]
    assert not alive(pid)


async def test_a_start_while_it_is_replaced_starts_what_it_becomes(lab):
    lab.file("deaf", DEAF, stopTime=1, stdout="out")
    supervisor = await lab.supervise()
    supervisor.start_job("deaf")
    await until_written(lab.work / "0_out")
    lab.file("deaf", "sleep 60")
    reloading = asyncio.create_task(supervisor.reload("deaf"))
    await lab.until(supervisor, lambda: supervisor.info("deaf").leaving == "replaced")
    assert supervisor.start_job("deaf") is True
    supervisor.repair_job("deaf")
    assert supervisor.spec("deaf").command == "sleep 60"
    await supervisor.wait_for("deaf", "running")
    await reloading
    assert supervisor.info("deaf").processes[0].last_exit == ""


async def test_a_file_that_is_too_large_is_rotated_by_copy_and_truncate(lab, monkeypatch):
    lab.file("loud", "sh -c 'while :; do echo 0123456789012345678901234567890123456789; done'", stdout="out",
             logMaxBytes=10_000, logBackups=2, autoStart=True)  # fmt: skip
    monkeypatch.setattr("ctld.jobs.rotation.LogRotation.__init__.__defaults__", (0.05,), raising=True)
    supervisor = await lab.supervise()
    await until((lab.work / "0_out.2").exists)
    await supervisor.close()
    line = b"0123456789012345678901234567890123456789\n"
    assert not set((lab.work / "0_out").read_bytes().splitlines(keepends=True)[1:-1]) - {line}
    assert (lab.work / "0_out.1").stat().st_size > 10_000


async def test_observers_can_leave(lab):
    lab.file("web", "sleep 60")
    supervisor = await lab.supervise()
    heard = []
    leave = supervisor.subscribe(heard.append)
    supervisor.start_job("web")
    await supervisor.wait_for("web", "running")
    assert [event.state for event in heard] == [State.STARTING, State.ALIVE]
    assert heard[1].pid == pids(supervisor, "web")[0]
    leave()
    leave()
    supervisor.stop_job("web")
    await supervisor.wait_for("web", "stopped")
    assert len(heard) == 2


async def test_problems_are_told_and_harm_no_other(lab):
    lab.file("good", "sleep 60")
    lab.store.write("junk", b"junk")
    Path(lab.store.directory, "bad name.tm.json").touch()
    supervisor = await lab.supervise()
    assert [job.name for job in supervisor.jobs()] == ["good"]
    assert set(supervisor.problems) == {"junk", "bad name.tm.json"}


async def test_a_supervisor_without_its_directories_says_so(tmp_path):
    with pytest.raises(NotFound, match="cannot read the job directory"):
        await Supervisor(JobStore(str(tmp_path / "none")), str(tmp_path / "state")).start()
    (tmp_path / "file").touch()
    with pytest.raises(CommandFailed, match="cannot use the state directory"):
        await Supervisor(JobStore(str(tmp_path)), str(tmp_path / "file" / "state")).start()


async def test_two_hundred_jobs_start_and_stop_quickly_and_idle_without_work(lab):
    for number in range(200):
        lab.file(f"job{number}", "sleep 60", autoStart=True)
    began = time.monotonic()
    supervisor = await lab.supervise()
    await lab.until(supervisor, lambda: all(job.processes[0].pid for job in supervisor.jobs()))
    started = time.monotonic()
    for number in range(200):
        await supervisor.wait_for(f"job{number}", "running")
    work = time.process_time()
    await asyncio.sleep(0.5)
    assert time.process_time() - work < 0.005
    stopping = time.monotonic()
    await supervisor.close()
    stopped = time.monotonic()
    assert started - began < 5
    assert stopped - stopping < 5


async def test_limits_reach_the_processes(lab):
    lab.file("web", "sh -c 'ulimit -n; ulimit -c'", **ONCE, stdout="out", limits={"nofile": 77, "core": 0})
    supervisor = await lab.supervise()
    supervisor.start_job("web")
    await lab.until_state(supervisor, "web", State.BADSTOP)
    assert (lab.work / "0_out").read_text() == "77\n0\n"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] != 77


async def test_a_raised_limit_on_open_files_is_not_passed_on(lab):
    lab.file("files", "sh -c 'ulimit -n'", **ONCE, stdout="out")
    lab.file("more", "sh -c 'ulimit -n'", **ONCE, stdout="more", limits={"nofile": 99})
    supervisor = await lab.supervise()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 100, hard))
    try:
        for name in ("files", "more"):
            supervisor.start_job(name)
            await lab.until_state(supervisor, name, State.BADSTOP)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (lab.work / "0_out").read_text() == f"{soft}\n"
    assert (lab.work / "0_more").read_text() == "99\n"
