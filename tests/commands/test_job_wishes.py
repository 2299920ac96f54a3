"""Wishes about jobs, over a real socket, with real processes."""

import asyncio
import os
import signal

import pytest

from ctld.errors import CommandFailed, InvalidOptions, Locked, NotFound
from ctld.jobs.state import State
from tests.commands.job_stage import lab, stage
from tests.procfs import state_of

__all__ = ["lab", "stage"]

IGNORES_TERM = "sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.05; done'"


async def test_start_waits_until_the_job_runs_and_tells_how(stage):
    await stage.load("web", "sleep 60")
    call = stage.client.call("job_start", {"name": "web"})
    messages = [update.message async for update in call]
    assert await call == {"changed": True, "name": "web", "state": "running"}
    assert messages == ["web/0: Starting.", "web/0: Successfully started."]
    assert await stage.call("job_start", name="web") == {"changed": False, "name": "web", "state": "running"}


async def test_start_without_waiting_answers_at_once(stage):
    await stage.load("web", "sleep 60")
    assert await stage.call("job_start", name="web", wait=False) == {
        "changed": True,
        "name": "web",
        "state": "starting",
    }


async def test_start_fails_with_the_reason_when_the_job_cannot_run(stage):
    await stage.load("bad", "exit 3", restart=0)
    with pytest.raises(CommandFailed, match=r"job 'bad' is not running: process 0: Failed to start: Exited too soon"):
        await stage.call("job_start", name="bad")


async def test_stop_reports_how_long_it_may_yet_take(stage):
    await stage.load("deaf", IGNORES_TERM, autoStart=True, stopTime=7, stdout="out")
    await stage.alive("deaf")
    call = stage.client.call("job_stop", {"name": "deaf"})
    updates = [update async for update in call]
    assert await call == {"changed": True, "name": "deaf", "state": "stopped"}
    timed = [update for update in updates if update.total is not None]
    assert timed[0].message == "stopping deaf/0: 1 s of 1.4 s"
    assert (round(timed[0].current), round(timed[0].total, 3), timed[0].unit) == (1, 1.4, "s")
    assert await stage.call("job_stop", name="deaf") == {"changed": False, "name": "deaf", "state": "stopped"}


async def test_while_one_waits_another_is_told_who_and_may_kill(stage):
    await stage.load("deaf", IGNORES_TERM, autoStart=True, stopTime=300)
    await stage.alive("deaf")
    stop = stage.client.call("job_stop", {"name": "deaf", "cli": "the first"})
    stopping = asyncio.ensure_future(_result(stop))
    await stage.lab.until_state(stage.supervisor, "deaf", State.STOPPING)
    assert [row["name"] for row in await stage.call("lock_list")] == ["deaf"]
    with pytest.raises(Locked, match=r"job deaf is held by .the first"):
        await stage.call("job_start", name="deaf")
    with pytest.raises(Locked):
        await stage.call("job_pause", name="deaf")
    assert await stage.call("job_signal", name="deaf", signal="WINCH") == {"processes": 1}
    assert await stage.call("job_kill", name="deaf") == {"changed": True, "name": "deaf", "state": "stopped"}
    assert (await stopping)["state"] == "stopped"


async def test_a_cancelled_wait_gives_the_lock_back_and_leaves_the_wish(stage):
    await stage.load("deaf", IGNORES_TERM, autoStart=True, stopTime=300)
    await stage.alive("deaf")
    call = stage.client.call("job_stop", {"name": "deaf"})
    stopping = asyncio.ensure_future(_result(call))
    await stage.lab.until_state(stage.supervisor, "deaf", State.STOPPING)
    call.cancel()
    with pytest.raises(CommandFailed):
        await stopping
    assert not stage.supervisor.info("deaf").desired
    assert (await stage.call("job_kill", name="deaf"))["state"] == "stopped"


async def test_two_clients_race_start_and_stop_and_the_last_wish_holds(stage):
    await stage.load("web", "sleep 60")
    one, other = await stage.raw(), await stage.raw()
    for number in range(20):
        one.send({"cmd": "job_start", "opts": {"name": "web", "wait": False}})
        other.send({"cmd": "job_stop", "opts": {"name": "web", "wait": False}})
        answers = [await one.receive(), await other.receive()]
        assert [answer["status"] for answer in answers] == [True, True], number
    assert (await stage.call("job_start", name="web"))["state"] == "running"
    assert len(stage.supervisor.info("web").processes) == 1
    assert (await stage.call("job_stop", name="web"))["state"] == "stopped"


async def test_start_while_stopping_starts_it_afterwards(stage):
    await stage.load("web", "sleep 60", autoStart=True)
    before = await stage.alive("web")
    assert (await stage.call("job_stop", name="web", wait=False))["state"] in ("stopping", "stopped")
    assert (await stage.call("job_start", name="web"))["state"] == "running"
    assert await stage.alive("web") != before


async def test_restart_is_another_process(stage):
    await stage.load("web", "sleep 60", autoStart=True)
    before = await stage.alive("web")
    assert await stage.call("job_restart", name="web") == {"changed": True, "name": "web", "state": "running"}
    assert await stage.alive("web") != before


async def test_repair_starts_what_is_down_and_leaves_the_rest(stage):
    flag = stage.lab.work / "fixed"
    stage.lab.file("two", f'sh -c "test $CTLD_PROCESS = 0 -o -e {flag} && sleep 60"', procNr=2, restart=0)
    await stage.supervisor.reload()
    with pytest.raises(CommandFailed, match="process 1"):
        await stage.call("job_start", name="two")
    before = await stage.alive("two")
    flag.touch()
    assert (await stage.call("job_repair", name="two"))["state"] == "running"
    assert await stage.alive("two") == before
    await stage.call("job_stop", name="two")
    with pytest.raises(CommandFailed, match='"two" not running'):
        await stage.call("job_repair", name="two")


async def test_pause_and_resume(stage):
    await stage.load("web", "sleep 60", autoStart=True)
    pid = await stage.alive("web")
    assert await stage.call("job_pause", name="web") == {"changed": True, "name": "web", "state": "paused"}
    async with asyncio.timeout(10):
        while state_of(pid) != "T":  # one that is at work stops a moment after it was told
            await asyncio.sleep(0)
    assert (await stage.call("job_pause", name="web"))["changed"] is False
    assert await stage.call("job_resume", name="web") == {"changed": True, "name": "web", "state": "running"}
    assert state_of(pid) != "T"
    assert (await stage.call("job_resume", name="web"))["changed"] is False


async def test_signal_is_sent_and_without_one_that_of_reloading(stage):
    script = "trap 'echo hup' HUP; trap 'echo usr' USR1; echo ready; while :; do sleep 0.05; done"
    await stage.load("web", f'sh -c "{script}"', autoStart=True, stdout="out", reloadSig="USR1")
    log = stage.log("0_out")
    await until_text(log, "ready")
    assert await stage.call("job_signal", name="web") == {"processes": 1}
    await until_text(log, "usr")
    assert await stage.call("job_signal", name="web", signal=int(signal.SIGHUP), process=0) == {"processes": 1}
    await until_text(log, "hup")
    with pytest.raises(InvalidOptions, match="there is no signal 'NOPE'"):
        await stage.call("job_signal", name="web", signal="NOPE")
    with pytest.raises(NotFound, match="no process 7"):
        await stage.call("job_signal", name="web", process=7)


async def until_text(log, text: str) -> None:
    while not (log.exists() and text in log.read_text()):
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "repair", "kill", "signal", "pause", "resume"])
async def test_an_unknown_job_is_not_found(stage, verb):
    with pytest.raises(NotFound) as caught:
        await stage.call(f"job_{verb}", name="nosuch")
    assert caught.value.fields == {"kind": "job", "name": "nosuch"}


async def test_a_kill_is_history_and_an_event(stage):
    await stage.load("web", "sleep 60", autoStart=True)
    pid = await stage.alive("web")
    await stage.call("job_kill", name="web")
    events = await stage.call("event_list", type="job")
    assert events[-1]["opts"] == {
        "name": "web",
        "process": 0,
        "state": "stopped",
        "pid": None,
        "message": "Successfully stopped. (killed by SIGKILL)",
    }
    assert [event["opts"].get("pid") for event in events if event["opts"].get("state") == "alive"] == [pid]
    assert [event["opts"]["state"] for event in await stage.call("event_list", type="management")] == ["run", "done"]
    assert not os.path.exists(f"/proc/{pid}")


async def _result(call):
    return await call
