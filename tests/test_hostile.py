"""Commands, handlers and clients that do what nobody should, over real sockets; the daemon stays and answers."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

import ctld
from ctld.limits import Limits
from tests.native import serving, until

SHORT = Limits(stop_grace=0.1, cancel_grace=0.1, drain_timeout=0.2)


class Foreign(BaseException):
    """An exception beside the tree of `Exception`."""


class Hasty(ctld.CommandFailed):
    """An error whose author forgot the constructor of its base."""

    code = "vm.hasty"

    def __init__(self, name: str) -> None:
        self.name = name


class Mumbling(ctld.CommandFailed):
    """An error that does not even say its message."""

    def __init__(self) -> None:
        pass


def raising(error: BaseException) -> ctld.CommandRegistry[Any]:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("fail", role="anyone")
    async def fail(ctx: ctld.Context) -> None:
        raise error

    @commands.command("fail_streaming", role="anyone")
    async def fail_streaming(ctx: ctld.Context) -> AsyncIterator[int]:
        yield 1
        raise error

    return commands


@pytest.mark.parametrize("name", ["fail", "fail_streaming"])
@pytest.mark.parametrize("members", [{}, {"id": 7}], ids=["in order", "with id"])
@pytest.mark.parametrize(
    "error",
    [SystemExit(3), Foreign("?"), StopIteration(1), StopAsyncIteration(1), RecursionError(), MemoryError()],
    ids=lambda error: type(error).__name__,
)
async def test_n2_whatever_a_command_raises_is_internal_and_the_connection_goes_on(
    tmp_path: Path, error: BaseException, members: dict[str, Any], name: str
) -> None:
    async with serving(tmp_path, raising(error)) as served:
        client = await served.connect()
        answer = await client.ask(name, **members)
        assert (answer["code"], answer["message"]) == ("internal", "internal error")
        assert await client.ask("ping") == {"status": True, "response": "pong"}


@pytest.mark.parametrize("members", [{}, {"id": 7}], ids=["in order", "with id"])
async def test_n3_an_error_without_its_base_s_constructor_still_has_its_slug_and_a_message(
    tmp_path: Path, members: dict[str, Any]
) -> None:
    async with serving(tmp_path, raising(Hasty("web"))) as served:
        client = await served.connect()
        answer = await client.ask("fail", **members)
        assert (answer["code"], answer["message"]) == ("vm.hasty", "web")
        assert await client.ask("ping") == {"status": True, "response": "pong"}


async def test_n3_an_error_that_says_nothing_says_its_slug(tmp_path: Path) -> None:
    async with serving(tmp_path, raising(Mumbling())) as served:
        client = await served.connect()
        assert await client.ask("fail") == {"status": False, "message": "failed", "code": "failed"}


@pytest.mark.parametrize("members", [{}, {"id": 7}], ids=["in order", "with id"])
async def test_n2_a_command_that_cancels_its_own_task_is_answered(tmp_path: Path, members: dict[str, Any]) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("suicide", role="anyone")
    async def suicide(ctx: ctld.Context) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(60)

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        answer = await client.ask("suicide", **members)
        assert (answer["status"], answer["code"]) == (False, "cancelled")


@pytest.mark.parametrize("name", ["ctx", "self", "context", "function", "name", "keys", "items", "__class__", ""])
async def test_n2_open_options_cannot_collide_with_parameters(tmp_path: Path, name: str) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("take", role="anyone")  # type: ignore[arg-type]  # mypy warns of what is tested here
    async def take(
        ctx: ctld.Context, name: Annotated[str, ctld.Option(name="from")] = "", **opts: Any
    ) -> dict[str, Any]:
        return opts

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        answer = await client.ask("take", {name: 1})
        if name in ("ctx", "name"):
            assert answer["code"] == "invalid-options"
            assert answer["path"] == f"$.{name}"
        else:
            assert answer == {"status": True, "response": {name: 1}}


async def test_options_may_be_named_like_attributes(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("take", role="anyone")
    async def take(ctx: ctld.Context, keys: int, items: int, self: int, values: int, call: int = 0) -> list[int]:
        return [keys, items, self, values, call]

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        answer = await client.ask("take", {"keys": 1, "items": 2, "self": 3, "values": 4})
        assert answer == {"status": True, "response": [1, 2, 3, 4, 0]}


async def test_n7_a_request_stop_that_fails_does_not_keep_the_daemon_from_stopping(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(ctld.ClientHandler):
        def request_stop(self) -> None:
            raise RuntimeError("request_stop is broken")

    async with serving(tmp_path, handler=Broken) as served:
        client, other = await served.connect(), await served.connect()
        served.server.close()
        await served.server.wait_closed()
        assert await client.at_end()
        assert await other.at_end()
    assert "request_stop is broken" in caplog.text


async def test_n7_a_handler_without_its_base_s_constructor_is_logged_and_turns_nobody_else_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Forgetful(ctld.ClientHandler):
        def __init__(self, *args: Any) -> None:
            pass

    async with serving(tmp_path) as served:
        second = await served.server.listen(f"unix:{tmp_path}/second", handler=Forgetful)
        _, writer = await asyncio.open_unix_connection(second.address.removeprefix("unix:"))
        await until(lambda: "a handler cannot be made" in caplog.text)
        writer.close()
        client = await served.connect()
        assert await client.ask("ping") == {"status": True, "response": "pong"}


@pytest.mark.parametrize("when", ["closing", "closed"])
async def test_nothing_is_listened_on_once_the_server_stops(tmp_path: Path, when: str) -> None:
    server: ctld.Server[Any] = ctld.Server(listen=[f"unix:{tmp_path}/s"])
    await server.start()
    server.close()
    if when == "closed":
        await server.wait_closed()
    with pytest.raises(ctld.ShuttingDown):
        await server.listen(f"unix:{tmp_path}/late")
    await server.wait_closed()
    assert not (tmp_path / "late").exists()


async def test_a_server_that_was_closed_does_not_start(tmp_path: Path) -> None:
    server: ctld.Server[Any] = ctld.Server(listen=[f"unix:{tmp_path}/s"])
    server.close()
    await server.wait_closed()
    with pytest.raises(ctld.ShuttingDown):
        await server.serve_forever()
    assert not (tmp_path / "s").exists()


async def test_a_server_that_could_not_start_may_be_started_again(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("in the way")
    server: ctld.Server[Any] = ctld.Server(listen=[f"unix:{tmp_path}/s"])
    with pytest.raises(ctld.ListenFailed):
        await server.start()
    (tmp_path / "s").unlink()
    async with server, ctld.AsyncClient(f"unix:{tmp_path}/s") as client:
        assert await client.call("ping") == "pong"


async def test_a_background_task_that_crashes_at_once_leaves_no_socket_behind(tmp_path: Path) -> None:
    async def crash() -> None:
        raise RuntimeError("crashed at once")

    server: ctld.Server[Any] = ctld.Server(listen=[f"unix:{tmp_path}/s"])
    server.create_task(crash(), name="crash")
    with pytest.raises(RuntimeError, match="crashed at once"):
        await server.serve_forever()
    assert not (tmp_path / "s").exists()


async def test_a_signal_whose_command_is_refused_is_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("reload", role="admin")
    async def reload(ctx: ctld.Context, name: str) -> None:
        """Need an option that no signal carries."""

    path = f"{tmp_path}/s"
    server: ctld.Server[Any] = ctld.Server(
        commands=commands, listen=[f"unix:{path}"], signals={signal.SIGHUP: "reload"}
    )
    await server.start()
    serving = asyncio.create_task(server.serve_forever())
    async with ctld.AsyncClient(f"unix:{path}") as client:
        await client.call("ping")
        assert signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
        signal.raise_signal(signal.SIGHUP)
        await until(lambda: "reload" in caplog.text)
        record = next(record for record in caplog.records if "reload" in record.getMessage())
        assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    server.close()
    await serving


async def test_n7_an_on_connect_that_never_ends_does_not_hold_up_shutdown(tmp_path: Path) -> None:
    entered = asyncio.Event()

    class Slow(ctld.ClientHandler):
        async def on_connect(self) -> None:
            entered.set()
            await asyncio.sleep(3600)

    async with serving(tmp_path, handler=Slow, limits=SHORT) as served:
        client = await served.connect(banner=False)
        client.send({"cmd": "ping"})
        await entered.wait()
        served.server.close()
        await served.server.wait_closed()
        answers = await client.receive_all()
        assert [answer["code"] for answer in answers] == ["shutting-down"]


@pytest.mark.parametrize("where", ["enter", "exit", "no context manager"])
async def test_a_hook_that_fails_is_internal(tmp_path: Path, where: str) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry(builtins=())

    @commands.command("work", role="anyone")
    async def work(ctx: ctld.Context) -> int:
        return 1

    @asynccontextmanager
    async def broken(ctx: ctld.Context) -> AsyncIterator[None]:
        if where == "enter":
            raise RuntimeError("enter")
        yield
        raise RuntimeError("exit")

    commands.around((lambda ctx: 5) if where == "no context manager" else broken)  # type: ignore[arg-type,return-value]  # on purpose
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        assert (await client.ask("work"))["code"] == "internal"
        assert (await client.ask("work", id=1))["code"] == "internal"


async def test_a_stream_that_goes_on_after_its_cancel_goes_on_and_ends_well(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()
    cancelled, finish = asyncio.Event(), asyncio.Event()

    @commands.command("defiant", role="anyone")
    async def defiant(ctx: ctld.Context) -> AsyncIterator[int]:
        yield 1
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            yield 2
        await finish.wait()

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "defiant", "id": 1, "stream": True})
        assert (await client.receive())["item"] == 1
        client.send({"cancel": 1}, {"cancel": 1})
        assert (await client.receive())["item"] == 2
        await cancelled.wait()
        finish.set()
        assert await client.receive() == {"status": True, "response": None, "id": 1}


async def test_a_stream_that_yields_while_it_is_closed_is_internal(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("clinging", role="anyone")
    async def clinging(ctx: ctld.Context) -> AsyncIterator[Any]:
        try:
            yield object()
        finally:
            yield 2

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        assert (await client.ask("clinging", stream=True))["code"] == "internal"
        assert await client.ask("ping") == {"status": True, "response": "pong"}


async def test_commands_may_take_away_the_executor_of_the_loop(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("vandal", role="admin")
    async def vandal(ctx: ctld.Context) -> None:
        await asyncio.get_running_loop().shutdown_default_executor()

    async with serving(tmp_path, commands, state_dir=tmp_path / "state") as served:
        client = await served.connect()
        assert (await client.ask("vandal"))["status"] is True
        assert (await client.ask("vandal"))["status"] is True
        assert await client.ask("ping") == {"status": True, "response": "pong"}


@pytest.mark.parametrize("deadline", ["1e-300", "5e-324", "1e308"])
async def test_n4_deadlines_at_the_ends_of_the_scale(tmp_path: Path, deadline: str) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        client.write(b'{"cmd":"ping","deadline":%b}\n' % deadline.encode())
        answer = await client.receive()
        assert answer.get("code") == (None if deadline == "1e308" else "deadline")
        assert await client.ask("ping") == {"status": True, "response": "pong"}


@pytest.mark.parametrize(
    "line",
    [
        b'{"cmd":"\xff"}',
        b'{"\xff":1,"cmd":"ping"}',
        b'{"cmd":"ping","id":"\xff"}',
        b'{"cmd":"ping","opts":{"a":"\xc3("}}',
        b'{"cmd":"ping","opts":{"\xed\xa0\x80":1}}',
        b'{"cmd":"ping","x":"\xff"}',
        b'{"cmd":"ping"}\xff',
        b'\xef\xbb\xbf{"cmd":"ping"}',
    ],
)
async def test_n2_bad_utf_8_is_a_syntax_error_wherever_it_stands(tmp_path: Path, line: bytes) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        client.write(line + b"\n")
        answer = await client.receive()
        assert (answer["code"], answer["message"]) == ("syntax", "syntax error, expected a valid JSON")
        assert await client.ask("ping") == {"status": True, "response": "pong"}


@pytest.mark.parametrize(
    "request_id", ["9" * 5000, "1e400", "-0", "1.0", "[]", "18446744073709551616", "true", '"%s"' % ("i" * 257)]
)
async def test_n4_a_silly_id_is_refused_and_never_echoed(tmp_path: Path, request_id: str) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        client.write(b'{"cmd":"ping","id":%b}\n' % request_id.encode())
        answer = await client.receive()
        if request_id == "-0":
            assert answer == {"status": True, "response": "pong", "id": 0}
        else:
            assert answer["code"] in ("bad-request", "syntax")
            assert "id" not in answer


async def test_n4_an_id_may_be_used_again_at_once_after_its_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.connect()
        for _ in range(200):
            assert await client.ask("ping", id="same") == {"status": True, "response": "pong", "id": "same"}


SMALL = Limits(
    max_line=64 * 1024,
    max_queued_per_connection=256 * 1024,
    max_queued=1024 * 1024,
    high_water=16 * 1024,
    stop_grace=5.0,
    cancel_grace=5.0,
    drain_timeout=5.0,
)


@pytest.mark.parametrize(
    "line",
    [b"x\n", b"[]\n", b'{"cmd":"p"}\n', b'{"cmd":"ping","id":[]}\n', b'{"cmd":1,"id":1}\n', b'{"cmd":"ping","id":1}\n'],
    ids=["junk", "array", "unknown", "bad id", "refused with id", "with id"],
)
async def test_n2_what_a_client_that_reads_nothing_makes_us_hold_is_bounded(tmp_path: Path, line: bytes) -> None:
    count = 60_000
    async with serving(tmp_path, limits=SMALL) as served:
        client = await served.connect()
        client.stop_reading()
        client.write(line * count)
        witness = await served.connect()
        held = []

        async def flooding() -> dict[str, Any]:
            listed = (await witness.ask("connection_list"))["response"]
            held.append(listed[0]["unread_bytes"])
            return listed[0]  # type: ignore[no-any-return]  # it is JSON

        while (await flooding())["queued_bytes"] < SMALL.max_queued_per_connection:
            await asyncio.sleep(0.001)
        for _ in range(50):
            await flooding()
        # What has been sent when the mark is passed may exceed it by the answers of one read.
        assert max(held) < 1024 * 1024
        client.go_on_reading()
        for _ in range(count):
            await client.reader.readuntil(b"\n")
        assert await client.ask("ping") == {"status": True, "response": "pong"}


async def test_n2_refusals_that_wait_for_a_slow_client_are_sent_after_its_half_close(tmp_path: Path) -> None:
    count = 20_000
    async with serving(tmp_path, limits=SMALL) as served:
        client = await served.connect()
        client.stop_reading()
        client.write(b'{"cmd":1,"id":"x"}\n' * count)
        client.half_close()
        await until(lambda: served.server.connections()[0]["unread_bytes"])
        client.go_on_reading()
        answers = await client.receive_all()
        assert len(answers) == count
        assert {answer["code"] for answer in answers} == {"bad-request"}


class Fragile(msgspec.Struct):
    """An option whose author's own check breaks in a way that no decoder expects."""

    size: int = 0

    def __post_init__(self) -> None:
        raise KeyError(self.size)


@pytest.mark.parametrize("members", [{}, {"id": 7}, {"detach": True}], ids=["in order", "with id", "detached"])
async def test_n2_an_option_whose_own_check_breaks_is_internal_and_the_connection_goes_on(
    tmp_path: Path, members: dict[str, Any]
) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("make", role="anyone")
    async def make(ctx: ctld.Context, what: Fragile) -> None: ...

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        for _ in range(3):  # the id is free again each time
            answer = await client.ask("make", {"what": {}}, **members)
            assert (answer["code"], answer.get("id"), bool(answer["ref"])) == ("internal", members.get("id"), True)
        client.send({"cmd": "ping"}, {"cmd": "make", "opts": {"what": {}}}, {"cmd": "ping"})
        assert [(await client.receive())["status"] for _ in range(3)] == [True, False, True]
        assert (await client.ask("op_list"))["response"][0]["command"] == "op_list"
        client.half_close()
        assert await client.at_end()


async def test_n7_a_peer_with_a_role_that_there_is_not_may_do_nothing_and_is_told(tmp_path: Path) -> None:
    class Careless(ctld.ClientHandler):
        async def on_connect(self) -> None:
            self.peer = ctld.Peer("x", "boss")  # type: ignore[arg-type]  # on purpose

    async with serving(tmp_path, handler=Careless) as served:
        client = await served.connect()
        assert (await client.ask("ping"))["code"] == "internal"
        assert (await client.ask("ping", id=1))["code"] == "internal"


async def test_what_cannot_even_be_noted_leaves_no_operation_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("change", role="operate")
    async def change(ctx: ctld.Context) -> None: ...

    async with serving(tmp_path, commands) as served:
        client = await served.connect()

        def broken(*args: object, **opts: object) -> None:
            raise RuntimeError("no more events")

        monkeypatch.setattr(served.server.events, "publish", broken)
        many: list[dict[str, Any]] = [{}, {"id": 1}, {"detach": True}]
        for members in many:
            assert (await client.ask("change", **members))["code"] == "internal"
        monkeypatch.undo()
        assert [row["command"] for row in (await client.ask("op_list"))["response"]] == ["op_list"]


async def test_n2_what_waited_for_a_client_that_left_is_served_and_the_connection_ends(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()
    seen: list[int] = []

    @commands.command("fill", role="anyone")
    async def fill(ctx: ctld.Context) -> str:
        return "x" * 4 * 1024 * 1024

    @commands.command("note", role="anyone")
    async def note(ctx: ctld.Context, n: int) -> None:
        seen.append(n)

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        witness = await served.connect()
        client.stop_reading()
        client.send({"cmd": "fill"})
        await until(lambda: served.server.connections()[0]["unread_bytes"])
        client.send(*({"cmd": "note", "opts": {"n": n}, "id": n} for n in range(3)))
        client.send({"cmd": 1, "id": "refused"})
        await until(lambda: served.server.connections()[0]["queued_bytes"])
        client.reset()
        await until(lambda: len(served.server.connections()) == 1)
        assert seen == [0, 1, 2]
        assert (await witness.ask("ping"))["status"]


async def test_n2_what_was_asked_before_a_breach_of_the_rules_is_answered(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()
    entered, release = asyncio.Event(), asyncio.Event()

    @commands.command("wait", role="anyone")
    async def wait(ctx: ctld.Context) -> None:
        entered.set()
        await release.wait()

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        client.send({"cmd": "wait"}, {"cmd": "wait", "id": 1})
        await entered.wait()
        client.write(b'POST / HTTP/1.1\r\n{"cmd":"ping"}\n')
        client.half_close()
        await until(lambda: served.server.connections()[0]["queued_bytes"])
        for _ in range(10):  # turns enough to do the wrong thing
            await asyncio.sleep(0)
        release.set()
        answers = await client.receive_all()
        assert sorted(str(answer.get("code")) for answer in answers) == ["None", "None", "bad-request"]


async def test_n7_shutdown_answers_also_what_was_refused_before_the_welcome(tmp_path: Path) -> None:
    entered = asyncio.Event()

    class Slow(ctld.ClientHandler):
        async def on_connect(self) -> None:
            entered.set()
            await asyncio.sleep(3600)

    limits = Limits(stop_grace=0.1, cancel_grace=10.0, drain_timeout=0.2)
    async with serving(tmp_path, handler=Slow, limits=limits) as served:
        client = await served.connect(banner=False)
        client.send({"cmd": "ping", "id": 1}, {"cmd": "ping", "id": 1}, {"cmd": "ping"})
        await entered.wait()
        served.server.close()
        async with asyncio.timeout(5):
            await served.server.wait_closed()
        answers = await client.receive_all()
        assert sorted(answer["code"] for answer in answers) == ["bad-request", "shutting-down", "shutting-down"]


@pytest.mark.parametrize("members", [{}, {"id": 1}], ids=["in order", "with id"])
async def test_n2_a_command_that_ends_after_it_was_given_up_is_not_answered_twice(
    tmp_path: Path, members: dict[str, Any]
) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()
    entered, ended = asyncio.Event(), asyncio.Event()

    @commands.command("stubborn", role="anyone")
    async def stubborn(ctx: ctld.Context) -> str:
        entered.set()
        task = asyncio.current_task()
        assert task is not None
        for _ in range(2):  # it is cancelled, and once more after it has been answered for
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                task.uncancel()
        ended.set()
        return "late"

    @commands.command("fill", role="anyone")
    async def fill(ctx: ctld.Context) -> str:
        return "x" * 200 * 1024

    async with serving(tmp_path, commands, limits=SHORT) as served:
        client = await served.connect()
        client.stop_reading()
        client.send({"cmd": "fill"}, {"cmd": "fill"}, {"cmd": "stubborn", **members})
        if not members:
            client.send({"cmd": "ping"}, {"cmd": "ping"})
        await entered.wait()
        served.server.close()
        await ended.wait()
        client.go_on_reading()
        answers = await client.receive_all()
        await served.server.wait_closed()
        assert [answer.get("code") for answer in answers[2:]] == ["shutting-down"] * (1 if members else 3)
