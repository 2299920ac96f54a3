"""The daemon as a guest agent, on a real socket: the vectors, and what of A14 concerns it."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import pytest_asyncio

import ctld
from ctld.dialects.guest_agent import asend_command
from ctld.dialects.guest_agent.codec import STATUSES, RawAnswer
from ctld.dialects.guest_agent.commands import agent_commands
from ctld.dialects.guest_agent.handler import GUEST_AGENT, GuestAgentHandler, GuestAgentListen
from ctld.errors import ListenFailed
from ctld.limits import Limits
from ctld.settings import DaemonSettings, Settings
from tests.dialects.guest_agent.vectors import VECTORS, converse, deadline_of
from tests.native import serving, until

# A command of the daemon is given options, not the bytes that they came in.
OURS = [case for case in VECTORS if '"echo"' not in case["request"]]
OK = RawAnswer(b'{"Status":0,"StatusMessage":"OK"}')


class Recorded(msgspec.Struct):
    """The configuration of the agent whose answers were recorded."""

    core: dict[str, object]
    instance_setup: dict[str, object]
    unstable: dict[str, object]


RECORDED = Recorded({"log_level": 3}, {"network_enabled": True}, {"command_pipe_mode": "0770"})


def recorded_commands():
    commands = ctld.CommandRegistry()

    @commands.command("ok", role="anyone")
    async def ok(ctx: ctld.Context, **rest: Any) -> object:
        return OK

    @commands.command("fail", role="anyone")
    async def fail(ctx: ctld.Context, **rest: Any) -> None:
        raise ctld.CommandFailed("always fail")

    @commands.command("failwith", role="anyone")
    async def failwith(ctx: ctld.Context, **rest: Any) -> None:
        raise ctld.CommandFailed(rest["Data"])

    @commands.command("raw", role="anyone")
    async def raw(ctx: ctld.Context, **rest: Any) -> object:
        return RawAnswer(rest["Data"].encode())

    @commands.command("nil", role="anyone")
    async def nil(ctx: ctld.Context) -> object:
        return RawAnswer(b"")

    @commands.command("sleep", role="anyone")
    async def sleep(ctx: ctld.Context, **rest: Any) -> object:
        await asyncio.sleep(rest["Ms"] / 1000)
        return OK

    @commands.command("big", role="anyone")
    async def big(ctx: ctld.Context) -> object:
        return RawAnswer(b"x" * 3_000_000)

    commands.include(agent_commands(RECORDED))
    return commands


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
        await self.open_with(commands, handler, **keys)

    async def open_with(self, commands, handler=GuestAgentHandler, **keys):
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


async def test_what_has_more_than_one_answer_is_refused(agent, caplog):
    commands = ctld.CommandRegistry()

    @commands.command("take_over", role="operate", session=True)
    async def take_over(ctx: ctld.Context) -> None:
        raise AssertionError("not here")

    @commands.command("numbers", role="operate", endless=True)
    async def numbers(ctx: ctld.Context) -> AsyncIterator[int]:
        yield 1

    @commands.command("three", role="operate")
    async def three(ctx: ctld.Context) -> AsyncIterator[int]:
        for number in range(3):
            yield number

    await agent.open_with(commands)
    for name in ("take.over", "take_over", "numbers", "event.subscribe"):
        answer = await agent.ask(Command=name)
        assert answer["Status"] == STATUSES["bad-request"]
        assert answer["StatusMessage"].endswith("does not end with one answer, and this wire has no room for more")
    assert (await agent.ask(Command="three"))["Response"] == [0, 1, 2]
    assert "internal" not in caplog.text


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


@pytest.mark.parametrize("keys", [("Option", "option"), ("OPTION", "Option")])
async def test_a2_a_null_leaves_what_an_earlier_key_said(agent, keys):
    await agent.open()
    answer = await agent.ask(
        Command="agent.config.getoption", **dict(zip(keys, ("Daemon.LogLevel", None), strict=True))
    )
    assert answer["Value"] == "info"


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


@pytest.mark.parametrize("case", OURS, ids=lambda case: case["name"])
async def test_a13_vectors(case, agent, peer):
    await agent.open_with(recorded_commands(), timeout=deadline_of(case))
    async with peer() as one:
        await converse(case, one)


async def test_a13_names_in_other_cases_and_the_last_one_counts(agent, peer):
    await agent.open_with(recorded_commands())
    for request in (b'{"COMMAND":"ok"}', b'{"Command":"nope","command":"ok"}', rb'{"Command":"o\u006b"}'):
        async with peer() as one:
            await one.send(request)
            assert await one.read() == OK


async def test_a13_the_error_of_a_command_is_escaped_as_go_does(agent, peer):
    await agent.open_with(recorded_commands())
    async with peer() as one:
        await one.send(json.dumps({"Command": "failwith", "Data": "<a>&\u2028é\x7f/"}).encode())
        assert await one.read() == ('{"Status":105,"StatusMessage":"\\u003ca\\u003e\\u0026\\u2028é\x7f/"}'.encode())


async def test_a14_byte_at_a_time_also_within_a_character_and_an_escape(agent, peer):
    await agent.open()
    request = '{"name":"é\\u00e9\\"","Command":"vm.start"}'.encode()
    async with peer() as one:
        for i in range(len(request)):
            await one.send(request[i : i + 1])
            await asyncio.sleep(0)
        assert json.loads(await one.read())["Response"]["name"] == 'éé"'


async def test_a14_a_second_value_while_the_command_runs(agent, peer):
    await agent.open()
    async with peer() as one:
        await one.send(b'{"Command":"slow"}')
        await agent.begun.wait()
        await one.send(b'{"Command":"vm.start","name":"x"}')
        agent.go_on.set()
        assert json.loads(await one.read())["Response"] == "ended"


async def test_a14_a_newline_after_the_answer_does_no_harm(agent, peer):
    await agent.open_with(recorded_commands())
    async with peer() as one:
        await one.send(b'{"Command":"ok"}')
        await asyncio.get_running_loop().sock_recv(one.sock, 1)
        await one.send(b"\n")
        assert await one.read() == OK[1:]


async def test_a14_a_client_that_vanishes_does_not_end_its_command(agent, peer):
    await agent.open()
    async with peer() as one:
        await one.send(b'{"Command":"slow"}')
        await agent.begun.wait()
    operations = agent.server._runtime.operations
    await until(lambda: not agent.server.connections() or agent.server.connections()[0]["running"])
    assert len(operations) == 1
    agent.go_on.set()
    await until(lambda: not len(operations))
    await until(lambda: not agent.server.connections())


async def test_a14_a_large_answer_to_a_slow_reader_and_a_large_request(agent, peer):
    await agent.open()
    await agent.server.listen(
        GuestAgentListen(address=f"unix:{agent.path}2"), handler=GuestAgentHandler, commands=recorded_commands()
    )
    answer = await agent.ask(Command="vm.start", name="x" * 500_000)
    assert answer["Response"]["name"] == "x" * 500_000
    reader, writer = await asyncio.open_unix_connection(f"{agent.path}2", limit=4096)
    writer.write(b'{"Command":"big"}')
    got = 0
    while part := await reader.read(10_000):
        got += len(part)
        await asyncio.sleep(0)
    assert got == 3_000_000
    writer.close()


async def test_a14_a_peer_that_never_reads_is_dropped_at_the_deadline(path, tmp_path, peer):
    patient = Limits(drain_timeout=300, write_timeout=300)
    async with serving(tmp_path, limits=patient) as served:
        agent = Agent(served.server, path)
        await agent.open_with(recorded_commands(), timeout=0.2)
        async with peer() as one:
            await one.send(b'{"Command":"big"}')
            await until(agent.server.connections)
            await until(lambda: not agent.server.connections())


async def test_a14_a_request_that_is_too_long_ends_the_connection(agent, peer):
    await agent.open(max_request=100)
    async with peer() as one:
        await one.send(b'{"x":"' + b"y" * 200)
        assert await one.read() == b""


async def test_a14_the_daemon_stops_while_clients_wait(agent, peer):
    await agent.open()
    async with peer() as silent, peer() as busy:
        await silent.send(b'{"Comm')
        await busy.send(b'{"Command":"slow"}')
        await agent.begun.wait()
        agent.server.close()
        assert await silent.read() == b""
        agent.go_on.set()
        assert json.loads(await busy.read())["Status"] in (0, STATUSES["shutting-down"])


async def test_with_strict_errors_garbage_is_answered_at_once(agent, peer):
    await agent.open(strict_errors=True)
    async with peer() as one:
        await one.send(b"garbage")
        assert await one.read() == b'{"Status":102,"StatusMessage":"Could not parse valid JSON from request"}'


@pytest.mark.parametrize("name", ["\ud800", "a\0b", "../x", "x" * 5000, "é"])
async def test_names_from_hell_are_ordinary_values(agent, peer, name):
    await agent.open()
    async with peer() as one:
        await one.send(json.dumps({"Command": "vm.start", "name": name}).encode())
        answer = json.loads(await one.read())
    assert answer["Status"] in (0, 112)
    assert "internal" not in answer["StatusMessage"]


async def test_a_full_house_is_an_answer(path, tmp_path, peer):
    async with serving(tmp_path, limits=Limits(max_connections=2)) as served:  # one uid gets half of them
        agent = Agent(served.server, path)
        await agent.open()
        async with peer() as first:
            await first.send(b"{")
            await until(served.server.connections)
            async with peer() as second:
                answer = json.loads(await second.read())
        assert answer["Status"] == STATUSES["busy"]
        assert answer["StatusMessage"] == "the daemon is busy: too many connections"


def test_a7_the_folder_of_the_socket_is_made_and_what_was_there_is_left_alone(tmp_path):
    tmp_path.chmod(0o711)
    GUEST_AGENT.prepare(GuestAgentListen(address=f"unix:{tmp_path}/run/monitors/guestagent", mode="0700"))
    modes = [path.stat().st_mode & 0o7777 for path in (tmp_path, tmp_path / "run", tmp_path / "run/monitors")]
    assert modes == [0o711, 0o700, 0o700]
    for elsewhere in ("unix:@guestagent", "tcp:127.0.0.1:7777", "systemd:"):
        GUEST_AGENT.prepare(GuestAgentListen(address=elsewhere))
    assert len(list(tmp_path.rglob("*"))) == 2


def test_a7_a_folder_where_others_could_put_a_socket_is_refused(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(ListenFailed, match="anybody may write there"):
        GUEST_AGENT.prepare(GuestAgentListen(address=f"unix:{tmp_path}/guestagent"))


async def test_the_history_knows_the_dialect_and_no_dots(agent):
    await agent.open()
    await agent.ask(Command="vm.start", name="web")
    await agent.server.history.flush()
    entries = await agent.server.history.query(limit=1)
    assert [(entry.command, entry.dialect) for entry in entries] == [("vm_start", "guest-agent")]
