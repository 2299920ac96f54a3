"""N1, N2, N4 over real sockets: order, ids, cancel, deadline, streams, ends."""

import asyncio
import gc
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import ctld
from ctld.commands.context import Context
from ctld.commands.operation import Operation
from ctld.exchange import Exchange
from ctld.limits import Limits
from tests.native import DEFAULT_LIMITS, serving, until


class Gate:
    """A command's place to wait: the test sees who is in, and lets them out."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.left: list[str] = []
        self.cancelled: list[str] = []
        self.open = asyncio.Event()


def gated() -> tuple[ctld.CommandRegistry[Any], Gate]:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()
    gate = Gate()

    async def wait(name: str) -> str:
        gate.entered.append(name)
        try:
            await gate.open.wait()
        except asyncio.CancelledError:
            gate.cancelled.append(name)
            raise
        gate.left.append(name)
        return name

    @commands.command("wait", role="anyone")
    async def wait_command(ctx: ctld.Context, name: str = "") -> str:
        return await wait(name)

    @commands.command("wait_attached", role="anyone", on_disconnect="cancel")
    async def wait_attached(ctx: ctld.Context, name: str = "") -> str:
        return await wait(name)

    @commands.command("echo", role="anyone")
    async def echo(ctx: ctld.Context, value: Any = None) -> Any:
        return value

    @commands.command("count", role="anyone")
    async def count(ctx: ctld.Context, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    @commands.command("tick", role="anyone", endless=True)
    async def tick(ctx: ctld.Context) -> AsyncIterator[int]:
        gate.entered.append("tick")
        try:
            n = 0
            while True:
                yield n
                n += 1
                await asyncio.sleep(0)
        finally:
            gate.left.append("tick")

    @commands.command("report", role="anyone")
    async def report(ctx: ctld.Context, n: int) -> None:
        for i in range(n):
            await ctx.progress(f"step {i}", current=i, total=n)

    return commands, gate


# N1: the messages of version 1.


async def test_n1_banner_comes_once_on_accept_and_announces_version_2(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        assert client.banner["version"] == ctld.__version__
        assert client.banner["protocol"] == 2
        assert client.banner["max_line"] == 16 * 1024 * 1024
        assert {"id", "cancel", "deadline"} <= set(client.banner["features"])
        assert client.banner["server"] == f"ctld/{ctld.__version__}"


async def test_n1_without_a_version_there_is_no_banner(tmp_path: Path) -> None:
    class Silent(ctld.ClientHandler):
        def server_version(self) -> None:
            return None

    async with serving(tmp_path, handler=Silent) as served:
        client = await served.connect(banner=False)
        assert await client.ask("ping") == {"status": True, "response": "pong"}


async def test_n1_progress_then_exactly_one_final_message(tmp_path: Path) -> None:
    commands, _ = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "report", "opts": {"n": 3}})
        received = [await client.receive() for _ in range(4)]
        assert [message.get("progress") for message in received] == ["step 0", "step 1", "step 2", None]
        assert received[3] == {"status": True, "response": None}


async def test_n1_requests_without_id_are_served_strictly_in_order(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "wait", "opts": {"name": "a"}}, {"cmd": "echo", "opts": {"value": 1}}, [])
        client.write(b"no json\n")
        await until(lambda: gate.entered)
        gate.open.set()
        assert [(await client.receive()).get("response") for _ in range(2)] == ["a", 1]
        assert [(await client.receive())["code"] for _ in range(2)] == ["bad-request", "syntax"]


async def test_n1_a_connection_serves_on_after_every_kind_of_failure(tmp_path: Path) -> None:
    commands, _ = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        for line in (b"{", b"[]", b"5", b'{"cmd":1}', b'{"cmd":"nope"}', b'{"cmd":"echo","opts":{"x":1}}', b"\xff"):
            client.write(line + b"\n")
            assert (await client.receive())["status"] is False
        assert await client.ask("ping") == {"status": True, "response": "pong"}


# N2: rules.


@pytest.mark.parametrize("cut", range(1, len(b'{"cmd":"ping"}\n')))
async def test_n2_a_request_may_come_in_pieces(tmp_path: Path, cut: int) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        request = b'{"cmd":"ping"}\n'
        client.write(request[:cut])
        await client.writer.drain()
        await asyncio.sleep(0)
        client.write(request[cut:])
        assert (await client.receive())["response"] == "pong"


async def test_n2_pipelined_requests_get_one_reply_each_in_order(tmp_path: Path) -> None:
    commands, _ = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send(*({"cmd": "echo", "opts": {"value": i}} for i in range(10_000)))
        assert [(await client.receive())["response"] for _ in range(10_000)] == list(range(10_000))


async def test_n2_blank_lines_and_crlf(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        client.write(b'\n\r\n  \n{"cmd":"ping"}\r\n\n{"cmd":"ping"}\n')
        assert [(await client.receive())["response"] for _ in range(2)] == ["pong", "pong"]
        client.half_close()
        assert await client.receive_all() == []


async def test_n2_a_last_line_without_newline_is_served(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        client.write(b'{"cmd":"ping"}')
        client.half_close()
        assert await client.receive_all() == [{"status": True, "response": "pong"}]


async def test_n2_half_close_is_answered_then_closed(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send(
            {"cmd": "wait", "opts": {"name": "a"}}, {"cmd": "wait", "opts": {"name": "b"}, "id": 1}, {"cmd": "ping"}
        )
        client.half_close()
        await until(lambda: len(gate.entered) == 2)
        gate.open.set()
        answers = await client.receive_all()
        assert sorted(str(answer["response"]) for answer in answers) == ["a", "b", "pong"]


async def test_n2_an_oversize_line_is_answered_before_its_end_and_skipped(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(max_line=1000)) as served:
        client = await served.connect()
        assert client.banner["max_line"] == 1000
        client.write(b"x" * 5000)
        assert (await client.receive())["code"] == "too-large"
        client.write(b"y" * 5000 + b"\n")
        assert (await client.ask("ping"))["response"] == "pong"


async def test_n2_reserved_options_are_accepted_by_every_command_and_not_passed(tmp_path: Path) -> None:
    commands, _ = gated()
    seen: list[dict[str, Any]] = []

    @commands.command("open", role="anyone")
    async def open_command(ctx: ctld.Context, **opts: Any) -> None:
        seen.append(opts)

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        reserved = {"cli": "x y", "progress": None, "manipulation_lock": "wait"}
        assert (await client.ask("ping", reserved))["response"] == "pong"
        assert (await client.ask("open", {**reserved, "a": 1}))["status"] is True
        assert seen == [{"a": 1}]


async def test_n2_progress_false_means_none(tmp_path: Path) -> None:
    commands, _ = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "report", "opts": {"n": 3, "progress": False}})
        assert await client.receive() == {"status": True, "response": None}


async def test_n2_unexpected_exception_is_internal_with_a_reference_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("crash", role="anyone")
    async def crash(ctx: ctld.Context) -> None:
        raise RuntimeError("secret detail")

    @commands.command("unencodable", role="anyone")
    async def unencodable(ctx: ctld.Context) -> object:
        return {"nested": [object()]}

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        for cmd, detail in (("crash", "secret detail"), ("unencodable", "cannot be sent as JSON")):
            caplog.clear()
            failure = await client.ask(cmd)
            reference = failure.pop("ref")
            assert failure == {"status": False, "message": "internal error", "code": "internal"}
            assert reference in caplog.text
            assert detail in caplog.text
        assert (await client.ask("ping"))["status"] is True


async def test_n2_a_vanished_client_does_not_stop_its_command(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "wait", "opts": {"name": "a"}}, {"cmd": "wait", "opts": {"name": "b"}, "id": 1})
        await until(lambda: len(gate.entered) == 2)
        client.close()
        await until(lambda: all(c["unread_bytes"] == 0 for c in served.server.connections()))
        gate.open.set()
        await until(lambda: sorted(gate.left) == ["a", "b"])
        await until(lambda: not served.server.connections())


async def test_n2_a_vanished_client_cancels_what_declared_so(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send(
            {"cmd": "wait_attached", "opts": {"name": "a"}}, {"cmd": "wait_attached", "opts": {"name": "b"}, "id": 1}
        )
        await until(lambda: len(gate.entered) == 2)
        client.close()
        await until(lambda: sorted(gate.cancelled) == ["a", "b"])


async def test_n2_a_half_close_does_not_cancel_what_is_attached(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "wait_attached", "opts": {"name": "a"}})
        await until(lambda: gate.entered)
        client.half_close()
        assert (await (await served.connect()).ask("ping"))["response"] == "pong"
        gate.open.set()
        assert await client.receive_all() == [{"status": True, "response": "a"}]


@pytest.mark.parametrize("length", range(len(b'{"cmd":"wait","id":1}\n') + 1))
async def test_n2_a_client_may_vanish_at_every_byte_of_a_request(tmp_path: Path, length: int) -> None:
    commands, gate = gated()
    gate.open.set()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.write(b'{"cmd":"wait","id":1}\n'[:length])
        await client.writer.drain()
        client.reset() if length % 2 else client.close()
        await until(lambda: not served.server.connections())
        assert (await (await served.connect()).ask("ping"))["response"] == "pong"


async def test_n2_sending_to_a_gone_client_is_no_error_for_the_command(tmp_path: Path) -> None:
    commands, gate = gated()
    ended = []

    @commands.command("chatty", role="anyone")
    async def chatty(ctx: ctld.Context) -> str:
        await gate.open.wait()
        for _ in range(10_000):
            await ctx.progress("x" * 1000)
        ended.append(True)
        return "y" * 1_000_000

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "chatty"})
        await until(lambda: served.server.status()["running"])
        client.close()
        gate.open.set()
        await until(lambda: ended)


async def test_n2_all_that_a_client_sent_before_it_left_is_served(tmp_path: Path) -> None:
    commands, gate = gated()
    gate.open.set()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send(*({"cmd": "wait", "opts": {"name": str(i)}} for i in range(500)))
        await client.writer.drain()
        client.close()
        await until(lambda: len(gate.left) == 500)


async def test_n2_progress_waits_while_the_peer_does_not_read(tmp_path: Path) -> None:
    commands, _ = gated()
    sent = 0

    @commands.command("flood", role="anyone")
    async def flood(ctx: ctld.Context) -> None:
        nonlocal sent
        for i in range(100_000):
            await ctx.progress("x" * 1000)
            sent = i

    async with serving(tmp_path, commands, limits=Limits(high_water=64 * 1024)) as served:
        client = await served.connect()
        client.stop_reading()
        client.send({"cmd": "flood"}, {"cmd": "ping"})
        await until(lambda: any(c["unread_bytes"] > 64 * 1024 for c in served.server.connections()))
        stopped_at = sent
        other = await served.connect()
        for _ in range(50):
            assert (await other.ask("ping"))["response"] == "pong"
        assert sent == stopped_at < 90_000
        assert served.server.connections()[0]["unread_bytes"] < 1024 * 1024
        client.close()


async def test_n2_no_further_request_starts_while_the_peer_does_not_read(tmp_path: Path) -> None:
    commands, gate = gated()
    gate.open.set()

    @commands.command("large", role="anyone")
    async def large(ctx: ctld.Context) -> str:
        return "x" * 4_000_000

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.stop_reading()
        client.send({"cmd": "large"}, {"cmd": "wait", "opts": {"name": "in order"}})
        await until(lambda: any(c["unread_bytes"] > 1_000_000 for c in served.server.connections()))
        client.send({"cmd": "wait", "opts": {"name": "beside"}, "id": 1})
        other = await served.connect()
        for _ in range(50):
            await other.ask("ping")
        assert gate.entered == []
        client.go_on_reading()
        assert len((await client.receive())["response"]) == 4_000_000
        assert {(await client.receive())["response"] for _ in range(2)} == {"in order", "beside"}


async def test_n2_more_than_max_in_flight_is_busy_at_once(tmp_path: Path) -> None:
    commands, gate = gated()
    limits = Limits(max_in_flight=4)
    async with serving(tmp_path, commands, limits=limits) as served:
        client = await served.connect()
        client.send(*({"cmd": "wait", "id": i} for i in range(5)))
        refused = await client.receive()
        assert (refused["code"], refused["id"]) == ("busy", 4)
        client.send({"cmd": "ping"})
        assert (await client.receive())["response"] == "pong"
        gate.open.set()
        assert {(await client.receive())["id"] for _ in range(4)} == {0, 1, 2, 3}


async def test_n2_input_over_the_bound_is_not_read_until_it_is_served(tmp_path: Path) -> None:
    commands, gate = gated()
    limits = Limits(max_queued_per_connection=100_000, max_line=50_000)
    async with serving(tmp_path, commands, limits=limits) as served:
        client = await served.connect()
        client.send({"cmd": "wait", "opts": {"name": "first"}})
        line = json.dumps({"cmd": "echo", "opts": {"value": "x" * 40_000}}).encode() + b"\n"
        client.write(line * 100)
        await until(lambda: served.server.connections()[0]["queued_bytes"] > 100_000)
        other = await served.connect()
        for _ in range(50):
            await other.ask("ping")
        assert served.server.connections()[0]["queued_bytes"] < 600_000
        gate.open.set()
        assert (await client.receive())["response"] == "first"
        for _ in range(100):
            assert len((await client.receive())["response"]) == 40_000


async def test_n2_a_peer_that_vanishes_while_its_input_is_paused_is_noticed(tmp_path: Path) -> None:
    commands, gate = gated()
    limits = Limits(max_queued_per_connection=100_000, max_line=50_000)
    async with serving(tmp_path, commands, limits=limits) as served:
        client = await served.connect()
        client.send({"cmd": "wait_attached", "opts": {"name": "first"}})
        line = json.dumps({"cmd": "echo", "opts": {"value": "x" * 40_000}}).encode() + b"\n"
        client.write(line * 5)
        await until(lambda: served.server.connections()[0]["queued_bytes"] > 100_000)
        client.reset()
        await until(lambda: gate.cancelled == ["first"])
        await until(lambda: not served.server.connections())


# N4: version 2.


async def test_n4_requests_with_id_run_beside_each_other(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "wait", "id": "slow"}, {"cmd": "echo", "opts": {"value": 1}, "id": 2**64 - 1})
        assert await client.receive() == {"status": True, "response": 1, "id": 2**64 - 1}
        client.send({"cmd": "nope", "id": -5})
        assert (await client.receive())["id"] == -5
        gate.open.set()
        assert (await client.receive())["id"] == "slow"


async def test_n4_a_thousand_interleaved_ids(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("steps", role="anyone")
    async def steps(ctx: ctld.Context, n: int) -> int:
        for i in range(n % 3):
            await ctx.progress(i)
            await asyncio.sleep(0)
        return n

    async with serving(tmp_path, commands, limits=Limits(max_in_flight=1000)) as served:
        client = await served.connect()
        client.send(*({"cmd": "steps", "opts": {"n": i}, "id": f"r{i}"} for i in range(1000)))
        progress: dict[str, list[int]] = {}
        final: dict[str, int] = {}
        while len(final) < 1000:
            message = await client.receive()
            if "progress" in message:
                assert message["id"] not in final
                progress.setdefault(message["id"], []).append(message["progress"])
            else:
                assert message["id"] not in final
                final[message["id"]] = message["response"]
        assert final == {f"r{i}": i for i in range(1000)}
        assert all(progress.get(f"r{i}", []) == list(range(i % 3)) for i in range(1000))


async def test_n4_an_id_in_use_is_a_bad_request_marked_duplicate(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "wait", "id": 1}, {"cmd": "ping", "id": 1})
        refused = await client.receive()
        assert (refused["code"], refused["id"], refused["duplicate"]) == ("bad-request", 1, True)
        gate.open.set()
        assert (await client.receive())["id"] == 1
        client.send({"cmd": "ping", "id": 1})
        assert (await client.receive())["response"] == "pong"


async def test_n4_the_number_1_and_the_string_1_are_two_ids(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "wait", "id": 1}, {"cmd": "ping", "id": "1"})
        assert (await client.receive()) == {"status": True, "response": "pong", "id": "1"}
        gate.open.set()
        await client.receive()


async def test_n4_a_deadline_ends_a_command_that_runs(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "wait", "id": 1, "deadline": 0.01}, {"cmd": "wait", "deadline": 0.01})
        assert [(await client.receive())["code"] for _ in range(2)] == ["deadline", "deadline"]
        assert len(gate.cancelled) == 2
        assert (await client.ask("ping"))["response"] == "pong"


async def test_n4_a_deadline_counts_from_arrival_waiting_included(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "wait", "deadline": 0.05}, {"cmd": "wait", "opts": {"name": "late"}, "deadline": 0.01})
        assert [(await client.receive())["code"] for _ in range(2)] == ["deadline", "deadline"]
        assert gate.entered == [""], "a request whose time was over before its turn must not begin"


async def test_n4_a_deadline_that_does_not_pass_changes_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        assert (await client.ask("ping", deadline=1e300))["response"] == "pong"


async def test_n4_cancel_by_id_never_has_a_reply_of_its_own(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "wait", "opts": {"name": "a"}, "id": "x"})
        await until(lambda: gate.entered)
        client.send({"cancel": "y"}, {"cancel": [1]}, {"cancel": {}}, {"cancel": "x"}, {"cancel": "x"}, {"cmd": "ping"})
        answers = [await client.receive() for _ in range(2)]
        assert {answer.get("code", answer.get("response")) for answer in answers} == {"cancelled", "pong"}
        assert gate.cancelled == ["a"]
        client.half_close()
        assert await client.receive_all() == []


async def test_n4_a_cancel_that_arrives_with_its_request_is_answered(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        for i in range(20):
            client.send({"cmd": "wait", "id": i}, {"cancel": i})
            answer = await client.receive()
            assert (answer["code"], answer["id"]) == ("cancelled", i)
        assert gate.entered == []


@pytest.mark.parametrize("together", [True, False])
async def test_n4_cancel_null_cancels_the_request_without_id(tmp_path: Path, together: bool) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "wait"}, *([{"cancel": None}] if together else []))
        if not together:
            await until(lambda: gate.entered)
            client.send({"cancel": None})
        assert (await client.receive())["code"] == "cancelled"
        assert (await client.ask("ping"))["response"] == "pong"


async def test_n4_cancel_null_does_not_strike_the_next_request(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cancel": None}, {"cmd": "wait", "opts": {"name": "a"}}, {"cmd": "echo", "opts": {"value": 2}})
        await until(lambda: gate.entered)
        client.send({"cancel": None})
        assert (await client.receive())["code"] == "cancelled"
        assert (await client.receive())["response"] == 2


@pytest.mark.parametrize("cancel_first", [True, False])
async def test_n4_cancel_races_with_the_end_in_both_orders(tmp_path: Path, cancel_first: bool) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "wait", "opts": {"name": "a"}, "id": 1})
        await until(lambda: gate.entered)
        [operation] = served.server._runtime.operations.running()
        if cancel_first:
            operation.cancel()
            gate.open.set()
        else:
            gate.open.set()
            operation.cancel()
        answer = await client.receive()
        assert answer["id"] == 1
        # The wait was over only if the event came first: asyncio still cancels it then.
        assert answer.get("code") == "cancelled" or answer.get("response") == "a"
        assert (await client.ask("ping"))["response"] == "pong"


async def test_n4_a_command_that_survives_cancelling_answers_with_its_result(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()
    entered = asyncio.Event()

    @commands.command("stubborn", role="anyone")
    async def stubborn(ctx: ctld.Context) -> str:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "finished anyway"
        return ""

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "stubborn"})
        await entered.wait()
        client.send({"cancel": None})
        assert (await client.receive())["response"] == "finished anyway"
        assert (await client.ask("ping"))["response"] == "pong"


async def test_n4_a_shielded_section_is_not_cancelled_half_way(tmp_path: Path) -> None:
    commands, gate = gated()
    done = []

    @commands.command("careful", role="anyone")
    async def careful(ctx: ctld.Context) -> str:
        async with ctx.shield():
            gate.entered.append("careful")
            await gate.open.wait()
            done.append(True)
        await asyncio.sleep(3600)
        return ""

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "careful"})
        await until(lambda: gate.entered)
        client.send({"cancel": None})
        assert (await (await served.connect()).ask("ping"))["response"] == "pong"
        assert not done
        gate.open.set()
        assert (await client.receive())["code"] == "cancelled"
        assert done


async def test_n4_a_cancel_is_answered_beside_busy_requests_and_a_long_stream_of_progress(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send(*({"cmd": "wait", "id": i} for i in range(50)))
        client.send({"cmd": "report", "opts": {"n": 1_000_000}, "id": "stream"})
        await until(lambda: len(gate.entered) == 50)
        while (await client.receive()).get("id") != "stream":
            pass
        client.send({"cancel": 7})
        before = 0
        while (message := await client.receive())["id"] == "stream":
            before += 1
            assert "progress" in message
        assert (message["id"], message["code"]) == (7, "cancelled")
        assert before < 100_000, "the cancel had to wait for the stream"
        client.send({"cancel": "stream"})
        client.close()


async def test_n4_items_are_streamed_or_collected(tmp_path: Path) -> None:
    commands, _ = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        assert (await client.ask("count", {"n": 3}))["response"] == [0, 1, 2]
        client.send({"cmd": "count", "opts": {"n": 2}, "stream": True, "id": 9})
        assert [await client.receive() for _ in range(3)] == [
            {"status": True, "item": 0, "id": 9},
            {"status": True, "item": 1, "id": 9},
            {"status": True, "response": None, "id": 9},
        ]


async def test_n4_an_endless_command_must_be_streamed_and_ends_with_its_client(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        assert (await client.ask("tick"))["code"] == "bad-request"
        client.send({"cmd": "tick", "stream": True})
        assert (await client.receive())["item"] == 0
        client.close()
        await until(lambda: gate.left == ["tick"])


async def test_n4_a_collected_stream_is_bounded(tmp_path: Path) -> None:
    commands, _ = gated()
    async with serving(tmp_path, commands, limits=Limits(max_line=1000)) as served:
        client = await served.connect()
        assert (await client.ask("count", {"n": 10_000}))["code"] == "too-large"


async def test_n4_detach_answers_at_once_and_others_watch_wait_and_cancel(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands) as served:
        client, other = await served.connect(), await served.connect()
        operation = (await client.ask("wait", {"name": "a"}, detach=True))["response"]["operation"]
        client.close()
        listed = {entry["id"]: entry for entry in (await other.ask("op_list"))["response"]}
        assert listed[operation]["state"] == "running"
        assert listed[operation]["detached"] is True
        other.send({"cmd": "op_wait", "opts": {"id": operation}, "id": 1})
        gate.open.set()
        assert await other.receive() == {"status": True, "response": "a", "id": 1}
        assert (await other.ask("op_wait", {"id": operation}))["response"] == "a", "results are kept"

        gate.open.clear()
        operation = (await other.ask("wait", {"name": "b"}, detach=True))["response"]["operation"]
        assert (await other.ask("op_cancel", {"id": operation}))["status"] is True
        assert (await other.ask("op_wait", {"id": operation}))["code"] == "cancelled"
        assert (await other.ask("op_wait", {"id": "nonsense"}))["code"] == "not-found"


async def test_n4_a_running_request_can_be_watched_by_another_client(tmp_path: Path) -> None:
    commands, gate = gated()

    @commands.command("work", role="anyone")
    async def work(ctx: ctld.Context) -> str:
        await ctx.progress("begun", current=1, total=2, unit="items", data={"x": 1})
        await gate.open.wait()
        await ctx.progress("going on")
        return "done"

    async with serving(tmp_path, commands) as served:
        client, other = await served.connect(), await served.connect()
        client.send({"cmd": "work"})
        await client.receive()
        [entry] = [entry for entry in (await other.ask("op_list"))["response"] if entry["command"] == "work"]
        other.send({"cmd": "op_watch", "opts": {"id": entry["id"]}, "stream": True})
        assert (await other.receive())["item"] == {
            "seq": 1,
            "progress": "begun",
            "current": 1,
            "total": 2,
            "unit": "items",
            "data": {"x": 1},
        }
        gate.open.set()
        assert (await other.receive())["item"] == {"seq": 2, "progress": "going on"}
        assert (await other.receive())["item"] == {"result": "done"}
        assert await other.receive() == {"status": True, "response": None}


async def test_idle_connections_are_closed_where_that_is_configured(tmp_path: Path) -> None:
    commands, gate = gated()
    async with serving(tmp_path, commands, limits=Limits(idle_timeout=0.1)) as served:
        idle, busy = await served.connect(), await served.connect()
        busy.send({"cmd": "wait"})
        assert await idle.at_end()
        gate.open.set()
        assert (await busy.receive())["status"] is True
        assert await busy.at_end()


async def test_a_peer_that_reads_nothing_is_dropped(tmp_path: Path) -> None:
    commands, _ = gated()

    @commands.command("large", role="anyone")
    async def large(ctx: ctld.Context) -> str:
        return "x" * 8_000_000

    async with serving(tmp_path, commands, limits=Limits(write_timeout=0.1)) as served:
        client = await served.connect()
        client.stop_reading()
        client.send({"cmd": "large"})
        await until(lambda: any(c["unread_bytes"] > 1_000_000 for c in served.server.connections()))
        await until(lambda: not served.server.connections())


def test_the_limits_of_these_tests_are_those_of_production_but_for_times() -> None:
    ours = {name: getattr(DEFAULT_LIMITS, name) for name in Limits.__struct_fields__ if "grace" not in name}
    assert all(value == getattr(Limits(), name) for name, value in ours.items() if name != "drain_timeout")


async def test_n2_unfinished_lines_cannot_hold_the_server_s_budget_for_ever(tmp_path: Path) -> None:
    limits = Limits(max_queued=200_000, write_timeout=0.2)
    async with serving(tmp_path, limits=limits) as served:
        greedy = [await served.connect() for _ in range(3)]
        for client in greedy:
            client.write(b'{"cmd":"ping","opts":{"cli":"' + b"x" * 150_000)
            await client.writer.drain()
        modest = await served.connect()
        assert (await modest.ask("ping"))["response"] == "pong"
        ends = [await client.receive_all() for client in greedy]
        assert [answers[0]["code"] for answers in ends] == ["busy"] * 3
        assert (await modest.ask("ping"))["response"] == "pong"


# What is left of a request that is over: nothing, and the collector has nothing to do with it.


def exhausting() -> ctld.CommandRegistry[Any]:
    commands, _ = gated()

    @commands.command("fail", role="operate")
    async def fail(ctx: ctld.Context) -> None:
        await ctx.progress("soon")
        raise ctld.CommandFailed("no")

    @commands.command("crash", role="operate")
    async def crash(ctx: ctld.Context) -> None:
        raise KeyError(1)

    @commands.command("together", role="operate")
    async def together(ctx: ctld.Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.call("fail"))

    @commands.command("work", role="operate")
    async def work(ctx: ctld.Context, size: int = 0) -> int:
        return size

    @commands.command("stop_counting", role="operate")
    async def stop_counting(ctx: ctld.Context) -> AsyncIterator[int]:
        yield 1
        raise ctld.CommandFailed("no")

    return commands


def of_requests() -> Counter[str]:
    kinds = Exchange, Operation, Context, ctld.CommandFailed
    return Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, kinds))


@pytest.mark.parametrize(
    "messages",
    [
        [{"cmd": "ping"}],
        [{"cmd": "ping", "id": 1}],
        [{"cmd": "work", "opts": {"size": 1, "cli": "x"}}],
        [{"cmd": "work", "deadline": 3600}],
        [{"cmd": "work", "detach": True}],
        [{"cmd": "work", "opts": {"size": "x"}}],
        [{"cmd": "nothing"}],
        [{"cmd": "fail"}],
        [{"cmd": "fail", "id": 1}],
        [{"cmd": "fail", "detach": True}],
        [{"cmd": "crash"}],
        [{"cmd": "together"}],
        [{"cmd": "count", "opts": {"n": 3}, "stream": True}],
        [{"cmd": "stop_counting"}],
        [{"cmd": "wait"}, {"cancel": None}],
        [{"cmd": "wait", "id": 1}, {"cancel": 1}],
        [{"cmd": "wait_attached", "deadline": 0.001}],
        [{"cmd": "op_wait", "opts": {"id": "x"}}],
    ],
    ids=lambda messages: json.dumps(messages[0]).translate(str.maketrans("", "", '"{},')),
)
async def test_nothing_is_left_of_a_request_that_is_over(
    tmp_path: Path, messages: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "ctld")  # a record of the log holds on to the traceback in it

    async def ask() -> None:
        client.send(*messages)
        while not {"response", "message"}.intersection(await client.receive()):
            pass

    limits = Limits(operations_kept=1)  # of those that were detached
    async with serving(tmp_path, exhausting(), limits=limits) as served:
        client = await served.connect()
        gc.collect()
        gc.disable()
        try:
            await ask()
            before = of_requests()
            for _ in range(10):
                await ask()
            await asyncio.sleep(0)
            assert sum((of_requests() - before).values()) <= 2  # the last one may be on its way out
        finally:
            gc.enable()


async def test_a_log_does_not_show_what_a_request_holds(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()
    shown: list[str] = []

    @commands.command("show", role="anyone")
    async def show(ctx: ctld.Context, word: str) -> None:
        shown.extend(map(repr, (ctx, ctx.operation, ctx._sink)))

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        assert (await client.ask("show", {"word": "sesame"}))["status"]
        assert len(shown) == 3
        assert not [text for text in shown if "sesame" in text or len(text) > 100]


# How a conversation begins, and how it ends.

SHORT = Limits(stop_grace=0.1, cancel_grace=0.1, drain_timeout=0.2)


@pytest.mark.parametrize(
    ("error", "code"), [(ctld.Denied("not you"), "denied"), (KeyError("?"), "internal")], ids=["refused", "crash"]
)
async def test_n7_a_client_that_is_not_welcome_is_told_and_parted_from(
    tmp_path: Path, error: Exception, code: str
) -> None:
    class Picky(ctld.ClientHandler):
        async def on_connect(self) -> None:
            raise error

    async with serving(tmp_path, handler=Picky) as served:
        client = await served.connect(banner=False)
        client.send({"cmd": "ping"}, {"cmd": "ping", "id": 1})
        assert [answer["code"] for answer in await client.receive_all()] == [code]
        await until(lambda: not served.server.connections())


async def test_n1_requests_with_an_id_wait_for_the_welcome(tmp_path: Path) -> None:
    welcome = asyncio.Event()

    class Slow(ctld.ClientHandler):
        async def on_connect(self) -> None:
            await welcome.wait()

    async with serving(tmp_path, handler=Slow) as served:
        client = await served.connect(banner=False)
        client.send({"cmd": "ping", "id": 1}, {"cmd": "ping", "id": 1}, {"cancel": 5}, {"cmd": "ping"})
        await until(lambda: served.server.connections()[0]["queued_bytes"])
        welcome.set()
        assert "protocol" in await client.receive()
        answers = [await client.receive() for _ in range(3)]
        assert sorted(str(answer.get("code")) for answer in answers) == ["None", "None", "bad-request"]


async def test_n2_hundreds_that_arrive_together_are_answered_in_order_and_others_have_their_turn(
    tmp_path: Path,
) -> None:
    commands, _ = gated()
    async with serving(tmp_path, commands) as served:
        client, other = await served.connect(), await served.connect()
        client.send(*({"cmd": "echo", "opts": {"value": n}} for n in range(1000)))
        assert (await other.ask("ping"))["response"] == "pong"
        assert [(await client.receive())["response"] for _ in range(1000)] == list(range(1000))


async def test_n2_at_shutdown_all_that_runs_or_waits_is_answered(tmp_path: Path) -> None:
    commands, gate = gated()

    class Tired(ctld.ClientHandler):
        def request_stop(self) -> None:
            super().request_stop()
            raise RuntimeError("too tired to stop")

    async with serving(tmp_path, commands, handler=Tired, limits=SHORT) as served:
        client, idle = await served.connect(), await served.connect()
        client.send({"cmd": "wait"}, {"cmd": "wait"}, {"cmd": "ping", "opts": {}}, {"cmd": "wait", "id": 1})
        await until(lambda: len(gate.entered) == 2)
        client.send({"cmd": "echo"})
        await until(lambda: len(served.server.connections()) == 2)
        served.server.close()
        assert await idle.at_end()
        assert [answer["code"] for answer in await client.receive_all()] == ["shutting-down"] * 5


@pytest.mark.parametrize("uncancels", [False, True])
async def test_n2_all_that_waits_behind_a_command_that_never_ends_is_answered_at_shutdown(
    tmp_path: Path, uncancels: bool
) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()
    entered, release = asyncio.Event(), asyncio.Event()

    @commands.command("stubborn", role="anyone")
    async def stubborn(ctx: ctld.Context) -> None:
        entered.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                assert task is not None
                if uncancels:
                    task.uncancel()

    async with serving(tmp_path, commands, limits=SHORT) as served:
        client = await served.connect()
        client.send({"cmd": "stubborn"}, {"cmd": "ping"}, {"cmd": "ping", "opts": {}})
        await entered.wait()
        client.send({"cmd": "ping"})
        client.send({"cmd": "stubborn", "id": 1})
        served.server.close()
        assert [answer["code"] for answer in await client.receive_all()] == ["shutting-down"] * 5
        release.set()
        await served.server.wait_closed()


async def test_a_command_that_cancels_the_task_of_its_connection_ends_it_and_all_are_told(tmp_path: Path) -> None:
    commands, gate = gated()

    @commands.command("cut", role="anyone")
    async def cut(ctx: ctld.Context) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "wait", "id": 1}, {"cmd": "cut"}, {"cmd": "ping"})
        answers = await client.receive_all()
        assert [answer["code"] for answer in answers] == ["cancelled"] * 3
        await until(lambda: gate.cancelled)


async def test_k5_a_browser_is_told_to_go_and_what_it_sends_is_not_looked_at(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        client.write(b'GET / HTTP/1.1\r\nHost: x\r\n\r\n{"cmd":"ping"}\n')
        assert [answer["code"] for answer in await client.receive_all()] == ["bad-request"]


async def test_n7_an_on_connect_that_does_not_end_is_cut_short_at_shutdown(tmp_path: Path) -> None:
    entered = asyncio.Event()

    class Endless(ctld.ClientHandler):
        async def on_connect(self) -> None:
            entered.set()
            await asyncio.Event().wait()

    async with serving(tmp_path, handler=Endless, limits=SHORT) as served:
        client = await served.connect(banner=False)
        client.send({"cmd": "ping"}, {"cmd": "ping", "id": 1}, {"cmd": 1, "id": 2})
        await entered.wait()
        served.server.close()
        answers = await client.receive_all()
        assert sorted(answer["code"] for answer in answers) == ["bad-request", "shutting-down", "shutting-down"]


@pytest.mark.parametrize("members", [{}, {"id": 1}], ids=["in order", "with id"])
@pytest.mark.parametrize("leaves", [False, True])
async def test_n5_after_a_request_that_takes_the_connection_nothing_is_taken_for_a_request(
    tmp_path: Path, members: dict[str, Any], leaves: bool
) -> None:
    commands, _ = gated()
    given: list[bytes] = []

    @commands.command("take", role="anyone", session=True)
    async def take(ctx: ctld.Context) -> None:
        async with ctx.hijack() as stream:
            while data := await stream.receive():
                given.append(data)

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "echo"}, {"cmd": "take", **members}, {"cmd": "ping"})
        assert (await client.receive())["status"]
        assert (await client.receive())["response"] == "continue"
        await until(lambda: given)
        if leaves:
            client.reset()
        else:
            client.half_close()
            assert await client.at_end()
        await until(lambda: not served.server.connections())
        assert b"".join(given) == b'{"cmd": "ping"}\n'


async def test_n5_a_connection_is_not_given_away_while_others_wait_for_answers(tmp_path: Path) -> None:
    commands, gate = gated()

    @commands.command("take", role="anyone", session=True)
    async def take(ctx: ctld.Context) -> None:
        async with ctx.hijack():
            raise AssertionError("never given")

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "wait", "id": 1}, {"cmd": "take"}, {"cmd": "ping"})
        assert (await client.receive())["code"] == "busy"
        assert (await client.receive())["response"] == "pong"
        gate.open.set()
        assert (await client.receive())["id"] == 1
