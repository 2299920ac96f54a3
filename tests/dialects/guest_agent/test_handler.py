"""The daemon as a guest agent, on a real socket."""

import asyncio
import json
from dataclasses import replace

import pytest
import pytest_asyncio

import ctld
from ctld.dialects.guest_agent import asend_command
from ctld.dialects.guest_agent.commands import agent_commands
from ctld.dialects.guest_agent.handler import GuestAgentHandler, GuestAgentListen
from ctld.settings import DaemonSettings, Settings
from tests.native import serving


class Agent:
    def __init__(self, server, path):
        self.server = server
        self.path = path
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    async def open(self, handler=GuestAgentHandler, **keys):
        commands = ctld.CommandRegistry()

        @commands.command("vm_start", role="operate")
        async def vm_start(ctx: ctld.Context, name: str, count: int = 1) -> dict[str, object]:
            await ctx.progress("half")
            return {"name": name, "count": count}

        @commands.command("slow", role="operate")
        async def slow(ctx: ctld.Context) -> str:
            self.begun.set()
            await self.go_on.wait()
            return "ended"

        settings = Settings(daemon=DaemonSettings(runtime_dir="/run/mine"))
        commands.include(agent_commands(settings))
        listen = GuestAgentListen(address=f"unix:{self.path}", **keys)
        await self.server.listen(listen, handler=handler, commands=commands)

    async def ask(self, **fields):
        answer = await asend_command(json.dumps(fields).encode(), self.path)
        return json.loads(answer) if answer else None


@pytest_asyncio.fixture
async def agent(path, tmp_path):
    async with serving(tmp_path) as served:
        yield Agent(served.server, path)


@pytest.mark.parametrize("name", ["vm.start", "vm_start"])
async def test_dots_or_underscores_and_the_other_keys_are_options(agent, name):
    await agent.open()
    assert await agent.ask(Command=name, name="web", count=3) == {
        "Status": 0,
        "StatusMessage": "",
        "Response": {"name": "web", "count": 3},
    }


async def test_failures_have_statuses(agent):
    await agent.open()
    assert (await agent.ask(Command="nothing"))["Status"] == 101
    assert (await agent.ask())["Status"] == 101
    wrong = await agent.ask(Command="vm.start", nam="web")
    assert wrong["Status"] == 112


class Stranger(GuestAgentHandler):
    async def on_connect(self):
        await super().on_connect()
        self.peer = replace(self.peer, role="anyone", uid=12345)


async def test_who_may_not_is_told(agent):
    await agent.open(Stranger)
    assert (await agent.ask(Command="vm.start", name="web"))["Status"] == 110
    assert (await agent.ask(Command="agent.config.getoption", Option="Daemon.RuntimeDir"))["Status"] == 110


@pytest.mark.parametrize(
    ("option", "status", "value"),
    [
        ("Daemon.RuntimeDir", 0, "/run/mine"),
        ("Daemon.LogLevel", 0, "info"),
        ("Limits.MaxConnections", 0, "1024"),
        ("Daemon", 1, ""),
        ("daemon.x", 3, ""),
        ("", 2, ""),
    ],
)
async def test_the_configuration_answers(agent, option, status, value):
    await agent.open()
    answer = await agent.ask(Command="agent.config.getoption", Option=option)
    assert list(answer) == ["Status", "StatusMessage", "Option", "Value"]
    assert (answer["Status"], answer["Option"], answer["Value"]) == (status, option, value)


async def test_an_option_that_is_no_string(agent):
    await agent.open()
    answer = await agent.ask(Command="agent.config.getoption", Option=5)
    assert answer == {"Status": 105, "StatusMessage": "Option is no string"}


async def test_a_silent_peer_reads_the_end_at_the_deadline(agent, peer):
    await agent.open(timeout=0.05)
    async with peer() as one:
        await one.send(b"{")
        assert await one.read() == b""


async def test_with_strict_errors_it_is_told(agent, peer):
    await agent.open(timeout=0.05, strict_errors=True)
    async with peer() as one:
        assert (await one.read()).startswith(b'{"Status":104,')


async def test_the_answer_of_a_command_that_takes_too_long_is_lost_and_the_command_is_not(agent, peer):
    await agent.open(timeout=0.05)
    async with peer() as one:
        await one.send(b'{"Command":"slow"}')
        await agent.begun.wait()
        await asyncio.sleep(0.1)  # nothing tells when the time of the connection is over
        agent.go_on.set()
        assert await one.read() == b""


async def test_what_follows_the_request_does_not_cost_the_answer(agent, peer):
    await agent.open()
    async with peer() as one:
        await one.send(b'{"Command":"slow"}')
        await agent.begun.wait()
        await one.send(b"\n" + b"x" * 100_000)
        agent.go_on.set()
        assert json.loads(await one.read())["Response"] == "ended"


async def test_a_half_close_before_the_end(agent, peer):
    await agent.open()
    async with peer() as one:
        await one.send(b"garbage")
        one.half_close()
        assert await one.read() == b'{"Status":103,"StatusMessage":"Connection error"}'
