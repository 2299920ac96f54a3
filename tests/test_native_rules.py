"""Sentences of the native protocol that no other test names (N1, N2, N4, N7)."""

import json
from pathlib import Path
from typing import Any

import pytest

import ctld
from ctld.limits import Limits
from tests.native import serving


async def test_n2_unknown_top_level_keys_are_ignored(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        answer = await client.ask("ping", status=5, version="9", opt={}, CMD="x", **{"": None})
        assert answer == {"status": True, "response": "pong"}


@pytest.mark.parametrize("line", [b'{"cmd":"ping"}', b'{"cmd":"ping","opts":null}', b'{"cmd":"ping","opts":{}}'])
async def test_n2_missing_or_null_opts_mean_no_options(tmp_path: Path, line: bytes) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        client.write(line + b"\n")
        assert await client.receive() == {"status": True, "response": "pong"}


@pytest.mark.parametrize("opts", ["[]", '"x"', "5", "false"])
async def test_n2_opts_of_another_type_are_invalid_options(tmp_path: Path, opts: str) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        client.write(b'{"cmd":"ping","opts":%b}\n' % opts.encode())
        assert (await client.receive())["code"] == "invalid-options"


async def test_n2_a_refused_line_with_a_readable_id_is_answered_with_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        for line in (
            '{"id":"a"}',
            '{"cmd":5,"id":"a"}',
            '{"cmd":"ping","id":"a","deadline":0}',
            '{"cmd":"?","id":"a"}',
        ):
            client.write(line.encode() + b"\n")
            answer = await client.receive()
            assert (answer["status"], answer["id"]) == (False, "a")


async def test_n2_a_result_that_json_cannot_carry_is_internal_and_shows_no_repr(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    class Hidden:
        def __repr__(self) -> str:
            return "the repr of an internal object"

    @commands.command("lie", role="anyone")
    async def lie(ctx: ctld.Context) -> int:
        return Hidden()  # type: ignore[return-value]  # a type that lies

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        answer = await client.ask("lie")
        assert answer.keys() == {"status", "message", "code", "ref"}
        assert answer["code"] == "internal"
        assert "repr" not in json.dumps(answer)


async def test_n2_an_idle_client_is_parted_from_where_that_is_configured(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(idle_timeout=0.05)) as served:
        client = await served.connect()
        assert await client.at_end()


@pytest.mark.parametrize("value", [b"\xff\x00A", bytearray(b"\xff\x00A")])
async def test_n4_bytes_are_base64(tmp_path: Path, value: Any) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("blob", role="anyone")
    async def blob(ctx: ctld.Context) -> Any:
        return value

    async with serving(tmp_path, commands) as served:
        assert (await (await served.connect()).ask("blob"))["response"] == "/wBB"


async def test_n4_text_that_is_no_utf_8_is_carried_with_the_replacement_character(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("files", role="anyone")
    async def files(ctx: ctld.Context) -> dict[str, Any]:
        await ctx.progress("at \udcff", data="\udcff")
        return {"name\udcff": ["\udcff.img"]}

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "files"})
        assert (await client.receive())["progress"] == "at \ufffd"
        assert (await client.receive())["response"] == {"name\ufffd": ["\ufffd.img"]}


async def test_n3_a_command_may_define_slugs_of_its_own(tmp_path: Path) -> None:
    class Paused(ctld.CommandFailed):
        code = "vm.paused"

    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("start", role="anyone")
    async def start(ctx: ctld.Context) -> None:
        raise Paused("web is paused", name="web")

    async with serving(tmp_path, commands) as served:
        answer = await (await served.connect()).ask("start")
        assert answer == {"status": False, "message": "web is paused", "code": "vm.paused", "name": "web"}
