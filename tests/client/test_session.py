"""`AsyncClient.session()`: streams, typing, the end, and connections that are lost."""

import asyncio
import signal
import sys

import pytest

from ctld.client import AsyncClient
from ctld.commands.registry import CommandRegistry
from ctld.errors import Cancelled, CommandFailed, ConnectionLost, NotFound, RemoteProtocolError, ShuttingDown, TooLarge
from ctld.limits import Limits
from ctld.testing import serving
from tests.native import serving as served_here
from tests.native import until


async def test_output_and_exit_status():
    """B11: streams apart, and an exit status while streaming."""
    async with (
        serving() as client,
        client.session("exec", {"cmd": ["sh", "-c", "echo out; echo err >&2; exit 3"]}) as run,
    ):
        assert b"".join([piece async for piece in run.stdout]) == b"out\n"
        assert b"".join([piece async for piece in run.stderr]) == b"err\n"
        assert await run.exit_status == 3
        assert await run.exit_status == 3
        assert run.id


async def test_both_streams_in_their_order():
    async with serving() as client, client.session("exec", {"cmd": ["sh", "-c", "echo a; echo b >&2"]}) as run:
        assert sorted([piece async for piece in run.output()]) == [(1, b"a\n"), (2, b"b\n")]


async def test_typing_and_the_end_of_input():
    async with serving() as client, client.session("exec", {"cmd": ["cat"]}) as run:
        await run.write(b"x" * 200_000)
        await run.write(b"")  # not the end
        await run.write(b"y")
        await run.close_stdin()
        assert b"".join([piece async for piece in run.stdout]) == b"x" * 200_000 + b"y"
        assert await run.exit_status == 0


async def test_more_than_any_buffer_holds_in_both_directions():
    async with serving() as client, client.session("exec", {"cmd": ["cat"]}) as run:

        async def type_all() -> None:
            for _ in range(64):
                await run.write(b"z" * 100_000)
            await run.close_stdin()

        typing = asyncio.ensure_future(type_all())
        assert sum([len(piece) async for piece in run.stdout]) == 6_400_000
        await typing
        assert await run.exit_status == 0


async def test_a_terminal_with_a_size_and_sizes_to_come():
    cmd = ["sh", "-c", "stty size; stty -echo; read x; stty size"]
    async with serving() as client, client.session("exec", {"cmd": cmd}, tty=True, rows=12, cols=34) as run:
        await run.resize(56, 78)
        await run.write(b"\n")
        seen = b"".join([piece async for piece in run.stdout])
        assert b"12 34\r\n" in seen or seen.count(b"56 78\r\n") == 2
        assert seen.endswith(b"56 78\r\n")


async def test_signals():
    async with serving() as client, client.session("exec", {"cmd": ["sh", "-c", "echo ready; exec sleep 60"]}) as run:
        assert await anext(run.stdout) == b"ready\n"
        await run.signal("TERM")
        assert await run.exit_status == 143


async def test_a_refusal_is_raised_on_entering():
    async with serving() as client:
        with pytest.raises(NotFound, match="no such program"):
            async with client.session("exec", {"cmd": ["/no/such/thing"]}):
                pytest.fail("it was entered")


async def test_a_command_that_opens_no_session():
    async with serving() as client:
        with pytest.raises(RemoteProtocolError, match="opens no session"):
            async with client.session("ping"):
                pytest.fail("it was entered")


async def test_environment_directory_and_detach():
    async with serving() as client:
        async with client.session(
            "exec",
            {"cmd": ["sh", "-c", "echo $A; pwd; read x; echo $x; exit 7"]},
            env={"A": "1"},
            cwd="/",
            on_disconnect="detach",
        ) as run:
            assert (await anext(run.stdout)).startswith(b"1\n")
            session = run.id
        async with client.session("session_attach", {"id": session}) as again:
            await again.write(b"back\n")
            seen = b"".join([piece async for piece in again.stdout])
            assert seen == b"1\n/\nback\n"
            assert await again.exit_status == 7


async def test_leaving_on_purpose():
    async with serving() as client:
        async with client.session("exec", {"cmd": ["cat"]}) as run:
            await run.detach()
            with pytest.raises(Cancelled) as left:
                await run.exit_status
            assert left.value.fields == {"session": run.id}
        async with client.session("session_attach", {"id": run.id}) as again:
            await again.detach()
            with pytest.raises(CommandFailed, match="goes on without"):
                await again.exit_status
        assert [one["state"] for one in await client.call("session_list")] == ["detached"]
        await client.call("session_kill", {"id": run.id})


async def test_leaving_the_block_hangs_up():
    async with serving() as client:
        async with client.events("session", opts={"state": "end"}) as ends:
            async with client.session("exec", {"cmd": ["sleep", "60"]}) as run:
                assert len(await client.call("session_list")) == 1
            end = await anext(ends)
        assert (end.opts["id"], end.opts["exitstatus"]) == (run.id, 128 + signal.SIGHUP)


@pytest.mark.parametrize("cut", ["mid", "between", "before"])
async def test_a_lost_connection_is_never_a_silent_truncation(tmp_path, cut):
    """Cut off within a frame, between two, and before "continue"."""

    async def serve(reader, writer):
        await reader.readline()
        writer.write(b'{"version":"x","protocol":2}\n')
        if cut != "before":
            writer.write(b'{"status":true,"response":"continue","session":"s"}\n\x01\x00\x00\x00\x02hi')
        if cut == "mid":
            writer.write(b"\x01\x00\x00\x00\x09half")
        await writer.drain()
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "s"), AsyncClient(f"unix:{tmp_path}/s") as client:
        if cut == "before":
            with pytest.raises(ConnectionLost, match="before it answered"):
                async with client.session("exec"):
                    pytest.fail("it was entered")
            return
        async with client.session("exec") as run:
            pieces = []
            with pytest.raises(ConnectionLost, match="while the session ran"):  # noqa: PT012 - it ends within the loop
                async for piece in run.stdout:
                    pieces.append(piece)
            assert pieces == [b"hi"]
            with pytest.raises(ConnectionLost):
                await run.exit_status
            with pytest.raises(ConnectionLost):
                await run.write(b"x")
        client.close()


@pytest.mark.parametrize(
    "nonsense",
    [b"\x08", b'{"status":true}\n', b"\x00\x00\x00\x00\x00", b"\x05\x00\x00\x00\x01x", b"\x01\xff\xff\xff\xff"],
)
async def test_a_server_that_breaks_the_rules(tmp_path, nonsense):
    async def serve(reader, writer):
        await reader.readline()
        writer.write(b'{"version":"x","protocol":2}\n{"status":true,"response":"continue"}\n' + nonsense)
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "s"), AsyncClient(f"unix:{tmp_path}/s") as client:
        async with client.session("exec") as run:
            with pytest.raises(RemoteProtocolError):
                await run.exit_status
        client.close()


async def test_progress_before_the_session_is_no_obstacle():
    commands = CommandRegistry()

    @commands.command("slow", role="admin", session=True)
    async def slow(ctx):
        await ctx.progress("nearly there")
        return await ctx.exec(["echo", "hi"])

    async with serving(commands) as client, client.session("slow") as run:
        assert [piece async for piece in run.stdout] == [b"hi\n"]
        assert await run.exit_status == 0


async def test_a_server_that_stops():
    limits = Limits(session_grace=0.1)
    async with serving(limits=limits) as client, client.session("exec", {"cmd": ["sleep", "60"]}) as run:
        await client.call("shutdown")
        with pytest.raises(ShuttingDown):
            await run.exit_status


async def test_what_nobody_reads_slows_the_program_down(tmp_path):
    cmd = [sys.executable, "-c", "import sys; sys.stdout.buffer.write(b'q' * 8_000_000)"]
    async with (
        served_here(tmp_path) as served,
        AsyncClient(f"unix:{served.path}") as client,
        client.session("exec", {"cmd": cmd}) as run,
    ):
        [session] = served.server._runtime.sessions
        await until(lambda: run._protocol._paused and session._program.paused)  # from here on nothing moves
        assert session.bytes_out < 5_000_000
        assert sum([len(piece) async for piece in run.stdout]) == 8_000_000


async def test_who_waits_for_the_end_gets_it_though_he_reads_nothing():
    cmd = [sys.executable, "-c", "import sys; sys.stdout.buffer.write(b'q' * 8_000_000)"]
    async with serving() as client, client.session("exec", {"cmd": cmd}) as run:
        assert await run.exit_status == 0
        assert sum([len(piece) async for piece in run.stdout]) == 8_000_000


async def test_a_stream_that_nobody_reads_does_not_fill_the_memory():
    async with serving() as client, client.session("exec", {"cmd": ["sh", "-c", "yes >&2"]}) as run:
        with pytest.raises(TooLarge):  # noqa: PT012 - a stream is read by a loop
            async for _ in run.stdout:
                pytest.fail("there is none")


async def test_cancelled_while_reading():
    async with serving() as client, client.session("exec", {"cmd": ["sleep", "60"]}) as run:
        reading = asyncio.ensure_future(anext(run.stdout))
        await asyncio.sleep(0)
        await until(lambda: not reading.done())
        reading.cancel()
        await asyncio.wait([reading])
        await run.signal("KILL")
        assert await run.exit_status == 137
