"""Clients and programs joined, over real sockets and with real processes (N5)."""

import asyncio
import base64
import errno
import os
import signal
import socket
import sys
import time
from typing import cast

import pytest

from ctld.errors import Busy
from ctld.limits import Limits
from ctld.sessions.joining import receive_fds
from ctld.stream import Stream
from tests.frames_client import (
    EXIT,
    RESIZE,
    SIGNAL,
    STDERR,
    STDIN,
    STDOUT,
    begin,
    frame,
    read_frame,
    to_the_end,
)
from tests.native import serving, until
from tests.procfs import alive, state_of


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", code]


async def listed(client):
    return (await client.ask("session_list"))["response"]


async def no_session_left(served) -> list[int]:
    """Wait until all sessions have ended, and return with which statuses those did that nobody saw end."""
    table = served.server._runtime.sessions
    while len(table):
        await asyncio.wait([session.over for session in table if not session.ended])
    return [session.exit_status for session in table]


async def said(client, text: bytes) -> None:
    """Wait until the program has said something; a terminal may hand it out in pieces."""
    seen = b""
    while text not in seen:
        seen += (await read_frame(client))[1]


async def test_without_descriptors_none_are_taken():
    class Exhausted:
        async def take_fds(self, count, timeout):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with pytest.raises(Busy, match=r"^descriptors cannot be taken: Too many open files$"):
        await receive_fds(cast(Stream, Exhausted()), 3)


class TestFrames:
    async def test_streams_are_apart_and_the_exit_comes_last(self, client):
        await begin(client, "exec", {"cmd": ["sh", "-c", "echo out; echo err >&2; exit 3"]})
        outcome = await to_the_end(client)
        assert (outcome.stdout, outcome.stderr) == (b"out\n", b"err\n")
        assert sorted(outcome.ended) == [STDOUT, STDERR]
        assert outcome.exit == {"exitstatus": 3}

    async def test_the_connection_takes_requests_again(self, client):
        for _ in range(3):
            await begin(client, "exec", {"cmd": ["echo", "hi"]})
            assert (await to_the_end(client)).stdout == b"hi\n"
            assert (await client.ask("ping"))["response"] == "pong"

    async def test_stdin_arrives_and_ends(self, client):
        await begin(client, "exec", {"cmd": ["cat"]})
        client.write(frame(STDIN, b"abc") + frame(STDIN, b"def") + frame(STDIN))
        outcome = await to_the_end(client)
        assert (outcome.stdout, outcome.status) == (b"abcdef", 0)

    async def test_large_output_is_never_cut(self, client):
        """B8, B13: 3 MB, twenty times over."""
        for _ in range(20):
            await begin(client, "exec", {"cmd": python("import sys; sys.stdout.buffer.write(b'x' * 3_000_000)")})
            outcome = await to_the_end(client)
            assert (len(outcome.stdout), outcome.status) == (3_000_000, 0)

    async def test_signal_death_is_128_and_the_number(self, client):
        await begin(client, "exec", {"cmd": ["sh", "-c", "kill -TERM $$"]})
        assert (await to_the_end(client)).exit == {"exitstatus": 143}

    async def test_a_missing_program_is_an_ordinary_error(self, client):
        answer = await client.ask("exec", {"cmd": ["/no/such/thing"]}, session={})
        assert (answer["status"], answer["code"]) == (False, "not-found")
        assert (answer["kind"], answer["name"]) == ("program", "/no/such/thing")
        assert "/no/such/thing" in answer["message"]
        assert (await client.ask("ping"))["response"] == "pong"

    async def test_environment_and_directory(self, client):
        await begin(
            client, "exec", {"cmd": ["sh", "-c", "echo $A $B; pwd"], "env": {"A": "1"}, "cwd": "/usr"}, env={"B": "2"}
        )
        assert (await to_the_end(client)).stdout == b"1 2\n/usr\n"

    async def test_session_options_among_the_options(self, client):
        answer = await client.ask("exec", {"cmd": ["stty", "size"], "tty": True, "rows": 7, "cols": 9})
        assert answer == {"status": True, "response": "continue"}  # version 1: exactly that
        assert (await to_the_end(client)).stdout == b"7 9\r\n"

    async def test_with_an_id(self, client):
        client.send({"cmd": "exec", "opts": {"cmd": ["true"]}, "id": 7})
        assert await client.receive() == {"status": True, "response": "continue", "id": 7}
        assert (await to_the_end(client)).status == 0
        client.send({"cmd": "ping", "id": 7})
        assert await client.receive() == {"status": True, "response": "pong", "id": 7}

    async def test_stdin_larger_than_the_program_reads(self, client):
        await begin(client, "exec", {"cmd": ["head", "-c", "10"]})
        client.write(frame(STDIN, b"y" * 65536) * 64)
        outcome = await to_the_end(client)
        assert (outcome.stdout, outcome.status) == (b"y" * 10, 0)
        # What was still on its way is dropped, up to the first byte that is no frame type.
        assert (await client.ask("ping"))["response"] == "pong"

    async def test_a_program_that_closes_its_output_early(self, client):
        await begin(client, "exec", {"cmd": ["sh", "-c", "exec >&-; read line; echo late >&2"]})
        assert await read_frame(client) == (STDOUT, b"")
        client.write(frame(STDIN, b"go\n"))
        outcome = await to_the_end(client)
        assert (outcome.stderr, outcome.status) == (b"late\n", 0)

    async def test_a_grandchild_that_holds_the_pipe_does_not_hold_the_end(self, client):
        """B12: seconds, not for as long as somebody has the pipe open."""
        started = time.monotonic()
        await begin(client, "exec", {"cmd": ["sh", "-c", "setsid sleep 30 & echo $!"]})
        outcome = await to_the_end(client)
        assert time.monotonic() - started < 10
        assert outcome.status == 0
        os.kill(int(outcome.stdout), signal.SIGKILL)

    async def test_a_grandchild_that_still_writes_is_heard(self, client):
        await begin(client, "exec", {"cmd": ["sh", "-c", "(sleep 0.2; echo late) & echo early"]})
        assert (await to_the_end(client)).stdout == b"early\nlate\n"

    async def test_signals_travel_as_frames(self, client):
        await begin(
            client,
            "exec",
            {"cmd": ["sh", "-c", "trap 'echo got it; exit 5' INT; echo ready; while :; do sleep 0.01; done"]},
        )
        assert await read_frame(client) == (STDOUT, b"ready\n")
        client.write(frame(SIGNAL, {"signal": "INT"}))
        outcome = await to_the_end(client)
        assert (outcome.stdout, outcome.status) == (b"got it\n", 5)

    async def test_pings_are_answered(self, client):
        await begin(client, "exec", {"cmd": ["cat"]})
        client.write(frame(6, b"are you there"))
        assert await read_frame(client) == (7, b"are you there")
        client.write(frame(STDIN))
        assert (await to_the_end(client)).status == 0

    @pytest.mark.parametrize(
        "nonsense",
        [
            b"\x08",
            b'{"cmd": "ping"}\n',
            frame(STDOUT, b"x"),
            frame(SIGNAL, b"[]"),
            frame(SIGNAL, {"signal": "NOPE"}),
            frame(RESIZE, b"{"),
            b"\x00\xff\xff\xff\xff",
        ],
    )
    async def test_nonsense_ends_the_session_and_says_why(self, client, served, nonsense):
        await begin(client, "exec", {"cmd": ["sleep", "60"]})
        client.write(nonsense)
        outcome = await to_the_end(client)
        assert outcome.exit["error"] in ("failed", "invalid-options")
        assert outcome.exit["message"]
        await no_session_left(served)

    async def test_resize_of_what_has_no_terminal_is_nothing(self, client):
        await begin(client, "exec", {"cmd": ["cat"]})
        client.write(frame(RESIZE, {"rows": 5, "cols": 5}) + frame(STDIN))
        assert (await to_the_end(client)).status == 0

    async def test_two_hundred_at_once(self, served):
        async def one(number: int) -> None:
            client = await served.connect()
            await begin(client, "exec", {"cmd": ["sh", "-c", f"read x; echo {number} $x"]})
            ready.append(number)
            await until(lambda: len(ready) == 200)
            client.write(frame(STDIN, b"go\n"))
            outcome = await to_the_end(client)
            assert (outcome.stdout, outcome.status) == (b"%d go\n" % number, 0)

        ready: list[int] = []
        await asyncio.gather(*(one(number) for number in range(200)))


class TestTerminals:
    async def test_the_size_is_right_from_the_first_byte(self, client):
        """B1."""
        await begin(client, "exec", {"cmd": ["sh", "-c", "stty size; tty; echo $TERM"]}, tty=True, rows=33, cols=77)
        lines = (await to_the_end(client)).stdout.split(b"\r\n")
        assert lines[0] == b"33 77"
        assert lines[1].startswith(b"/dev/pts/")
        assert lines[2] == b"xterm"

    async def test_it_is_the_controlling_terminal(self, client):
        await begin(client, "exec", {"cmd": ["cat"]}, tty=True)
        client.write(frame(STDIN, b"abc\n"))
        await said(client, b"abc\r\nabc\r\n")  # the echo, then cat
        client.write(frame(STDIN, b"\x03"))
        assert (await to_the_end(client)).status == 130

    async def test_the_end_of_stdin_is_a_character_there(self, client):
        await begin(client, "exec", {"cmd": ["cat"]}, tty=True)
        client.write(frame(STDIN))
        assert (await to_the_end(client)).status == 0

    async def test_a_storm_of_sizes_ends_with_the_last_one(self, client):
        code = (
            "import os, signal, sys\n"
            "signal.signal(signal.SIGWINCH, lambda *a: None)\n"
            "print('ready', flush=True)\n"
            "sys.stdin.readline()\n"
            "print(*os.get_terminal_size())\n"
        )
        await begin(client, "exec", {"cmd": python(code)}, tty=True)
        await said(client, b"ready\r\n")
        client.write(b"".join(frame(RESIZE, {"rows": 10 + i % 90, "cols": 20 + i % 190}) for i in range(2000)))
        client.write(frame(RESIZE, {"rows": 41, "cols": 42}) + frame(STDIN, b"\n"))
        assert (await to_the_end(client)).stdout.endswith(b"42 41\r\n")

    @pytest.mark.parametrize("size", [{"rows": 0, "cols": 80}, {"rows": 70000, "cols": 80}, {"cols": 80}])
    async def test_a_size_that_no_terminal_has_ends_the_session(self, client, size):
        await begin(client, "exec", {"cmd": ["cat"]}, tty=True)
        client.write(frame(RESIZE, size))
        assert (await to_the_end(client)).exit["error"] == "invalid-options"

    @pytest.mark.parametrize(
        "session", [{"rows": 0}, {"rows": "many"}, {"tty": 1}, {"io": "smoke"}, {"on_disconnect": "dance"}, {"nope": 1}]
    )
    async def test_session_options_are_checked_before_anything_starts(self, client, session):
        answer = await client.ask("exec", {"cmd": ["true"]}, session=session)
        assert answer["code"] == "invalid-options"
        assert answer["path"].startswith("$.session")


class TestHangUps:
    """B3, B4, B5: a client dies at each stage, and nothing stays behind."""

    @pytest.mark.parametrize("tty", [False, True])
    @pytest.mark.parametrize("how", ["close", "reset", "half_close"])
    async def test_the_group_is_hung_up(self, client, served, tty, how):
        await begin(client, "exec", {"cmd": ["sh", "-c", "sleep 60 & echo $! $$; wait"]}, tty=tty)
        pids = [int(word) for word in (await read_frame(client))[1].split()]
        getattr(client, how)()
        assert await no_session_left(served) == [129]
        await until(lambda: not any(map(alive, pids)))

    async def test_who_ignores_the_hangup_is_killed(self, client, served):
        await begin(client, "exec", {"cmd": ["sh", "-c", "trap '' HUP; echo $$; while :; do sleep 0.05; done"]})
        pid = int((await read_frame(client))[1])
        client.close()
        assert await no_session_left(served) == [137]
        assert not alive(pid)

    async def test_a_stopped_program_hears_the_hangup(self, client, served):
        await begin(client, "exec", {"cmd": ["sh", "-c", "echo $$; kill -STOP $$; sleep 60"]})
        pid = int((await read_frame(client))[1])
        await until(lambda: state_of(pid) == "T")
        client.close()
        assert await no_session_left(served) == [129]

    async def test_kill_does_not_ask(self, client, served):
        cmd = ["sh", "-c", "trap '' HUP TERM; echo ready; while :; do sleep 0.05; done"]
        await begin(client, "exec", {"cmd": cmd}, on_disconnect="kill")
        await read_frame(client)
        client.close()
        assert await no_session_left(served) == [137]

    async def test_a_hangup_is_noticed_while_nothing_is_read(self, client, served):
        """The program does not read, so its client is not read either; and dies."""
        await begin(client, "exec", {"cmd": ["sleep", "60"]})
        client.write(frame(STDIN, b"z" * 65536) * 32)
        await until(lambda: client.writer.transport.get_write_buffer_size() > 0)
        client.reset()
        await no_session_left(served)

    async def test_a_hangup_is_noticed_while_output_waits(self, client, served):
        client.stop_reading()
        client.send({"cmd": "exec", "opts": {"cmd": ["yes"]}})
        await until(lambda: any(session._program.paused for session in served.server._runtime.sessions))
        client.reset()
        assert await no_session_left(served) == [129]

    async def test_before_the_program_has_said_anything(self, client, served):
        client.send({"cmd": "exec", "opts": {"cmd": ["sleep", "60"]}})
        client.close()
        await until(lambda: not served.server.connections())
        await no_session_left(served)
        assert (await (await served.connect()).ask("ping"))["response"] == "pong"

    async def test_detached_it_goes_on_and_is_seen_again(self, client, other):
        session = await begin(
            client, "exec", {"cmd": ["sh", "-c", "echo one; read x; echo $x; exit 4"]}, on_disconnect="detach"
        )
        await read_frame(client)
        client.close()
        while (await listed(other))[0]["state"] != "detached":
            await asyncio.sleep(0.005)
        await begin(other, "session_attach", {"id": session})
        assert await read_frame(other) == (STDOUT, b"one\n")
        other.write(frame(STDIN, b"two\n"))
        outcome = await to_the_end(other)
        assert (outcome.stdout, outcome.exit) == (b"two\n", {"exitstatus": 4})

    async def test_the_end_that_nobody_saw_can_be_asked_for(self, client, other):
        """B12: results are kept for a stated time, by id."""
        session = await begin(
            client, "exec", {"cmd": ["sh", "-c", "read x; echo done; exit 6"]}, on_disconnect="detach"
        )
        client.write(frame(STDIN, b"\n"))
        client.close()
        while [one for one in await listed(other) if one["state"] != "ended"]:
            await asyncio.sleep(0.005)
        await begin(other, "session_attach", {"id": session})
        outcome = await to_the_end(other)
        assert (outcome.stdout, outcome.exit) == (b"done\n", {"exitstatus": 6})


class TestLeaving:
    """B6: to detach is the client's decision, and a frame."""

    async def test_an_exit_frame_of_the_client_leaves_the_session_running(self, client):
        session = await begin(client, "exec", {"cmd": ["cat"]})
        client.write(frame(EXIT))
        outcome = await to_the_end(client)
        assert (outcome.exit["error"], outcome.exit["session"]) == ("cancelled", session)
        assert [one["state"] for one in await listed(client)] == ["detached"]
        await begin(client, "session_attach", {"id": session})
        client.write(frame(STDIN, b"x") + frame(STDIN))
        assert (await to_the_end(client)).stdout == b"x"

    async def test_several_look_at_once_and_one_leaves(self, client, other, served):
        third = await served.connect()
        session = await begin(client, "exec", {"cmd": ["cat"]})
        await begin(other, "session_attach", {"id": session})
        await begin(third, "session_attach", {"id": session, "read_only": True})
        third.write(frame(STDIN, b"I only watch"))
        other.write(frame(STDIN, b"hello"))
        for one in (client, other, third):
            assert await read_frame(one) == (STDOUT, b"hello")
        client.close()  # somebody who may type is left
        third.write(frame(EXIT))
        assert (await to_the_end(third)).exit == {"exitstatus": None}
        other.write(frame(STDIN))
        assert (await to_the_end(other)).status == 0

    async def test_the_last_who_may_type_takes_the_program_with_him(self, client, served):
        third = await served.connect()
        session = await begin(client, "exec", {"cmd": ["sleep", "60"]})
        await begin(third, "session_attach", {"id": session, "read_only": True})
        client.close()
        assert (await to_the_end(third)).status == 129
        await no_session_left(served)


class TestBusy:
    async def test_a_hijack_beside_other_requests_is_busy(self, served, client):
        client.send({"cmd": "op_wait", "opts": {"id": "x-1"}, "id": 1})
        assert (await client.receive())["code"] == "not-found"
        blocker = await served.connect()
        session = await begin(blocker, "exec", {"cmd": ["sleep", "60"]})
        operation = (await client.ask("session_list"))["response"][0]["operation"]
        client.send({"cmd": "op_wait", "opts": {"id": operation}, "id": 2})
        answer = await client.ask("exec", {"cmd": ["true"]})
        assert answer["code"] == "busy"
        await client.ask("session_kill", {"id": session})
        assert (await to_the_end(blocker)).status == 137
        assert (await client.receive())["id"] == 2

    async def test_what_follows_the_request_is_not_a_request(self, client):
        """Left-over bytes that look like frames are the session's, and what looks like a request is not one."""
        line = b'{"cmd": "ping"}\n'
        client.write(b'{"cmd": "exec", "opts": {"cmd": ["cat"]}}\n' + frame(STDIN, line) + frame(STDIN))
        assert (await client.receive())["response"] == "continue"
        assert (await to_the_end(client)).stdout == line
        assert (await client.ask("ping"))["response"] == "pong"

    async def test_requests_before_it_are_answered_first(self, client):
        client.send({"cmd": "ping"}, {"cmd": "exec", "opts": {"cmd": ["true"]}})
        assert (await client.receive())["response"] == "pong"
        assert (await client.receive())["response"] == "continue"
        assert (await to_the_end(client)).status == 0

    async def test_a_refused_one_lets_the_following_requests_be_served(self, client):
        client.send({"cmd": "exec", "opts": {}}, {"cmd": "ping"}, {"cmd": "exec", "opts": {"cmd": []}}, {"cmd": "ping"})
        codes = [(await client.receive()).get("code") for _ in range(4)]
        assert codes == ["invalid-options", None, "invalid-options", None]

    async def test_ten_thousand_refused_ones_in_one_packet(self, client):
        client.send(*({"cmd": "exec", "opts": {}, "id": 1} for _ in range(10_000)))
        for _ in range(10_000):
            assert (await client.receive())["code"] in ("invalid-options", "bad-request")

    async def test_the_operation_of_a_session_can_be_cancelled(self, client, other):
        await begin(
            client,
            "exec",
            {"cmd": ["sh", "-c", "trap 'echo bye; exit 0' HUP; echo ready; while :; do sleep 0.01; done"]},
        )
        await read_frame(client)
        operation = (await listed(other))[0]["operation"]
        await other.ask("op_cancel", {"id": operation})
        outcome = await to_the_end(client)
        assert outcome.stdout == b"bye\n"  # what it said last is heard
        assert outcome.exit["error"] == "cancelled"

    async def test_a_deadline_ends_the_program(self, client):
        client.send({"cmd": "exec", "opts": {"cmd": ["sleep", "60"]}, "deadline": 2})
        assert (await client.receive())["response"] == "continue"
        assert (await to_the_end(client)).exit["error"] == "deadline"


class TestSlowness:
    async def test_who_types_slows_the_program_and_loses_nothing(self, client, served):
        """B15: backpressure for who may type."""
        await begin(client, "exec", {"cmd": python("import sys; sys.stdout.buffer.write(b'q' * 8_000_000)")})
        client.stop_reading()
        [session] = served.server._runtime.sessions
        await until(lambda: session._program.paused)  # and that lasts: nobody reads
        assert session.bytes_out < 4_000_000
        client.go_on_reading()
        assert len((await to_the_end(client)).stdout) == 8_000_000

    async def test_a_slow_watcher_holds_nobody_up_and_is_let_go(self, client, other, served):
        third = await served.connect()
        session = await begin(
            client, "exec", {"cmd": python("import sys; input(); sys.stdout.buffer.write(b'q' * 16_000_000)")}
        )
        await begin(third, "session_attach", {"id": session, "read_only": True})
        third.stop_reading()
        client.write(frame(STDIN, b"\n"))
        assert len((await to_the_end(client)).stdout) == 16_000_000
        third.go_on_reading()
        outcome = await to_the_end(third)
        assert outcome.exit["error"] == "busy"
        assert "too slowly" in outcome.exit["message"]


class TestShutdown:
    async def test_frames_get_their_last_output_and_the_reason(self, tmp_path):
        async with serving(tmp_path, limits=Limits(session_grace=5)) as served:
            client = await served.connect()
            await begin(
                client,
                "exec",
                {"cmd": ["sh", "-c", "trap 'echo bye; exit 0' HUP; echo ready; while :; do sleep 0.01; done"]},
            )
            await read_frame(client)
            served.server.close()
            outcome = await to_the_end(client)
            assert outcome.stdout == b"bye\n"
            assert outcome.exit["error"] == "shutting-down"
            assert await client.at_end()

    async def test_who_does_not_listen_is_killed_after_the_grace(self, tmp_path):
        async with serving(tmp_path, limits=Limits(session_grace=0.1)) as served:
            client = await served.connect()
            await begin(client, "exec", {"cmd": ["sh", "-c", "trap '' HUP; echo $$; while :; do sleep 0.05; done"]})
            pid = int((await read_frame(client))[1])
            served.server.close()
            assert (await to_the_end(client)).exit["error"] == "shutting-down"
            assert not alive(pid)

    async def test_a_hurry_does_not_wait_for_the_grace(self, tmp_path):
        async with serving(tmp_path, limits=Limits(session_grace=600)) as served:
            client = await served.connect()
            await begin(client, "exec", {"cmd": ["sh", "-c", "trap '' HUP; echo $$; while :; do sleep 0.05; done"]})
            await read_frame(client)
            served.server.close()
            served.server.hurry()
            assert (await to_the_end(client)).exit["error"] == "shutting-down"

    async def test_detached_ones_end_too(self, tmp_path):
        async with serving(tmp_path, limits=Limits(session_grace=5)) as served:
            client = await served.connect()
            await begin(client, "exec", {"cmd": ["sh", "-c", "echo $$; sleep 60"]}, on_disconnect="detach")
            pid = int((await read_frame(client))[1])
            client.close()
        assert not alive(pid)

    async def test_consoles_are_drained_and_closed(self, tmp_path):
        async with serving(tmp_path, limits=Limits(session_grace=5)) as served:
            client = await served.connect()
            await client.ask(
                "console",
                {"cmd": ["sh", "-c", "trap 'echo bye; exit 0' HUP; echo ready; while :; do sleep 0.01; done"]},
            )
            assert await client.reader.readline() == b"ready\r\n"
            served.server.close()
            assert (await client.reader.read()).endswith(b"bye\r\n")


def keys(text: bytes) -> bytes:
    return b'{"keys": "%s"}\n' % base64.b64encode(text)


class TestConsole:
    async def test_json_lines_in_and_raw_bytes_out(self, client):
        answer = await client.ask("console", {"cmd": ["cat"]}, session={"rows": 11, "cols": 22})
        assert answer["response"] == "continue"
        client.write(keys(b"hello\n"))
        assert await client.reader.readexactly(14) == b"hello\r\nhello\r\n"
        client.write(keys(b"\x04"))
        assert await client.at_end()  # no last word: the connection is closed

    async def test_sizes(self, client):
        await client.ask("console", {"cmd": ["sh"]}, session={"rows": 11, "cols": 22})
        client.write(keys(b"stty size; stty -echo\n"))
        assert b"11 22\r\n" in await client.reader.readuntil(b"22\r\n")
        client.write(b'{"rows": 33, "cols": 44}\n' + keys(b"stty size\n"))
        assert b"33 44\r\n" in await client.reader.readuntil(b"33 44\r\n")
        client.write(keys(b"exit\n"))
        await client.reader.read()

    async def test_nonsense_is_ignored(self, client):
        await client.ask("console", {"cmd": ["sh", "-c", "stty -echo; echo ready; cat"]})
        await client.reader.readuntil(b"ready\r\n")
        client.write(
            b'\n{\n[]\n{"keys": 5}\n{"keys": "***"}\n{"keys": "YQ"}\n\xff\n{"rows": 0, "cols": 5}\n'
            b'{"rows": 99999, "cols": 99999}\n{"rows": "x"}\n' + b"x" * 3_000_000 + b"\n" + keys(b"fine\n")
        )
        assert await client.reader.readexactly(6) == b"fine\r\n"
        client.write(keys(b"\x04"))
        await client.reader.read()

    async def test_the_first_output_waits_until_continue_is_read(self, served):
        """The ancestor's client loses what comes in one packet with "continue"."""
        for _ in range(10):
            client = await served.connect()
            loop = asyncio.get_running_loop()
            with socket.socket(socket.AF_UNIX) as sock:
                sock.setblocking(False)
                sock.connect(served.path)
                await loop.sock_recv(sock, 65536)
                await loop.sock_sendall(sock, b'{"cmd": "console", "opts": {"cmd": ["echo", "banner"]}}\n')
                assert await loop.sock_recv(sock, 65536) == b'{"status":true,"response":"continue"}\n'
                assert await loop.sock_recv(sock, 65536) == b"banner\r\n"
            client.close()

    async def test_a_hangup_ends_the_shell(self, client, served):
        await client.ask("console", {})
        assert len(served.server._runtime.sessions) == 1
        client.close()
        [status] = await no_session_left(served)
        assert status


class TestDescriptors:
    """N5.1: the program runs on the client's own descriptors."""

    async def request(self, client, cmd, *, ways=((0,), (0,), (0,)), **session):
        answer = await client.ask("exec", {"cmd": cmd}, session={"io": "fds", **session})
        assert answer["response"] == "continue", answer

    @staticmethod
    def send_fds(client, *groups, payload=b"\0"):
        sock = client.writer.transport.get_extra_info("socket")
        with socket.socket(fileno=os.dup(sock.fileno())) as own:
            for fds in groups:
                socket.send_fds(own, [payload], fds)

    @pytest.mark.parametrize("together", [False, True])
    async def test_files(self, client, tmp_path, together):
        (tmp_path / "in").write_bytes(b"hello\n")
        with (
            open(tmp_path / "in") as stdin,
            open(tmp_path / "out", "w") as stdout,
            open(tmp_path / "err", "w") as stderr,
        ):
            fds = [stdin.fileno(), stdout.fileno(), stderr.fileno()]
            await self.request(client, ["sh", "-c", "cat; echo err >&2; exit 9"])
            self.send_fds(client, *([fds] if together else [[fd] for fd in fds]))
            assert await client.receive() == {"status": True, "response": {"exitstatus": 9}}
        assert (tmp_path / "out").read_bytes() == b"hello\n"
        assert (tmp_path / "err").read_bytes() == b"err\n"
        assert (await client.ask("ping"))["response"] == "pong"

    async def test_the_end_comes_after_the_pipe_has_been_emptied(self, client, tmp_path):
        """The ancestor's client stops reading when it hears of the end: 1 MB, ten times, never cut."""
        loop = asyncio.get_running_loop()
        for _ in range(10):
            reading, writing = os.pipe()
            null = os.open(os.devnull, os.O_RDWR)
            await self.request(client, ["head", "-c", "1000000", "/dev/zero"])
            self.send_fds(client, [null], [writing], [null])
            os.close(writing)
            os.close(null)
            final = asyncio.ensure_future(client.receive())
            seen = 0
            while not final.done():
                # As the ancestor's client does: one select for both, and no draining at the end.
                if await loop.run_in_executor(None, _readable, reading):
                    seen += len(os.read(reading, 4096))
            assert final.result()["response"] == {"exitstatus": 0}
            assert seen == 1_000_000
            os.close(reading)

    async def test_a_pipe_that_nobody_reads_holds_up_the_end_for_a_second(self, client):
        reading, writing = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        await self.request(client, ["echo", "hi"])
        self.send_fds(client, [null], [writing], [null])
        started = time.monotonic()
        assert (await client.receive())["response"] == {"exitstatus": 0}
        assert 0.9 < time.monotonic() - started < 5
        for fd in (reading, writing, null):
            os.close(fd)

    async def test_non_blocking_descriptors_block_in_the_program(self, client, tmp_path):
        reading, writing = os.pipe2(os.O_NONBLOCK)
        with open(tmp_path / "out", "w") as out:
            await self.request(client, ["cat"])
            self.send_fds(client, [reading], [out.fileno()], [out.fileno()])
        os.close(reading)
        os.set_blocking(writing, True)
        os.write(writing, b"after a while")
        os.close(writing)
        assert (await client.receive())["response"] == {"exitstatus": 0}
        assert (tmp_path / "out").read_bytes() == b"after a while"

    async def test_terminals_and_sockets(self, client):
        master, slave = os.openpty()
        ours, theirs = socket.socketpair()
        await self.request(client, ["sh", "-c", "test -t 0 && test ! -t 1 && cat <&1 >&1"])
        self.send_fds(client, [slave], [theirs.fileno()], [theirs.fileno()])
        theirs.close()
        ours.sendall(b"through a socket")
        ours.shutdown(socket.SHUT_WR)
        loop = asyncio.get_running_loop()
        ours.setblocking(False)
        assert await loop.sock_recv(ours, 100) == b"through a socket"
        assert (await client.receive())["response"] == {"exitstatus": 0}
        ours.close()
        os.close(master)
        os.close(slave)

    async def test_signal_death_and_missing_program(self, client):
        null = os.open(os.devnull, os.O_RDWR)
        await self.request(client, ["sh", "-c", "kill -KILL $$"])
        self.send_fds(client, [null, null, null])
        assert (await client.receive())["response"] == {"exitstatus": 137}
        await self.request(client, ["/no/such/thing"])
        self.send_fds(client, [null, null, null])
        answer = await client.receive()
        # The ancestor's client looks into the response of an error, too.
        assert (answer["status"], answer["code"], answer["response"]) == (False, "not-found", {})
        assert (await client.ask("ping"))["response"] == "pong"
        os.close(null)

    @pytest.mark.parametrize("payload", [b"x", b"\0\0", b"\n"])
    async def test_other_bytes_than_nul(self, client, served, payload):
        null = os.open(os.devnull, os.O_RDWR)
        await self.request(client, ["true"])
        self.send_fds(client, [null], payload=payload)
        answer = await client.receive()
        assert (answer["status"], answer["code"], answer["response"]) == (False, "bad-request", {})
        assert await client.at_end()
        await no_session_left(served)
        os.close(null)

    async def test_bytes_without_descriptors(self, client):
        await self.request(client, ["true"])
        client.write(b"\0\0\0")
        assert (await client.receive())["code"] == "bad-request"
        assert await client.at_end()

    async def test_bytes_behind_the_request(self, client):
        client.write(b'{"cmd": "exec", "opts": {"cmd": ["true"]}, "session": {"io": "fds"}}\n\0\0\0')
        assert (await client.receive())["response"] == "continue"
        assert (await client.receive())["code"] == "bad-request"
        assert await client.at_end()

    async def test_too_many(self, client):
        null = os.open(os.devnull, os.O_RDWR)
        await self.request(client, ["true"])
        self.send_fds(client, [null] * 5)
        assert (await client.receive())["code"] == "bad-request"
        os.close(null)

    async def test_a_client_that_dies_between_them(self, client, served):
        null = os.open(os.devnull, os.O_RDWR)
        await self.request(client, ["true"])
        self.send_fds(client, [null], [null])
        client.close()
        await until(lambda: not served.server.connections())
        assert await no_session_left(served) == []
        os.close(null)

    async def test_a_client_that_dies_while_it_runs(self, client, other, served):
        null = os.open(os.devnull, os.O_RDWR)
        await self.request(client, ["sleep", "60"])
        self.send_fds(client, [null], [null], [null])
        while not [one for one in await listed(other) if one["state"] == "attached"]:
            await asyncio.sleep(0.005)
        pid = (await listed(other))[0]["pid"]
        client.close()
        await no_session_left(served)
        assert not alive(pid)
        os.close(null)

    async def test_signals_by_id(self, client, other):
        """B2: `session_signal` and `session_kill`."""
        null = os.open(os.devnull, os.O_RDWR)
        answer = await client.ask("exec", {"cmd": ["sleep", "60"]}, session={"io": "fds"})
        session = answer["session"]
        self.send_fds(client, [null], [null], [null])
        while not [one for one in await listed(other) if one["state"] == "attached"]:
            await asyncio.sleep(0.005)
        assert (await other.ask("session_signal", {"id": session, "signal": "nope"}))["code"] == "invalid-options"
        assert (await other.ask("session_signal", {"id": session, "signal": "INT"}))["response"] is True
        assert (await client.receive())["response"] == {"exitstatus": 130}
        os.close(null)

    async def test_shutdown(self, tmp_path):
        null = os.open(os.devnull, os.O_RDWR)
        async with serving(tmp_path, limits=Limits(session_grace=0.2)) as served:
            client = await served.connect()
            await self.request(client, ["sleep", "60"])
            self.send_fds(client, [null], [null], [null])
            other = await served.connect()
            while not [one for one in await listed(other) if one["state"] == "attached"]:
                await asyncio.sleep(0.005)
            served.server.close()
            answer = await client.receive()
            assert (answer["code"], answer["response"]) == ("shutting-down", {})
        os.close(null)

    async def test_shutdown_while_descriptors_are_awaited(self, tmp_path):
        async with serving(tmp_path, limits=Limits(stop_grace=0.1)) as served:
            client = await served.connect()
            await self.request(client, ["true"])
            served.server.close()
            assert (await client.receive())["code"] == "shutting-down"


def _readable(fd: int) -> bool:
    import select

    return bool(select.select([fd], [], [], 0.01)[0])
