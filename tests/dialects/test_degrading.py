"""What becomes of what a dialect cannot express: each rule of docs/reference/dialects.md, beside the matrix."""

import asyncio
import json
import os
import re
from pathlib import Path

import pytest
import pytest_asyncio

from ctld.dialects.guest_agent.handler import GuestAgentListen
from ctld.dialects.taskmaster.handler import TaskmasterListen
from ctld.jobs.state import State
from tests.dialects.conformance.daemon import WIRES, running
from tests.dialects.conformance.rules import Rule
from tests.dialects.conformance.wire import Answer
from tests.jobs.conftest import lab
from tests.native import until

__all__ = ["lab"]

DOCS = Path(__file__).parents[2] / "docs" / "reference" / "dialects.md"
HERE = Path(__file__).parent

WEB = "svc/web"


@pytest_asyncio.fixture
async def daemon(lab):
    async with running(lab) as daemon:
        yield daemon


def test_the_page_has_the_rules_that_the_tests_name():
    assert re.findall(r"^### (D\d+: .*)$", DOCS.read_text(), re.MULTILINE) == [rule.value for rule in Rule]


@pytest.mark.parametrize("rule", Rule, ids=lambda rule: rule.id)
def test_every_rule_is_named_by_a_test(rule):
    tests = "".join((HERE / f"test_{name}.py").read_text() for name in ("conformance", "degrading"))
    assert f"Rule.{rule.name}" in tests


async def test_d3_whether_a_wish_was_news_is_only_told_by_who_can(daemon):
    await daemon.load(WEB, "sleep 60")
    daemon.supervisor.start_job(WEB)
    await daemon.lab.until_state(daemon.supervisor, WEB, State.ALIVE)
    words = {}
    for name in ("taskmaster", "fss-control"):
        async with daemon.connect(name) as wire:
            words[name] = await wire.ask("start", WEB)
    # Rule.NO_RESULT
    assert words == {"taskmaster": Answer("redundant"), "fss-control": Answer("controller F_success")}
    async with daemon.connect("guest-agent") as wire:
        wire.send("start", WEB)
        answer = json.loads(await wire.reader.read())
    assert answer["Response"] == await daemon.client.call("job_start", {"name": WEB})
    assert answer["Response"]["changed"] is False


async def test_d4_the_fields_of_a_failure_stay_behind(daemon):
    for name in ("taskmaster", "guest-agent"):
        async with daemon.connect(name) as wire:
            wire.send("start", "nothing")
            answer = await (wire.reader.readuntil(b";;") if name == "taskmaster" else wire.reader.read())
            # Rule.FEW_WORDS
            keys = {"response", "error", "data"} if name == "taskmaster" else {"Status", "StatusMessage"}
            assert json.loads(answer.removesuffix(b";;")).keys() == keys


@pytest.mark.parametrize("name", ["taskmaster", "fss-control", "guest-agent"])
async def test_d4_the_reference_of_an_internal_error_is_in_the_sentence(daemon, name, caplog, monkeypatch):
    await daemon.load(WEB, "sleep 60")
    monkeypatch.setattr(daemon.supervisor, "start_job", lambda name: 1 / 0)
    async with daemon.connect(name) as wire:
        answer = await wire.ask("start", WEB)
    # Rule.FEW_WORDS
    found = re.fullmatch(r"internal error \(reference ([0-9a-f]{8})\)", answer.message)
    assert found is not None, answer
    assert f"internal error {found[1]}: " in caplog.text


async def test_d5_over_a_unix_socket_even_taskmaster_knows_who_asks(daemon):
    await daemon.load(WEB, "sleep 60")
    path = f"{daemon.lab.folder}/local"
    await daemon.server.listen(TaskmasterListen(address=f"unix:{path}"))  # whose role would be `observe`
    streams = await asyncio.open_unix_connection(path)
    wire = WIRES["taskmaster"](*streams)
    assert (await wire.ask("start", WEB)).word == "success"
    await wire.hang_up()
    (entry,) = await daemon.records()
    assert (entry.dialect, entry.uid) == ("taskmaster", os.geteuid())  # unlike Rule.NO_IDENTITY


async def test_d6_only_a_guest_agent_has_options(daemon):
    await daemon.load(WEB, "sleep 60")
    for name in ("taskmaster", "fss-control", "guest-agent"):
        async with daemon.connect(name) as wire:
            if name == "guest-agent":
                wire.writer.write(b'{"Command":"job.start","name":"svc/web","wait":false,"cli":"a script"}')
            else:
                wire.send("start", WEB)  # Rule.NO_OPTIONS
            await wire.receive()
    assert [(entry.cli, json.loads(entry.options)) for entry in await daemon.records()] == [
        ("", {"name": WEB, "wait": False}),
        ("", {"name": WEB}),
        ("a script", {"name": WEB, "wait": False}),
    ]


async def test_d6_an_option_of_a_guest_agent_is_not_called_command(daemon):
    async with daemon.connect("guest-agent") as wire:
        wire.writer.write(b'{"Command":"job.schedule.add","command":"ping"}')
        answer = json.loads(await wire.reader.read())
    assert answer["Response"] == "pong"  # Rule.NO_OPTIONS: the last one is the command


@pytest.mark.parametrize("name", ["fss-control", "guest-agent"])
async def test_d7_a_second_request_is_not_served(daemon, name):
    await daemon.load(WEB, "sleep 60")
    async with daemon.connect(name) as wire:
        wire.send("start", WEB)
        await until(lambda: daemon.supervisor.info(WEB).desired)
        wire.send("stop", WEB)
        await wire.receive()  # Rule.ONE_REQUEST: to the end of the connection
    assert [entry.command for entry in await daemon.records()] == ["job_start"]
    assert daemon.supervisor.info(WEB).desired


async def test_d7_a_stream_is_collected(daemon):
    await daemon.load(WEB, "sh -c 'echo a; echo b; sleep 60'", stdout="out")
    daemon.supervisor.start_job(WEB)
    await daemon.lab.until_state(daemon.supervisor, WEB, State.ALIVE)
    await until(lambda: (daemon.lab.work / "0_out").read_text() == "a\nb\n")
    async with daemon.connect("guest-agent") as wire:
        wire.send("tail", WEB)
        answer = json.loads(await wire.reader.read())
    # Rule.ONE_REQUEST
    assert [line["text"] for line in answer["Response"]] == ["a", "b"]


async def test_d7_a_stream_that_does_not_end_ends_when_its_client_leaves(daemon):
    await daemon.load(WEB, "sh -c 'echo a; sleep 60'", stdout="out")
    daemon.supervisor.start_job(WEB)
    await daemon.lab.until_state(daemon.supervisor, WEB, State.ALIVE)

    async def runs() -> list[str]:
        return [operation["command"] for operation in await daemon.client.call("op_list")]

    async with daemon.connect("guest-agent") as wire:
        wire.writer.write(b'{"Command":"job.tail","name":"svc/web","follow":true}')
        while "job_tail" not in await runs():
            await asyncio.sleep(0.001)
    # Rule.ONE_REQUEST
    while "job_tail" in await runs():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("command", ["console", "job.attach", "event.subscribe"])
async def test_d7_what_takes_the_connection_over_is_refused(daemon, command):
    await daemon.load(WEB, "sleep 60", tty=True)
    daemon.supervisor.start_job(WEB)
    await daemon.lab.until_state(daemon.supervisor, WEB, State.ALIVE)
    async with daemon.connect("guest-agent") as wire:
        wire.writer.write(json.dumps({"Command": command, **({"name": WEB} if "job" in command else {})}).encode())
        answer = json.loads(await wire.reader.readuntil(b"}"))
    # Rule.ONE_REQUEST
    assert answer["Status"] == 120
    assert await daemon.records() == []


async def test_d8_an_answer_that_comes_too_late_is_lost_and_its_command_is_not(daemon):
    await daemon.load(WEB, "sleep 60")
    path = f"{daemon.lab.folder}/hasty"
    await daemon.server.listen(GuestAgentListen(address=f"unix:{path}", timeout=0.01))
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b'{"Command":"job.start","name":"svc/web"}')  # which takes longer
    assert await reader.read() == b""  # Rule.TIME_LIMIT
    writer.close()
    (entry,) = await daemon.records()
    assert (entry.command, entry.outcome) == ("job_start", "done")
    assert daemon.supervisor.info(WEB).processes[0].state is State.ALIVE


async def test_d10_an_action_for_later_is_noted_now_and_recorded_when_it_runs(daemon):
    await daemon.load(WEB, "sleep 60")
    async with daemon.connect("fss-control") as wire:
        assert (await wire.ask("start", f"{WEB} in 2 hours")).word == "controller F_done"
    # Rule.LATER
    (entry,) = await daemon.records()
    assert (entry.command, entry.dialect) == ("job_schedule_add", "fss-control")
    assert json.loads(entry.options) == {"command": "job_start", "options": {"name": WEB}, "delay": 7200.0}
    (noted,) = await daemon.client.call("job_schedule")
    await daemon.client.call("job_schedule_run", {"id": noted["id"]})
    later = (await daemon.records())[1]
    assert (later.command, later.outcome, later.peer, later.uid) == ("job_start", "done", entry.peer, entry.uid)
    assert later.dialect == ""
    assert daemon.supervisor.info(WEB).processes[0].state is State.ALIVE
