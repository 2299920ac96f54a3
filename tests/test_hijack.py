"""Connections whose bytes are not requests for a while (N5): raw, given away, and given back."""

import asyncio
import os
import socket
import subprocess

import pytest

import ctld
from ctld.endpoint import Listen
from ctld.errors import CommandFailed
from ctld.hijack import check_way
from ctld.sessions.state import Way
from tests.frames_client import STDIN, begin, frame, to_the_end
from tests.native import RawClient, serving, until


@pytest.fixture
def commands():
    commands = ctld.CommandRegistry()

    @commands.command("upper", role="admin", session=True)
    async def upper(ctx: ctld.Context) -> None:
        """Speak a protocol of its own: give back in capitals."""
        async with ctx.hijack() as hijack:
            while data := await hijack.receive():
                await hijack.send(data.upper())

    @commands.command("give_away", role="admin", session=True)
    async def give_away(ctx: ctld.Context) -> None:
        """Hand the bare socket to a child: no relay at all."""
        async with ctx.hijack() as hijack:
            await hijack.send(b"hello ")
            sock, rest = hijack.detach()
            with sock:
                child = subprocess.Popen(["sh", "-c", f"printf '%s' '{rest.decode()}'; cat"], stdin=sock, stdout=sock)
        while child.poll() is None:
            await asyncio.sleep(0.005)

    @commands.command("take", role="admin", session=True)
    async def take(ctx: ctld.Context, n: int = 1) -> str:
        """Take descriptors, and answer with what is in them."""
        async with ctx.take_fds(n) as fds:
            assert all(not os.get_inheritable(fd) and os.get_blocking(fd) for fd in fds)
            return "".join(os.read(fd, 100).decode() for fd in fds)

    @commands.command("keep", role="admin", session=True)
    async def keep(ctx: ctld.Context) -> int:
        """Take one out of the list."""
        async with ctx.take_fds(2) as fds:
            kept.append(fds.pop())
        return len(kept)

    @commands.command("twice", role="admin", session=True)
    async def twice(ctx: ctld.Context) -> None:
        """Take the connection twice, which cannot be."""
        async with ctx.hijack(), ctx.hijack():
            pass

    @commands.command("undeclared", role="admin")
    async def undeclared(ctx: ctld.Context) -> None:
        """Take the connection without having said so."""
        async with ctx.hijack():
            pass

    @commands.command("told", role="admin", session=True)
    async def told(ctx: ctld.Context) -> None:
        """Wait to be told that the server stops."""
        async with ctx.hijack() as hijack:
            await ctx.stopping.wait()
            await hijack.send(b"bye")

    kept: list[int] = []
    commands.kept = kept  # type: ignore[attr-defined]  # for the test that looks at it
    return commands


async def continued(client: RawClient, cmd: str, **opts) -> None:
    assert (await client.ask(cmd, opts))["response"] == "continue"


class TestRaw:
    async def test_bytes_go_both_ways_until_the_client_ends(self, tmp_path, commands):
        async with serving(tmp_path, commands) as served:
            client = await served.connect()
            await continued(client, "upper")
            client.write(b"abc")
            assert await client.reader.readexactly(3) == b"ABC"
            client.half_close()
            assert await client.at_end()

    async def test_bytes_that_follow_the_request_come_first(self, tmp_path, commands):
        """Even those that look like a request, or a frame."""
        rest = b'{"cmd": "ping"}\n\x00\x00\x00\x00\x01x'
        async with serving(tmp_path, commands) as served:
            client = await served.connect()
            client.write(b'{"cmd": "upper"}\n' + rest)
            client.half_close()
            assert (await client.receive())["response"] == "continue"
            assert await client.reader.read() == rest.upper()

    async def test_large_amounts_with_backpressure(self, tmp_path, commands):
        async with serving(tmp_path, commands) as served:
            client = await served.connect()
            await continued(client, "upper")

            async def write() -> None:
                for _ in range(50):
                    client.write(b"x" * 100_000)
                    await client.writer.drain()
                client.half_close()

            writing = asyncio.ensure_future(write())
            assert len(await client.reader.read()) == 5_000_000
            await writing

    async def test_given_to_a_child(self, tmp_path, commands):
        async with serving(tmp_path, commands) as served:
            client = await served.connect()
            client.write(b'{"cmd": "give_away"}\nrest ')
            assert (await client.receive())["response"] == "continue"
            assert await client.reader.readexactly(11) == b"hello rest "
            client.write(b"x" * 1_000_000)
            client.half_close()
            assert await client.reader.read() == b"x" * 1_000_000

    async def test_over_tcp(self, tmp_path, commands):
        async with serving(tmp_path, commands) as served:
            listener = await served.server.listen(Listen(address="tcp:127.0.0.1:0", role="admin"))
            host, _, port = listener.address.removeprefix("tcp:").rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            client = RawClient(reader, writer)
            await client.receive()
            await continued(client, "upper")
            client.write(b"abc")
            assert await reader.readexactly(3) == b"ABC"
            # What TCP cannot do is refused before "continue".
            other = RawClient(*await asyncio.open_connection(host, int(port)))
            await other.receive()
            for cmd, opts, words in (
                ("take", {}, "descriptors only cross a UNIX socket"),
                ("exec", {"cmd": ["true"], "io": "fds"}, "descriptors only cross a UNIX socket"),
                ("console", {}, "needs a UNIX socket"),
            ):
                answer = await other.ask(cmd, opts)
                assert (answer["code"], answer["status"]) == ("failed", False)
                assert words in answer["message"]
            await begin(other, "exec", {"cmd": ["cat"]})
            other.write(frame(STDIN, b"frames cross everything") + frame(STDIN))
            assert (await to_the_end(other)).stdout == b"frames cross everything"
            for one in (client, other):
                one.close()
                await one.writer.wait_closed()

    async def test_a_client_that_dies_ends_the_receiving(self, tmp_path, commands):
        async with serving(tmp_path, commands) as served:
            client, other = await served.connect(), await served.connect()
            await continued(client, "upper")
            client.reset()
            while (await other.ask("op_list"))["response"][0]["command"] == "upper":
                await asyncio.sleep(0.005)

    async def test_its_owner_is_told_at_shutdown(self, tmp_path, commands):
        async with serving(tmp_path, commands) as served:
            client = await served.connect()
            await continued(client, "told")
            served.server.close()
            assert await client.reader.read() == b"bye"

    async def test_who_does_not_listen_is_closed_at_shutdown(self, tmp_path, commands):
        limits = ctld.Limits(stop_grace=0.05, cancel_grace=5)
        async with serving(tmp_path, commands, limits=limits) as served:
            client = await served.connect()
            await continued(client, "upper")
            served.server.close()
            assert await client.at_end()


class TestDescriptors:
    async def test_taken_and_closed(self, tmp_path, commands):
        async with serving(tmp_path, commands) as served:
            client = await served.connect()
            for count in (1, 3):
                await continued(client, "take", n=count)
                pipes = [os.pipe() for _ in range(count)]
                with socket.socket(fileno=os.dup(client.writer.transport.get_extra_info("socket").fileno())) as sock:
                    for number, (reading, writing) in enumerate(pipes):
                        os.write(writing, str(number).encode())
                        socket.send_fds(sock, [b"\0"], [reading])
                        os.close(reading)
                        os.close(writing)
                assert (await client.receive())["response"] == "012"[:count]
            # A request right behind the last descriptor is a request again.
            await continued(client, "take")
            null = os.open(os.devnull, os.O_RDONLY)
            with socket.socket(fileno=os.dup(client.writer.transport.get_extra_info("socket").fileno())) as sock:
                socket.send_fds(sock, [b'\0{"cmd": "ping"}\n'], [null])
            os.close(null)
            assert (await client.receive())["response"] == ""
            assert (await client.receive())["response"] == "pong"

    async def test_one_that_is_kept(self, tmp_path, commands):
        async with serving(tmp_path, commands) as served:
            client = await served.connect()
            await continued(client, "keep")
            null = os.open(os.devnull, os.O_RDONLY)
            with socket.socket(fileno=os.dup(client.writer.transport.get_extra_info("socket").fileno())) as sock:
                socket.send_fds(sock, [b"\0"], [null, null])
            os.close(null)
            assert (await client.receive())["response"] == 1
            os.close(commands.kept.pop())

    async def test_a_client_that_sends_none_is_waited_for_so_long(self, tmp_path, commands, monkeypatch):
        monkeypatch.setattr("ctld.sessions.joining.FDS_TIMEOUT", 0.05)
        async with serving(tmp_path, commands) as served:
            client = await served.connect()
            await continued(client, "take")
            answer = await client.receive()
            assert (answer["code"], answer["response"]) == ("bad-request", {})
            assert answer["message"] == "expected 1 descriptors within 0.05 s"
            assert await client.at_end()


class TestMisuse:
    @pytest.mark.parametrize("cmd", ["twice", "undeclared"])
    async def test_mistakes_of_an_author_are_internal_errors(self, tmp_path, commands, cmd, caplog):
        async with serving(tmp_path, commands) as served:
            client = await served.connect()
            answer = await client.ask(cmd)
            if cmd == "twice":
                assert answer["response"] == "continue"
                assert await client.at_end()
            else:
                assert answer["code"] == "internal"
            assert "session=True" in caplog.text

    async def test_a_command_without_a_client_has_nothing_to_take(self, tmp_path, commands):
        async with serving(tmp_path, commands) as served:
            client = await served.connect()
            operation = (await client.ask("upper", detach=True))["response"]["operation"]
            answer = await client.ask("op_wait", {"id": operation})
            assert "there is none" in answer["message"]

    @pytest.mark.parametrize(
        ("way", "transport"), [(Way.FDS, "tcp"), (Way.FDS, "tls"), (Way.CONSOLE, "tls"), (Way.RAW, "tls")]
    )
    def test_ways_that_do_not_work(self, way, transport):
        with pytest.raises(CommandFailed, match=f"not over {transport}: "):
            check_way(way, transport)

    @pytest.mark.parametrize("transport", ["unix", "tcp", "tls"])
    def test_frames_work_everywhere(self, transport):
        check_way(Way.FRAMES, transport)


class TestLateFrames:
    """After the exit frame, frames that were under way are dropped up to the first byte of a line."""

    async def test_cut_in_pieces(self, tmp_path):
        async with serving(tmp_path) as served:
            client = await served.connect()
            await begin(client, "exec", {"cmd": ["true"]})
            await to_the_end(client)
            for byte in frame(STDIN, b"late" * 10) + b'{"cmd": "ping"}\n':
                client.write(bytes([byte]))
                await asyncio.sleep(0)
            assert (await client.receive())["response"] == "pong"

    async def test_then_the_end(self, tmp_path):
        async with serving(tmp_path) as served:
            client = await served.connect()
            await begin(client, "exec", {"cmd": ["true"]})
            await to_the_end(client)
            client.write(frame(STDIN, b"late"))
            client.half_close()
            assert await client.at_end()

    async def test_nonsense_ends_the_connection(self, tmp_path):
        async with serving(tmp_path) as served:
            client = await served.connect()
            await begin(client, "exec", {"cmd": ["true"]})
            await to_the_end(client)
            client.write(b"\x00\xff\xff\xff\xff")
            with pytest.raises((ConnectionResetError, AssertionError)):
                assert not await client.at_end()

    async def test_a_large_result_does_not_break_the_exit_frame(self, tmp_path):
        commands = ctld.CommandRegistry()

        @commands.command("much", role="admin", session=True)
        async def much(ctx, size: int):
            await ctx.exec(["true"])
            return "x" * size

        async with serving(tmp_path, commands) as served:
            client = await served.connect()
            await begin(client, "much", {"size": 1000})
            assert (await to_the_end(client)).exit == {"exitstatus": 0, "response": "x" * 1000}
            await begin(client, "much", {"size": 100_000})
            assert (await to_the_end(client)).exit["error"] == "too-large"

    async def test_progress_never_gets_among_the_frames(self, tmp_path):
        commands = ctld.CommandRegistry()

        @commands.command("chatty", role="admin", session=True)
        async def chatty(ctx):
            await ctx.progress("before")
            status = await ctx.exec(["sh", "-c", "echo hi; exit 2"])
            await ctx.progress("after")
            return status

        async with serving(tmp_path, commands) as served:
            client = await served.connect()
            await begin(client, "chatty")
            outcome = await to_the_end(client)
            assert (outcome.stdout, outcome.exit) == (b"hi\n", {"exitstatus": 2, "response": 2})


async def test_many_at_once_on_one_server_leave_nothing_behind(tmp_path, commands):
    async with serving(tmp_path, commands) as served:
        clients = [await served.connect() for _ in range(50)]
        for client in clients:
            await continued(client, "upper")
        for client in clients[::2]:
            client.reset()
        for client in clients[1::2]:
            client.half_close()
            assert await client.at_end()
        await until(lambda: len(served.server.connections()) <= 0 or not served.server._runtime.operations.running())
