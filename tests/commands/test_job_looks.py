"""Looking at jobs, over a real socket: lists, status, tails, waits."""

import asyncio
import base64

import pytest

from ctld.errors import BadRequest, Busy, CommandFailed, InvalidOptions, NotFound
from ctld.jobs.state import State
from tests.commands.job_stage import Stage, lab, stage
from tests.native import until

__all__ = ["lab", "stage"]


async def lines_of(stage: Stage, name: str, **opts) -> list[str]:
    return [item["text"] for item in await stage.call("job_tail", {"name": name, **opts})]


def ticks_of(pid: int) -> int:
    """What the kernel has counted of its time in user mode."""
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[11])


async def test_the_list_has_every_job_and_what_its_processes_use(stage):
    stage.lab.file("b/down", "sleep 1")
    stage.lab.file("a", "sh -c 'while :; do :; done'", procNr=2, autoStart=True)
    await stage.supervisor.reload()
    pid = await stage.alive("a")
    await until(lambda: ticks_of(pid) > 5)
    busy, down = await stage.call("job_list")
    assert (busy["name"], busy["state"], busy["desired"], busy["alive"]) == ("a", "running", "running", 2)
    assert [process["process"] for process in busy["processes"]] == [0, 1]
    first = busy["processes"][0]
    assert (first["pid"], first["state"], first["restarts"], first["adopted"]) == (pid, "alive", 0, False)
    assert first["cpu"] > 1
    assert 100_000 < first["memory"] < 100_000_000
    assert 0 < first["uptime"] < 60
    assert (down["name"], down["state"], down["desired"], down["alive"]) == ("b/down", "stopped", "stopped", 0)
    assert {key: down["processes"][0][key] for key in ("pid", "uptime", "cpu", "memory")} == dict.fromkeys(
        ("pid", "uptime", "cpu", "memory")
    )


async def test_the_status_of_one_job_tells_all(stage):
    await stage.load("once", "sh -c 'exit 7'", autoStart=True, restart=0, stdout="out", stderr="err", startTime=300)
    await stage.lab.until_state(stage.supervisor, "once", State.BADSTOP)
    status = await stage.call("job_status", name="once")
    assert (status["state"], status["command"], status["tty"]) == ("failed", "sh -c 'exit 7'", False)
    assert status["logs"] == [str(stage.log("0_out")), str(stage.log("0_err"))]
    assert status["processes"][0]["last_exit"] == "exit code 7"
    assert status["processes"][0]["message"] == "Failed to start: Exited too soon. (exit code 7)"
    stage.lab.file("once", "")
    await stage.call("job_reload")
    assert (await stage.call("job_status", name="once"))["problem"] == "cmd: it is empty"
    with pytest.raises(NotFound):
        await stage.call("job_status", name="nosuch")


async def test_tail_gives_the_last_lines(stage):
    await stage.load("web", "true", stdout="out", stderr="err", procNr=2)
    stage.log("0_out").write_text("".join(f"{number}\n" for number in range(30)))
    stage.log("1_err").write_text("oops\n")
    assert await lines_of(stage, "web") == [str(number) for number in range(20, 30)]
    assert await lines_of(stage, "web", lines=2) == ["28", "29"]
    assert await lines_of(stage, "web", lines=0) == []
    assert await stage.call("job_tail", name="web", stderr=True) == [{"process": 1, "text": "oops"}]
    assert await lines_of(stage, "web", process=1) == []
    for lines in (-1, 10_001):
        with pytest.raises(InvalidOptions):
            await stage.call("job_tail", name="web", lines=lines)


async def test_tail_keeps_the_bytes(stage):
    await stage.load("web", "true", stdout="out")
    stage.log("0_out").write_bytes(b"gr\xc3\xbc\xc3\x9fe\nbad \xff\x00\nprompt> ")
    assert await stage.call("job_tail", name="web") == [
        {"process": 0, "text": "gr\u00fc\u00dfe"},
        {"process": 0, "text": "bad \ufffd\x00", "base64": base64.b64encode(b"bad \xff\x00").decode()},
        {"process": 0, "text": "prompt> ", "partial": True},
    ]


async def test_tail_follows_what_is_written_and_ends_with_the_request(stage):
    await stage.load("web", "true", stdout="out")
    log = stage.log("0_out")
    client = await stage.raw()
    client.send({"cmd": "job_tail", "opts": {"name": "web", "follow": True}, "stream": True, "id": 1})
    for text in ("one", "two"):
        with log.open("a") as file:
            file.write(f"{text}\n")
        assert (await client.receive())["item"] == {"process": 0, "text": text}
    log.write_text("")  # rotated
    log.write_text("three\n")
    assert (await client.receive())["item"]["text"] == "three"
    with log.open("a") as file:
        file.write("half")
    assert (await client.receive())["item"] == {"process": 0, "text": "half", "partial": True}
    client.send({"cancel": 1})
    assert (await client.receive())["code"] == "cancelled"


async def test_a_followed_job_that_is_removed_ends_the_stream(stage):
    await stage.load("web", "true", stdout="out")
    client = await stage.raw()
    client.send({"cmd": "job_tail", "opts": {"name": "web", "follow": True}, "stream": True})
    await stage.call("job_delete", name="web")
    assert (await client.receive())["status"] is True


async def test_what_cannot_be_tailed_says_why(stage):
    await stage.load("mute", "true")
    with pytest.raises(CommandFailed, match="job 'mute' has no file for that: its job file names none as 'stdout'"):
        await stage.call("job_tail", name="mute")
    await stage.load("web", "true", stdout="out")
    stage.log("0_out").symlink_to("/etc/passwd")
    with pytest.raises(CommandFailed, match=r"cannot read '.*/0_out': Too many levels of symbolic links"):
        await stage.call("job_tail", name="web")
    for name, process in (("nosuch", None), ("web", 5)):
        with pytest.raises(NotFound):
            await stage.call("job_tail", name=name, process=process)
    operation = await stage.client.call("job_tail", {"name": "web", "follow": True}, detach=True)
    with pytest.raises(BadRequest, match="cannot be detached"):
        await stage.call("op_wait", id=operation["operation"])


async def test_wait_for_a_state(stage):
    await stage.load("web", "sleep 60")
    waiting = asyncio.ensure_future(_result(stage.client.call("job_wait", {"name": "web", "state": "stopped"})))
    assert await waiting == {"name": "web", "state": "stopped"}
    with pytest.raises(CommandFailed, match="somebody has stopped it"):
        await stage.call("job_wait", name="web", state="running")
    await stage.call("job_start", name="web", wait=False)
    assert await stage.call("job_wait", name="web", state="running") == {"name": "web", "state": "running"}
    with pytest.raises(NotFound):
        await stage.call("job_wait", name="nosuch", state="running")
    with pytest.raises(InvalidOptions):
        await stage.call("job_wait", name="web", state="dancing")


async def _result(call):
    return await call


async def test_without_usage_nothing_is_measured(stage):
    await stage.load("web", "sleep 60", autoStart=True)
    await stage.alive("web")
    rows = [*(await stage.call("job_list", usage=False)), await stage.call("job_status", name="web", usage=False)]
    assert [(row["processes"][0]["cpu"], row["processes"][0]["memory"]) for row in rows] == [(None, None)] * 2


async def test_a_stream_that_is_followed_ends_with_the_daemon(stage):
    await stage.load("web", "true", stdout="out")
    client = await stage.raw()
    client.send({"cmd": "job_tail", "opts": {"name": "web", "follow": True}, "stream": True})
    stage.log("0_out").write_text("line\n")
    assert (await client.receive())["item"]["text"] == "line"
    stage.served.server.close()
    assert (await client.receive())["status"] is True


async def test_one_user_looks_at_so_many_files_at_once(stage, monkeypatch):
    monkeypatch.setattr("ctld.commands.job_looks._MOST_FILES", 4)
    await stage.load("web", "sh -c 'echo out; sleep 60'", stdout="out", procNr=2, autoStart=True)
    await stage.alive("web")
    await stage.load("many", "sh -c 'echo out; sleep 60'", stdout="out", procNr=3)
    raw = await stage.raw()
    with pytest.raises(Busy, match="one user has 2 files to look at at most"):
        await stage.call("job_tail", name="many")
    assert await stage.call("job_tail", name="many", process=1) is not None
    raw.send({"cmd": "job_tail", "opts": {"name": "web", "follow": True, "lines": 1}, "id": 1, "stream": True})
    await raw.receive()
    with pytest.raises(Busy):
        await stage.call("job_tail", name="web", process=0)
    raw.send({"cancel": 1})
    while "item" in await raw.receive():
        pass
    assert await stage.call("job_tail", name="web", process=0) is not None
