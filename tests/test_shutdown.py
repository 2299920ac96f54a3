"""N2, and ARCHITECTURE's stages: every outstanding request gets a final message, and nothing lasts for ever."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import ctld
from ctld.limits import Limits
from tests.native import serving, until

SHUTTING_DOWN = {"status": False, "message": "the daemon is shutting down", "code": "shutting-down"}


def commands_that_last() -> ctld.CommandRegistry[Any]:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("last", role="anyone")
    async def last(ctx: ctld.Context) -> None:
        await asyncio.Event().wait()

    @commands.command("until_told", role="anyone")
    async def until_told(ctx: ctld.Context) -> str:
        await ctx.stopping.wait()
        return "told"

    @commands.command("stream", role="anyone")
    async def stream(ctx: ctld.Context) -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    return commands


async def test_idle_clients_are_closed_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(stop_grace=60, drain_timeout=60)) as served:
        clients = [await served.connect() for _ in range(5)]
        await clients[0].ask("ping")
        served.server.close()
        await served.server.wait_closed()
        for client in clients:
            assert await client.receive_all() == []


async def test_a_request_that_was_sent_before_the_end_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        client.send({"cmd": "ping"}, {"cmd": "ping", "id": 1})
        served.server.close()
        answers = await client.receive_all()
        assert len(answers) == 2
        assert all(answer.get("response") == "pong" or answer["code"] == "shutting-down" for answer in answers)


async def test_running_commands_are_told_and_get_a_grace_period(tmp_path: Path) -> None:
    async with serving(tmp_path, commands_that_last()) as served:
        client = await served.connect()
        client.send({"cmd": "until_told"})
        await until(lambda: served.server.status()["running"])
        served.server.close()
        assert await client.receive_all() == [{"status": True, "response": "told"}]


async def test_what_still_runs_after_the_grace_period_is_cancelled_and_answered(tmp_path: Path) -> None:
    async with serving(tmp_path, commands_that_last(), limits=Limits(stop_grace=0.05)) as served:
        busy, streaming, half_closed = [await served.connect() for _ in range(3)]
        busy.send({"cmd": "last"}, {"cmd": "last", "id": 1}, {"cmd": "last"})
        streaming.send({"cmd": "stream", "stream": True})
        half_closed.send({"cmd": "last"})
        half_closed.half_close()
        assert (await streaming.receive())["item"] == 1
        await until(lambda: served.server.status()["running"] == 4)
        served.server.close()
        answers = await busy.receive_all()
        assert sorted(answers, key=str) == sorted([SHUTTING_DOWN, SHUTTING_DOWN, {**SHUTTING_DOWN, "id": 1}], key=str)
        assert await streaming.receive_all() == [SHUTTING_DOWN]
        assert await half_closed.receive_all() == [SHUTTING_DOWN]


async def test_a_second_wish_does_not_wait_for_what_runs(tmp_path: Path) -> None:
    async with serving(tmp_path, commands_that_last(), limits=Limits(stop_grace=3600)) as served:
        client = await served.connect()
        client.send({"cmd": "last"})
        await until(lambda: served.server.status()["running"])
        served.server.close()
        await asyncio.sleep(0)
        served.server.hurry()
        assert await client.receive_all() == [SHUTTING_DOWN]
        await served.server.wait_closed()


async def test_new_clients_and_requests_are_refused_while_stopping(tmp_path: Path) -> None:
    async with serving(tmp_path, commands_that_last()) as served:
        client = await served.connect()
        client.send({"cmd": "last", "id": 1})
        await until(lambda: served.server.status()["running"])
        served.server.close()
        await until(lambda: served.server.status()["state"] == "stopping")
        with pytest.raises(OSError, match=r"No such file|refused"):
            await served.connect()
        client.send({"cmd": "ping"})
        assert (await client.receive())["code"] == "shutting-down"
        served.server.hurry()
        assert (await client.receive_all())[0]["id"] == 1


async def test_a_command_that_cannot_be_cancelled_is_answered_for_and_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()
    release = asyncio.Event()

    @commands.command("deaf", role="anyone")
    async def deaf(ctx: ctld.Context) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    limits = Limits(stop_grace=0.01, cancel_grace=0.01, drain_timeout=0.05)
    async with serving(tmp_path, commands, limits=limits) as served:
        client = await served.connect()
        client.send({"cmd": "deaf"}, {"cmd": "deaf", "id": 1})
        await until(lambda: served.server.status()["running"] == 2)
        served.server.close()
        answers = await client.receive_all()
        assert [answer["code"] for answer in answers] == ["shutting-down"] * 2
        await served.server.wait_closed()
        assert "does not let itself be cancelled" in caplog.text
        release.set()
        await until(lambda: len(asyncio.all_tasks()) == 1)


async def test_launched_and_detached_operations_are_told_and_cancelled(tmp_path: Path) -> None:
    commands = commands_that_last()
    table = commands.resolve()
    async with serving(tmp_path, commands, limits=Limits(stop_grace=0.05)) as served:
        told = served.server.launch(table["until_told"].function)
        lasting = served.server.launch(table["last"].function)
        client = await served.connect()
        await client.ask("last", detach=True)
        served.server.close()
        await served.server.wait_closed()
        assert await told.wait() == "told"
        with pytest.raises(ctld.ShuttingDown):
            await lasting.wait()


async def test_background_tasks_end_after_the_last_command(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()
    order: list[str] = []

    @commands.command("polite", role="anyone")
    async def polite(ctx: ctld.Context) -> None:
        await ctx.stopping.wait()
        order.append("command")

    async def background() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            order.append("background")

    async with serving(tmp_path, commands) as served:
        served.server.create_task(background(), name="background")
        client = await served.connect()
        client.send({"cmd": "polite"})
        await until(lambda: served.server.status()["running"])
    assert order == ["command", "background"]


async def test_a_background_task_that_does_not_end_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    release = asyncio.Event()

    async def deaf() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with serving(tmp_path, limits=Limits(cancel_grace=0.01)) as served:
        task = served.server.create_task(deaf(), name="deaf one")
        await asyncio.sleep(0)
    assert "deaf one does not end" in caplog.text
    release.set()
    await task


async def test_a_client_that_never_reads_does_not_hold_up_the_end(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("large", role="anyone")
    async def large(ctx: ctld.Context) -> str:
        return "x" * 8_000_000

    limits = Limits(stop_grace=0.05, cancel_grace=0.05, drain_timeout=0.1)
    async with serving(tmp_path, commands, limits=limits) as served:
        client = await served.connect()
        client.stop_reading()
        client.send({"cmd": "large"})
        await until(lambda: any(c["unread_bytes"] for c in served.server.connections()))
        began = time.monotonic()
        served.server.close()
        await served.server.wait_closed()
        assert time.monotonic() - began < 10


async def test_the_last_message_is_not_lost_to_a_client_that_still_sends(tmp_path: Path) -> None:
    async with serving(tmp_path, commands_that_last(), limits=Limits(stop_grace=0.01)) as served:
        client = await served.connect()
        client.send({"cmd": "last", "id": "x"})
        await until(lambda: served.server.status()["running"])
        client.send(*({"cmd": "last"} for _ in range(1000)))
        served.server.close()
        answers = await client.receive_all()
        assert {**SHUTTING_DOWN, "id": "x"} in answers
