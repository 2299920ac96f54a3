"""The built-in commands about the daemon: ping, version, status, describe, can_i, shutdown."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
import pytest

from ctld.commands.context import Context
from ctld.commands.options import Option
from ctld.commands.registry import CommandRegistry
from ctld.errors import CommandFailed, Denied
from ctld.peer import Peer
from ctld.version import VERSION
from ctld.wire.jsontext import encode
from tests.commands.stage import ALICE, BOB, ROOT, Sink, stage

NOBODY = Peer(role="anyone", transport="tcp")


def dispatcher():
    commands = CommandRegistry[Any]()

    @commands.command(
        "vm_start",
        role="operate",
        aliases=["start"],
        on_disconnect="cancel",
        session=True,
        since="1.1",
        deprecated="use vm_run",
    )
    async def vm_start(
        ctx: Context, name: Annotated[str, Option("the VM", complete="vm_list.name")], paused: bool = False
    ) -> dict[str, int]:
        """Start a VM."""
        raise AssertionError("never runs here")

    @commands.command("watch", role="observe", endless=True)
    async def watch(ctx: Context) -> AsyncIterator[int]:
        yield 1

    return stage(commands)


async def ask(peer, name, opts=None, sink=None, on=None):
    outcome = await (on or dispatcher()).run(peer, name, opts or {}, sink or Sink())
    return msgspec.json.decode(encode(outcome.response)) if hasattr(outcome, "response") else outcome


async def test_ping():
    assert await ask(NOBODY, "ping") == "pong"


async def test_version():
    assert await ask(NOBODY, "version") == {"version": "7.0", "ctld": VERSION, "protocol": 2}
    assert await ask(NOBODY, "version", sink=Sink(server_version=None)) == {
        "version": None,
        "ctld": VERSION,
        "protocol": 2,
    }


async def test_status():
    assert await ask(BOB, "status") == {"version": "7.0", "state": "running", "pid": 1}
    assert (await ask(NOBODY, "status")).code == "denied"


async def test_shutdown_is_for_admins():
    on = dispatcher()
    assert (await ask(ALICE, "shutdown", on=on)).code == "denied"
    assert on.runtime.server.closed == 0
    assert await ask(ROOT, "shutdown", on=on) == "shutting down"
    assert on.runtime.server.closed == 1


async def test_describe_one_command():
    expected = {
        "name": "vm_start",
        "doc": "Start a VM.",
        "role": "operate",
        "allowed": True,
        "options": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "the VM", "x-complete": "vm_list.name"},
                "paused": {"type": "boolean", "default": False},
            },
            "required": ["name"],
            "additionalProperties": False,
        },
        "result": {"type": "object", "additionalProperties": {"type": "integer"}},
        "streams": False,
        "session": True,
        "endless": False,
        "on_disconnect": "cancel",
        "aliases": ["start"],
        "since": "1.1",
        "deprecated": "use vm_run",
    }
    assert await ask(ALICE, "describe", {"cmd": "vm_start"}) == expected
    assert await ask(ALICE, "describe", {"cmd": "start"}) == expected
    assert (await ask(BOB, "describe", {"cmd": "vm_start"}))["allowed"] is False
    watch = await ask(BOB, "describe", {"cmd": "watch"})
    assert (watch["streams"], watch["endless"], watch["on_disconnect"]) == (True, True, "cancel")
    assert watch["result"] == {"type": "array", "items": {"type": "integer"}}


async def test_describe_everything():
    on = dispatcher()
    described = await ask(NOBODY, "describe", on=on)
    names = [entry["name"] for entry in described]
    assert names == sorted({command.name for command in on.commands.values()})
    assert {entry["name"] for entry in described if entry["allowed"]} == {
        command.name for command in on.commands.values() if command.role == "anyone"
    }
    for entry in described:
        assert entry["options"]["type"] == "object"
        if entry["name"] not in ("vm_start", "watch"):
            assert entry["doc"], "every built-in command says what it does"


async def test_describe_an_unknown_command():
    outcome = await ask(ROOT, "describe", {"cmd": "nowhere"})
    assert (outcome.code, outcome.message) == ("unknown-command", "Unsupported command 'nowhere'")


async def not_for_ct1(command, opts):
    if command.name == "vm_start":
        if opts.get("name") == "ct1":
            raise Denied("ct1 is precious", role="admin", remedy="ask its owner")
        if opts.get("name") == "ct2":
            raise Denied("ct2 as well")
        if not opts:
            raise Denied("in general not")


async def test_n7_describe_asks_the_handler_too():
    sink = Sink(not_for_ct1)
    assert (await ask(ALICE, "describe", {"cmd": "vm_start"}, sink))["allowed"] is False
    assert (await ask(ALICE, "describe", {"cmd": "ping"}, sink))["allowed"] is True
    assert {entry["name"] for entry in await ask(ALICE, "describe", {}, sink) if entry["allowed"]} >= {"ping", "watch"}


@pytest.mark.parametrize(
    ("peer", "opts", "allowed", "remedy"),
    [
        (ALICE, {"cmd": "vm_start", "opts": {"name": "a"}}, True, ""),
        (ALICE, {"cmd": "start", "opts": {"name": "a"}}, True, ""),
        (ALICE, {"cmd": "vm_start", "opts": {"name": "ct1"}}, False, "ask its owner"),
        (ALICE, {"cmd": "vm_start", "opts": {"name": "ct2"}}, False, "ct2 as well"),
        (ALICE, {"cmd": "vm_start"}, False, "in general not"),
        (ALICE, {"cmd": "vm_start", "opts": {"name": "a", "nonsense": 1}}, True, ""),
    ],
)
async def test_n7_can_i_asks_the_handler_without_running_anything(peer, opts, allowed, remedy):
    sink = Sink(not_for_ct1)
    on = dispatcher()
    assert await ask(peer, "can_i", opts, sink, on) == {"allowed": allowed, "role": "operate", "remedy": remedy}
    assert on.runtime.operations.started == 1  # can_i itself


async def test_can_i_tells_what_would_help():
    answer = await ask(BOB, "can_i", {"cmd": "vm_start", "opts": {"name": "a"}})
    assert (answer["allowed"], answer["role"]) == (False, "operate")
    refusal = await ask(BOB, "vm_start", {"name": "a"})
    assert answer["remedy"] == refusal.fields["remedy"]
    assert await ask(BOB, "can_i", {"cmd": "status"}) == {"allowed": True, "role": "observe", "remedy": ""}
    assert (await ask(BOB, "can_i", {"cmd": "nowhere"})).code == "unknown-command"


async def test_can_i_passes_on_other_failures_of_the_handler():
    async def authorize(command, opts):
        if command.name == "vm_start":
            raise CommandFailed("the directory server is away")

    assert (await ask(ALICE, "can_i", {"cmd": "vm_start"}, Sink(authorize))).message == "the directory server is away"
