"""N3: every failure is a message for people, a slug for programs, and fields where they help."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import ctld
from ctld.errors import error_from_wire
from ctld.limits import Limits
from tests.native import serving, until


class NoSuchVm(ctld.CommandFailed):
    code = "vm.not-found"


def failing() -> ctld.CommandRegistry[Any]:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("sized", role="anyone")
    async def sized(ctx: ctld.Context, size: int) -> None:
        return None

    @commands.command("failed", role="anyone")
    async def failed(ctx: ctld.Context) -> None:
        raise ctld.CommandFailed("the disk is full", disk="sda")

    @commands.command("own", role="anyone")
    async def own(ctx: ctld.Context) -> None:
        raise NoSuchVm("there is no vm 'a'", vm="a")

    @commands.command("missing", role="anyone")
    async def missing(ctx: ctld.Context) -> None:
        raise ctld.NotFound("there is no container 'ct1'", kind="container", name="ct1")

    @commands.command("rude", role="anyone")
    async def rude(ctx: ctld.Context) -> None:
        raise ctld.CommandFailed("mine", status=True, id=9)

    @commands.command("crash", role="anyone")
    async def crash(ctx: ctld.Context) -> None:
        raise RuntimeError

    @commands.command("wait", role="anyone")
    async def wait(ctx: ctld.Context) -> None:
        await ctx.stopping.wait()

    @commands.command("letters", role="anyone")
    async def letters(ctx: ctld.Context) -> AsyncIterator[str]:
        while True:
            yield "x" * 1000

    return commands


CASES = [
    ({"cmd": "failed"}, "failed", {"disk": "sda"}),
    ({"cmd": "own"}, "vm.not-found", {"vm": "a"}),
    ({"cmd": "missing"}, "not-found", {"kind": "container", "name": "ct1"}),
    ({"cmd": "op_wait", "opts": {"id": "7"}}, "not-found", {"kind": "operation", "name": "7"}),
    ({"cmd": "nope"}, "unknown-command", {}),
    ({"cmd": "sized"}, "invalid-options", {"path": "$.size"}),
    ({"cmd": "sized", "opts": {"size": "x"}}, "invalid-options", {"path": "$.size"}),
    ({"cmd": "sized", "opts": {"size": 1, "sise": 2}}, "invalid-options", {"path": "$.sise"}),
    ({"cmd": "sized", "opts": [1]}, "invalid-options", {"path": "$"}),
    ({"cmd": 5}, "bad-request", {}),
    ([], "bad-request", {}),
    ({"cmd": "letters"}, "too-large", {}),
    ({"cmd": "wait", "deadline": 0.01}, "deadline", {}),
]


@pytest.mark.parametrize(("request_", "code", "fields"), CASES)
async def test_n3_slug_message_and_fields(tmp_path: Path, request_: Any, code: str, fields: dict[str, object]) -> None:
    async with serving(tmp_path, failing(), limits=Limits(max_line=100_000)) as served:
        client = await served.connect()
        client.send(request_)
        answer = await client.receive()
        assert answer.pop("status") is False
        assert answer.pop("code") == code
        message = answer.pop("message")
        assert message
        assert "\n" not in message
        assert answer == fields
        error = error_from_wire(message, code, dict(answer))
        assert (error.code, str(error), error.fields) == (code, message, fields)


async def test_n3_unknown_command_in_the_ancestor_s_words(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        assert (await client.ask("nope"))["message"] == "Unsupported command 'nope'"
        answer = await client.ask("x" * 100_000)
        assert len(answer["message"]) < 1000


async def test_n3_denied_names_the_role_and_a_remedy(tmp_path: Path) -> None:
    class Guest(ctld.ClientHandler):
        async def on_connect(self) -> None:
            self.peer = ctld.Peer(transport="tcp")

    async with serving(tmp_path, failing(), handler=Guest) as served:
        answer = await (await served.connect()).ask("shutdown")
        assert answer["code"] == "denied"
        assert answer["role"] == "admin"
        assert answer["remedy"]


async def test_n3_internal_carries_a_reference_and_nothing_else(tmp_path: Path) -> None:
    async with serving(tmp_path, failing()) as served:
        answer = await (await served.connect()).ask("crash")
        assert set(answer) == {"status", "message", "code", "ref"}
        assert answer["message"] == "internal error"


async def test_n3_fields_never_replace_what_the_protocol_says(tmp_path: Path) -> None:
    async with serving(tmp_path, failing()) as served:
        client = await served.connect()
        client.send({"cmd": "rude", "id": 5})
        answer = await client.receive()
        assert answer["status"] is False
        assert answer["id"] == 5


async def test_n3_cancelled_busy_and_shutting_down(tmp_path: Path) -> None:
    async with serving(tmp_path, failing(), limits=Limits(max_in_flight=1, stop_grace=0.01)) as served:
        client = await served.connect()
        client.send({"cmd": "wait", "id": 1}, {"cmd": "wait", "id": 2}, {"cancel": 1})
        assert [(await client.receive())["code"] for _ in range(2)] == ["busy", "cancelled"]
        client.send({"cmd": "wait"})
        await until(lambda: served.server.status()["running"])
        served.server.close()
        answers = await client.receive_all()
        assert answers in ([{"status": True, "response": None}], [{**answers[0], "code": "shutting-down"}])
