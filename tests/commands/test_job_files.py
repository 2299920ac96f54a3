"""Job files over a real socket: reload, push, pull, delete, and who may do it."""

import asyncio
import base64
import hashlib
import json
import os

import pytest

from ctld.commands.job_files import file_commands
from ctld.errors import CommandFailed, Denied, Locked, NotFound
from ctld.jobs.state import State
from ctld.peer import Peer
from tests.commands.job_stage import lab, stage
from tests.commands.test_job_wishes import IGNORES_TERM

__all__ = ["lab", "stage"]


def job(cmd: str, **keys) -> str:
    return json.dumps({"cmd": cmd, "autoStart": False, **keys})


async def test_reload_plans_and_does(stage):
    for name in ("same", "other", "gone", "broken"):
        stage.lab.file(name, "sleep 60")
    await stage.supervisor.reload()
    stage.lab.file("other", "sleep 61", stopTime=9)
    stage.lab.file("new", "sleep 60")
    stage.lab.store.remove("gone")
    stage.lab.store.write("broken", b'{"cmd": 5}')
    plan = {
        "added": ["new"],
        "changed": {"other": ["command", "policy"]},
        "restarted": ["other"],
        "removed": ["gone"],
        "unchanged": ["same"],
        "invalid": {"broken": "cmd: expected `str`, got `int`"},
    }
    assert await stage.call("job_reload", dry_run=True) == {"done": False, **plan}
    assert [job.name for job in stage.supervisor.jobs()] == ["broken", "gone", "other", "same"]
    assert await stage.call("job_reload", name="other", dry_run=True, keep_missing=True) == {
        "done": False, "added": [], "removed": [], "unchanged": [], "invalid": {},
        "changed": plan["changed"], "restarted": ["other"],
    }  # fmt: skip
    assert (await stage.call("job_reload", keep_missing=True))["removed"] == []
    assert await stage.call("job_reload") == {
        "done": True,
        "added": [],
        "changed": {},
        "restarted": [],
        "removed": ["gone"],
        "unchanged": ["new", "other", "same"],
        "invalid": plan["invalid"],
    }
    assert [job.name for job in stage.supervisor.jobs()] == ["broken", "new", "other", "same"]
    with pytest.raises(NotFound):
        await stage.call("job_reload", name="nosuch")


async def test_reload_reports_what_it_waits_for(stage):
    await stage.load("web", "sleep 60", autoStart=True)
    await stage.alive("web")
    stage.lab.file("web", "sleep 61", autoStart=True)
    call = stage.client.call("job_reload", {"name": "web"})
    assert "web/0: Stopping." in [update.message async for update in call]
    assert (await call)["restarted"] == ["web"]


async def test_reload_fails_while_somebody_works_on_a_job_that_it_changes(stage):
    await stage.load("deaf", IGNORES_TERM, autoStart=True, stopTime=300)
    await stage.alive("deaf")
    stage.lab.file("fine", "sleep 1")
    stop = asyncio.ensure_future(_result(stage.client.call("job_stop", {"name": "deaf"})))
    await stage.lab.until_state(stage.supervisor, "deaf", State.STOPPING)
    assert (await stage.call("job_reload"))["added"] == ["fine"]
    stage.lab.file("deaf", "sleep 1")
    with pytest.raises(Locked):
        await stage.call("job_reload")
    # A signal is not repeated, so what the daemon itself asks for waits (B11: SIGHUP during stop).
    operation = stage.served.server._dispatcher.launch(Peer.DAEMON, "job_reload", (), {})
    await stage.call("job_kill", name="deaf")
    await stop
    assert (await operation.wait()).restarted == ["deaf"]


async def test_push_writes_loads_and_starts(stage):
    data = job("sleep 60", autoStart=True)
    assert (await stage.call("job_push", name="web/api", data=data))["added"] == ["web/api"]
    pid = await stage.alive("web/api")
    assert stage.lab.store.read("web/api") == data.encode()
    assert (await stage.call("job_push", name="web/api", data=data))["unchanged"] == ["web/api"]
    assert await stage.alive("web/api") == pid  # the same bytes are a no-op
    other = job("sleep 61", autoStart=True)
    assert (await stage.call("job_push", name="web/api", data=other))["restarted"] == ["web/api"]
    assert await stage.alive("web/api") != pid
    assert await stage.call("job_pull", name="web/api") == {"name": "web/api", "data": other}


@pytest.mark.parametrize(
    ("name", "data", "code", "complaint"),
    [
        ("../evil", job("true"), "job.name", "is no name for a job"),
        ("a//b", job("true"), "job.name", "is no name for a job"),
        ("", job("true"), "job.name", "is no name for a job"),
        ("junk", "junk", "job.invalid", "not JSON"),
        ("junk", "{}", "job.invalid", "missing required field `cmd`"),
        ("junk", '{"cmd": "true", "stopSig": 300}', "job.invalid", "stopSig: "),
    ],
)
async def test_push_of_junk_writes_nothing(stage, name, data, code, complaint):
    with pytest.raises(CommandFailed, match=complaint) as caught:
        await stage.call("job_push", name=name, data=data)
    assert caught.value.code == code
    assert await stage.call("job_list") == []
    assert os.listdir(stage.lab.store.directory) == []


async def test_pull_gives_what_is_on_disk_now(stage):
    await stage.load("web", "sleep 60")
    stage.lab.store.write("web", b"// \xff\n{}")
    assert await stage.call("job_pull", name="web") == {
        "name": "web",
        "data": "// \ufffd\n{}",
        "base64": base64.b64encode(b"// \xff\n{}").decode(),
    }
    stage.lab.store.remove("web")
    with pytest.raises(NotFound):
        await stage.call("job_pull", name="web")


async def test_delete_waits_for_the_end_and_removes_the_file(stage):
    await stage.load("deaf", IGNORES_TERM, autoStart=True, stopTime=1)
    pid = await stage.alive("deaf")
    await stage.call("job_delete", name="deaf")
    assert not os.path.exists(f"/proc/{pid}")
    assert await stage.call("job_list") == []
    assert os.listdir(stage.lab.store.directory) == []
    with pytest.raises(NotFound):
        await stage.call("job_delete", name="deaf")


async def test_who_may_do_what(stage):
    roles = {command.name: command.role for command in file_commands(stage.supervisor)}
    assert roles == {"job_reload": "operate", "job_push": "admin", "job_pull": "admin", "job_delete": "admin"}
    described = {entry["name"]: entry["role"] for entry in await stage.call("describe")}
    looks, wishes = ("list", "status", "tail", "wait"), ("start", "stop", "restart", "kill", "signal", "repair")
    assert {described[f"job_{verb}"] for verb in looks} == {"observe"}
    assert {described[f"job_{verb}"] for verb in (*wishes, "pause", "resume")} == {"operate"}
    answer = await stage.served.server._dispatcher.run(Peer("tester", "operate"), "job_pull", {"name": "x"})
    assert answer.code == Denied.code


async def _result(call):
    return await call


async def test_a_file_that_is_no_text_is_refused(stage):
    answer = await stage.served.server._dispatcher.run(Peer.DAEMON, "job_push", {"name": "x", "data": "\ud800"})
    assert (answer.code, answer.message) == ("job.invalid", "not UTF-8")


async def test_a_job_file_is_not_repeated_to_those_who_may_not_read_it(stage, caplog):
    caplog.set_level("INFO", "ctld.jobs")
    data = job("sleep 60", env=[{"name": "TOKEN", "value": "hunter2"}])
    await stage.call("job_push", name="web", data=data, cli=f"ctlctl job push web '{data}'")
    with pytest.raises(CommandFailed):
        await stage.call("job_push", name="web", data=data + "}")
    history, events = await stage.call("history_list"), await stage.call("event_list")
    assert [json.loads(entry["options"]) for entry in history] == [{"name": "web", "data": "***"}] * 2
    assert "hunter2" not in json.dumps([history, events])
    assert f"has pushed a file of SHA-256 {hashlib.sha256(data.encode()).hexdigest()}" in caplog.text
    assert "hunter2" not in caplog.text
