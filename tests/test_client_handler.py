"""N7: what a subclass of ClientHandler may count on."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ctld
from ctld.limits import Limits
from tests.native import serving, until


def with_echo() -> ctld.CommandRegistry[Any]:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("echo", role="observe")
    async def echo(ctx: ctld.Context, value: str = "") -> str:
        return value

    return commands


async def test_n7_one_handler_per_connection(tmp_path: Path) -> None:
    made: list[ctld.ClientHandler] = []

    class Counting(ctld.ClientHandler):
        async def on_connect(self) -> None:
            made.append(self)

    async with serving(tmp_path, handler=Counting) as served:
        for _ in range(2):
            client = await served.connect()
            await client.ask("ping")
            await client.ask("ping")
        assert len(made) == 2


async def test_n7_the_handler_finds_app_server_peer_socket_and_opts(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    class Looking(ctld.ClientHandler[str]):
        async def on_connect(self) -> None:
            seen.update(app=self.app, server=self.server, peer=self.peer, opts=self.opts, fd=self.socket.fileno())

    async with serving(tmp_path, app="the app") as served:
        await served.server.listen(f"unix:{tmp_path}/other", handler=Looking, opts={"user": 7})
        client = await type(served)(served.server, f"{tmp_path}/other").connect()
        assert seen["app"] == "the app"
        assert seen["server"] is served.server
        assert seen["opts"] == {"user": 7}
        assert seen["fd"] >= 0
        assert seen["peer"].transport == "unix"
        assert seen["peer"].pid
        client.close()
        await client.writer.wait_closed()


async def test_n7_on_connect_runs_before_the_banner_and_may_set_the_peer(tmp_path: Path) -> None:
    class Demoting(ctld.ClientHandler):
        async def on_connect(self) -> None:
            await asyncio.sleep(0)
            self.peer = replace(self.peer, name="guest", role="anyone")

    async with serving(tmp_path, with_echo(), handler=Demoting) as served:
        client = await served.connect(banner=False)
        client.send({"cmd": "ping"}, {"cmd": "ping", "id": 1})
        assert "version" in await client.receive()
        assert [(await client.receive())["response"] for _ in range(2)] == ["pong", "pong"]
        assert (await client.ask("echo"))["code"] == "denied"


async def test_n7_on_connect_may_refuse(tmp_path: Path) -> None:
    class Refusing(ctld.ClientHandler):
        async def on_connect(self) -> None:
            raise ctld.Denied("not on Sundays")

    async with serving(tmp_path, handler=Refusing) as served:
        client = await served.connect(banner=False)
        client.send({"cmd": "ping"})
        assert await client.receive_all() == [{"status": False, "message": "not on Sundays", "code": "denied"}]


async def test_a_defect_in_on_connect_is_internal_and_ends_the_connection(tmp_path: Path) -> None:
    class Broken(ctld.ClientHandler):
        async def on_connect(self) -> None:
            raise KeyError("oops")

    async with serving(tmp_path, handler=Broken) as served:
        [failure] = await (await served.connect(banner=False)).receive_all()
        assert failure["code"] == "internal"
        assert "oops" not in str(failure)


async def test_on_connect_is_bounded_in_time(tmp_path: Path) -> None:
    class Slow(ctld.ClientHandler):
        async def on_connect(self) -> None:
            await asyncio.Event().wait()

    async with serving(tmp_path, handler=Slow, limits=Limits(handshake_timeout=0.05)) as served:
        [failure] = await (await served.connect(banner=False)).receive_all()
        assert failure["status"] is False


async def test_a_handler_that_cannot_be_made_costs_only_its_client(tmp_path: Path) -> None:
    class Picky(ctld.ClientHandler):
        broken = True

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            if Picky.broken:
                raise RuntimeError("no")

    async with serving(tmp_path, handler=Picky) as served:
        assert await (await served.connect(banner=False)).at_end()
        Picky.broken = False
        assert (await (await served.connect()).ask("ping"))["response"] == "pong"


async def test_n7_authorize_is_asked_before_every_command_and_by_can_i_and_describe(tmp_path: Path) -> None:
    asked: list[tuple[str, Mapping[str, Any]]] = []

    class Guarding(ctld.ClientHandler):
        async def authorize(self, command: ctld.Command, opts: Mapping[str, Any], /) -> None:
            asked.append((command.name, dict(opts)))
            if command.name == "echo" and opts.get("value") != "please":
                raise ctld.Denied("say please", remedy='use --value "please"')

    async with serving(tmp_path, with_echo(), handler=Guarding) as served:
        client = await served.connect()
        assert (await client.ask("echo", {"value": "x"}))["message"] == "say please"
        assert (await client.ask("echo", {"value": "please"}))["response"] == "please"
        assert asked == [("echo", {"value": "x"}), ("echo", {"value": "please"})]
        permission = (await client.ask("can_i", {"cmd": "echo"}))["response"]
        assert permission == {"allowed": False, "role": "observe", "remedy": 'use --value "please"'}
        allowed = await client.ask("can_i", {"cmd": "echo", "opts": {"value": "please"}})
        assert allowed["response"]["allowed"] is True
        assert (await client.ask("describe", {"cmd": "echo"}))["response"]["allowed"] is False
        assert (await client.ask("describe", {"cmd": "ping"}))["response"]["allowed"] is True


async def test_a_defect_in_authorize_denies_and_is_internal(tmp_path: Path) -> None:
    class Broken(ctld.ClientHandler):
        async def authorize(self, command: ctld.Command, opts: Mapping[str, Any], /) -> None:
            raise ZeroDivisionError

    async with serving(tmp_path, handler=Broken) as served:
        client = await served.connect()
        assert (await client.ask("ping"))["code"] == "internal"


async def test_n7_handle_cmd_may_wrap_super(tmp_path: Path) -> None:
    class Wrapping(ctld.ClientHandler):
        async def handle_cmd(self, request: ctld.Request, /) -> ctld.Reply | ctld.Failure:
            await self.send_update("before")
            if request.cmd == "old_echo":
                request = ctld.Request("echo", {"value": request.opts["text"]})
            outcome = await super().handle_cmd(request.with_opts(request.opts))
            return self.ok([outcome.response]) if isinstance(outcome, ctld.Reply) else outcome

    async with serving(tmp_path, with_echo(), handler=Wrapping) as served:
        client = await served.connect()
        client.send({"cmd": "old_echo", "opts": {"text": "hi"}, "id": 3})
        assert await client.receive() == {"status": True, "progress": "before", "id": 3}
        assert await client.receive() == {"status": True, "response": ["hi"], "id": 3}
        client.send({"cmd": "nope"})
        assert (await client.receive())["progress"] == "before"
        assert (await client.receive())["code"] == "unknown-command"


async def test_n7_a_wrapper_may_pass_on_what_is_detached(tmp_path: Path) -> None:
    class Wrapping(ctld.ClientHandler):
        async def on_connect(self) -> None:
            self.peer = replace(self.peer, role="observe")

        async def handle_cmd(self, request: ctld.Request, /) -> ctld.Reply | ctld.Failure:
            return await super().handle_cmd(request)

    async with serving(tmp_path, with_echo(), handler=Wrapping) as served:
        client = await served.connect()
        answer = await client.ask("echo", {"value": "x"}, detach=True)
        assert (await client.ask("op_wait", {"id": answer["response"]["operation"]}))["response"] == "x"


class Bypassing(ctld.ClientHandler):
    async def handle_cmd(self, request: ctld.Request, /) -> ctld.Reply | ctld.Failure:
        if request.cmd == "own":
            return self.ok("answered without super()")
        if request.cmd == "own_error":
            return self.error("no such luck", "vm.unlucky", odds=3)
        return await super().handle_cmd(request)


@pytest.mark.parametrize("role", ["anyone", "observe", "operate", "admin"])
async def test_n7_what_a_handler_answers_without_super_needs_role_admin(tmp_path: Path, role: Any) -> None:
    class WithRole(Bypassing):
        async def on_connect(self) -> None:
            self.peer = replace(self.peer, role=role)

    async with serving(tmp_path, handler=WithRole) as served:
        client = await served.connect()
        answer = await client.ask("own")
        if role == "admin":
            assert answer["response"] == "answered without super()"
        else:
            assert answer["code"] == "denied"
            assert answer["role"] == "admin"
            assert answer["remedy"]
        assert (await client.ask("own_error"))["message"] == "no such luck"


async def test_n7_error_carries_code_and_fields(tmp_path: Path) -> None:
    async with serving(tmp_path, handler=Bypassing) as served:
        answer = await (await served.connect()).ask("own_error")
        assert answer == {"status": False, "message": "no such luck", "code": "vm.unlucky", "odds": 3}


@pytest.mark.parametrize("outcome", [None, {"status": True}, "pong", ctld.Failure("")])
async def test_n7_any_other_return_value_or_a_failure_without_message_is_internal(
    tmp_path: Path, outcome: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Odd(ctld.ClientHandler):
        async def handle_cmd(self, request: ctld.Request, /) -> Any:
            return outcome

    async with serving(tmp_path, handler=Odd) as served:
        client = await served.connect()
        answer = await client.ask("ping")
        assert (answer["message"], answer["code"]) == ("internal error", "internal")
        assert answer["ref"] in caplog.text


async def test_n7_handle_cmd_may_raise_an_error_of_the_tree_or_crash(tmp_path: Path) -> None:
    class Raising(ctld.ClientHandler):
        async def handle_cmd(self, request: ctld.Request, /) -> ctld.Reply | ctld.Failure:
            if request.cmd == "crash":
                raise LookupError("inner")
            raise ctld.NotFound("no such vm", kind="vm", name="a")

    async with serving(tmp_path, handler=Raising) as served:
        client = await served.connect()
        assert await client.ask("x") == {
            "status": False,
            "message": "no such vm",
            "code": "not-found",
            "kind": "vm",
            "name": "a",
        }
        assert (await client.ask("crash"))["code"] == "internal"


async def test_a_handler_can_be_cancelled_before_it_reaches_the_dispatcher(tmp_path: Path) -> None:
    entered = asyncio.Event()

    class Slow(ctld.ClientHandler):
        async def handle_cmd(self, request: ctld.Request, /) -> ctld.Reply | ctld.Failure:
            if request.cmd == "slow":
                entered.set()
                await asyncio.Event().wait()
            return await super().handle_cmd(request)

    async with serving(tmp_path, handler=Slow) as served:
        client = await served.connect()
        for request_id in (None, 4):
            entered.clear()
            client.send({"cmd": "slow", "id": request_id})
            await entered.wait()
            client.send({"cancel": request_id})
            assert (await client.receive())["code"] == "cancelled"
        assert (await client.ask("ping"))["response"] == "pong"


async def test_a_handler_that_swallows_the_cancel_goes_on_and_the_connection_survives(tmp_path: Path) -> None:
    entered = asyncio.Event()

    class Stubborn(ctld.ClientHandler):
        async def handle_cmd(self, request: ctld.Request, /) -> ctld.Reply | ctld.Failure:
            if request.cmd == "slow":
                entered.set()
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    return await super().handle_cmd(ctld.Request("ping"))
            return await super().handle_cmd(request)

    async with serving(tmp_path, handler=Stubborn) as served:
        client = await served.connect()
        client.send({"cmd": "slow"})
        await entered.wait()
        client.send({"cancel": None})
        answer = await client.receive()
        assert answer.get("code") == "cancelled" or answer.get("response") == "pong"
        for _ in range(3):
            assert (await client.ask("ping"))["response"] == "pong"


async def test_n7_send_update_goes_to_the_request_being_handled(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()
    both = asyncio.Event()
    handlers: list[ctld.ClientHandler] = []

    class Remembering(ctld.ClientHandler):
        async def on_connect(self) -> None:
            handlers.append(self)

    @commands.command("update", role="anyone")
    async def update(ctx: ctld.Context, text: str) -> None:
        await both.wait()
        await handlers[0].send_update(text)

    async with serving(tmp_path, commands, handler=Remembering) as served:
        client = await served.connect()
        client.send(*({"cmd": "update", "opts": {"text": name}, "id": name} for name in ("a", "b")))
        client.send({"cmd": "update", "opts": {"text": "c"}})
        await until(lambda: served.server.status()["running"] == 3)
        both.set()
        messages = [await client.receive() for _ in range(6)]
        progress = {message.get("id"): message["progress"] for message in messages if "progress" in message}
        assert progress == {"a": "a", "b": "b", None: "c"}
        with pytest.raises(ctld.Cancelled):
            await handlers[0].send_update("nobody asks")


@pytest.mark.parametrize(("deadline", "code"), [(0.05, "deadline"), (60, "cancelled")])
async def test_n7_handle_cmd_may_wait_for_super_in_a_task_of_its_own(
    tmp_path: Path, deadline: float, code: str
) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    class Waiting(ctld.ClientHandler):
        async def handle_cmd(self, request: ctld.Request, /) -> ctld.Reply | ctld.Failure:
            return await asyncio.wait_for(super().handle_cmd(request), 60)  # which makes a task, before Python 3.12

    @commands.command("hang", role="anyone")
    async def hang(ctx: ctld.Context) -> None:
        await asyncio.Event().wait()

    async with serving(tmp_path, commands, handler=Waiting) as served:
        client = await served.connect()
        client.send({"cmd": "hang", "deadline": deadline})
        if code == "cancelled":
            await until(lambda: served.server.status()["running"] == 1)
            client.send({"cancel": None})
        assert (await client.receive())["code"] == code
        assert (await client.ask("ping"))["response"] == "pong"


@pytest.mark.parametrize("number", [{}, {"id": 7}])
@pytest.mark.parametrize(("deadline", "code"), [(0.05, "deadline"), (60, "cancelled")])
async def test_n4_what_handle_cmd_does_after_its_command_ends_as_well_when_it_is_to(
    tmp_path: Path, deadline: float, code: str, number: dict[str, int]
) -> None:
    class Lingering(ctld.ClientHandler):
        async def handle_cmd(self, request: ctld.Request, /) -> ctld.Reply | ctld.Failure:
            outcome = await super().handle_cmd(request)
            if request.deadline is not None:
                await self.send_update("and now to wait")
                await asyncio.Event().wait()
            return outcome

    async with serving(tmp_path, handler=Lingering) as served:
        client = await served.connect()
        client.send({"cmd": "ping", "deadline": deadline, **number})
        assert (await client.receive())["progress"] == "and now to wait"
        if code == "cancelled":
            client.send({"cancel": number.get("id")})
        assert (await client.receive())["code"] == code
        assert (await client.ask("ping"))["response"] == "pong"


@pytest.mark.parametrize("wrapping", [False, True])
@pytest.mark.parametrize("number", [{}, {"id": 7}])
async def test_n1_after_its_final_message_nothing_of_a_request_follows(
    tmp_path: Path, wrapping: bool, number: dict[str, int]
) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()
    answered = asyncio.Event()
    handlers: list[ctld.ClientHandler] = []
    left: list[asyncio.Task[None]] = []

    class Remembering(ctld.ClientHandler):
        async def on_connect(self) -> None:
            handlers.append(self)

    class Wrapping(Remembering):
        async def handle_cmd(self, request: ctld.Request, /) -> ctld.Reply | ctld.Failure:
            return await super().handle_cmd(request)

    @commands.command("leave", role="anyone")
    async def leave(ctx: ctld.Context) -> None:
        async def talk() -> None:
            await answered.wait()
            with pytest.raises(ctld.Cancelled):
                await handlers[0].send_update("an update")
            await ctx.progress("progress")
            await ctx.send_interim("an answer")

        left.append(asyncio.create_task(talk()))

    async with serving(tmp_path, commands, handler=Wrapping if wrapping else Remembering) as served:
        client = await served.connect()
        assert await client.ask("leave", **number) == {"status": True, "response": None, **number}
        answered.set()
        await left[0]
        client.send({"cmd": "ping"})
        assert await client.receive() == {"status": True, "response": "pong"}


async def test_n7_request_stop_is_called_when_the_server_stops(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()
    stopped: list[str] = []

    class Noting(ctld.ClientHandler):
        def request_stop(self) -> None:
            stopped.extend(operation.command for operation in self.running_operations())
            super().request_stop()

    @commands.command("polite", role="anyone")
    async def polite(ctx: ctld.Context) -> str:
        await ctx.stopping.wait()
        return "stopped politely"

    async with serving(tmp_path, commands, handler=Noting) as served:
        client = await served.connect()
        client.send({"cmd": "polite"}, {"cmd": "polite", "id": 1})
        await until(lambda: served.server.status()["running"] == 2)
        served.server.close()
        answers = await client.receive_all()
        assert [answer["response"] for answer in answers] == ["stopped politely"] * 2
        assert stopped == ["polite", "polite"]


async def test_become_serves_the_rest_of_the_connection_as_another_peer(tmp_path: Path) -> None:
    commands = with_echo()

    @commands.command("login", role="anyone")
    async def login(ctx: ctld.Context) -> None:
        ctx.become(replace(ctx.peer, name="alice", role="observe"))

    class Nobody(ctld.ClientHandler):
        async def on_connect(self) -> None:
            self.peer = ctld.Peer(transport="unix")

    async with serving(tmp_path, commands, handler=Nobody) as served:
        client = await served.connect()
        assert (await client.ask("echo"))["code"] == "denied"
        await client.ask("login")
        assert (await client.ask("echo", {"value": "x"}))["response"] == "x"
        assert (await (await served.connect()).ask("echo"))["code"] == "denied"


async def test_n4_a_deadline_bounds_authorize_and_handle_cmd_too(tmp_path: Path) -> None:
    class Slow(ctld.ClientHandler):
        async def authorize(self, command: ctld.Command, opts: Mapping[str, Any], /) -> None:
            if command.name == "echo":
                await asyncio.Event().wait()

    class Slower(ctld.ClientHandler):
        async def handle_cmd(self, request: ctld.Request, /) -> ctld.Reply | ctld.Failure:
            if request.cmd == "echo":
                await asyncio.Event().wait()
            return await super().handle_cmd(request)

    for handler in (Slow, Slower):
        async with serving(tmp_path, with_echo(), handler=handler) as served:
            client = await served.connect()
            client.send({"cmd": "echo", "deadline": 0.02}, {"cmd": "echo", "deadline": 0.02, "id": 1})
            assert {(await client.receive())["code"] for _ in range(2)} == {"deadline"}
            assert (await client.ask("ping"))["response"] == "pong"
