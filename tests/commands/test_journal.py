"""What is told and kept of commands: which ones, and never a secret."""

import json
import logging
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

import ctld
from ctld.commands.dispatch import Dispatcher
from ctld.commands.journal import MANAGEMENT, MAX_CLI_SHOWN, MAX_EVENT_OPTIONS, Journal, _size_of
from ctld.history import MAX_OPTIONS, MAX_TEXT
from tests.commands.containers import Container
from tests.commands.stage import ALICE, BOB, stage
from tests.native import serving, until

SPY = "hunter2-'$spy"
QUOTED = "'hunter2-'\"'\"'$spy'"


class Login(msgspec.Struct):
    user: str
    password: ctld.Secret


class Vault:
    def __init__(self) -> None:
        self.thing = Container("vault")
        self.inside = False


def vault_commands() -> ctld.CommandRegistry[Vault]:
    commands = ctld.CommandRegistry[Vault]()

    @commands.command("passwd", role="operate")
    async def passwd(
        ctx: ctld.Context[Vault], password: ctld.Secret, how: str = "ok", login: Login | None = None
    ) -> ctld.Secret:
        """Do something with a secret."""
        async with ctx.manipulate(ctx.app.thing):
            if how == "wait":
                ctx.app.inside = True
                await ctx.stopping.wait()
            if how == "careless":
                raise ctld.CommandFailed(f"wrong password {password.reveal()!r}: {password.reveal()}")
            if how == "bug":
                raise LookupError(password, login)
            if how == "launch":
                return await ctx.launch(passwd, password, login=Login("u", password)).wait()
            if how == "call":
                return await ctx.call("passwd", password=SPY)
            await ctx.progress("working", data=[password])
            return password

    return commands


class Strangers(ctld.ClientHandler[Vault]):
    """Lets `anyone` in by a command line of its own: whoever says so is a stranger."""

    async def authorize(self, command, opts, /):
        if opts.get("how") == "denied":
            raise ctld.Denied(f"not with {opts['password']}")
        await super().authorize(command, opts)


OPTIONS = {"password": SPY, "cli": f"vault passwd {QUOTED} --password={SPY}", "login": {"user": "u", "password": SPY}}


async def everything_shown(client, served) -> str:
    """All that the daemon says of itself to somebody who may look."""
    shown = [served.server.events.past(limit=4096), await served.server.history.query()]
    for cmd in (
        "op_list", "lock_list", "lock_graph", "event_list", "history_list", "describe", "status", "task_list",
        "connection_list", "policy_list",
    ):  # fmt: skip
        shown.append((await client.ask(cmd))["response"])
    return repr(shown) + json.dumps(shown[2:])


@pytest.mark.parametrize(
    "how", ["ok", "careless", "bug", "launch", "call", "denied", "nonsense", "cancel", "detach", "wait", "deadline"]
)
async def test_a_secret_appears_nowhere(tmp_path, caplog, how):
    app = Vault()
    with caplog.at_level(logging.DEBUG):
        async with serving(tmp_path, vault_commands(), app=app, handler=Strangers, state_dir=tmp_path / "d") as served:
            client, observer = await served.connect(), await served.connect()
            opts = OPTIONS | {"how": how}
            members = {}
            if how == "nonsense":
                opts["login"] = {"user": SPY, "passwrd": SPY}
            if how in ("cancel", "deadline", "detach"):
                opts["how"] = "wait"
                members = {"deadline": 0.05} if how == "deadline" else {"detach": how == "detach"}
            client.send({"cmd": "passwd", "opts": opts, **members})
            answer = {"response": None}
            if opts["how"] == "wait" and how != "deadline":
                await until(lambda: app.inside)
                refused = await observer.ask("passwd", {"password": "other"})
                assert refused["message"].startswith("container vault is held by 'vault passwd ***")
                assert SPY not in await everything_shown(observer, served)
                served.server._runtime.operations.running()[0].request_stop()
                if how == "cancel":
                    client.send({"cancel": None})
            while "progress" in (answer := await client.receive()):
                assert SPY not in repr(answer)
            if how == "careless":
                assert SPY in answer["message"], "what a command says to its own caller is its own affair"
            elif how not in ("denied", "nonsense"):
                assert SPY not in repr(answer)
            shown = await everything_shown(observer, served)
            history = (await observer.ask("history_list"))["response"]
    assert SPY not in shown
    assert QUOTED not in shown
    assert SPY not in caplog.text
    written = b"".join(path.read_bytes() for path in Path(tmp_path, "d").iterdir())
    assert b"hunter2" not in written
    if how == "nonsense":
        assert history == [], "it was no request for that command yet"
        return
    entry = next(entry for entry in history if f'"how":"{opts["how"]}"' in entry["options"])
    assert json.loads(entry["options"]) == {
        "password": "***",
        "how": opts["how"],
        "login": {"user": "u", "password": "***"},
    }
    assert entry["cli"] == "vault passwd *** --password=***"
    if how == "careless":
        assert entry["message"] == 'wrong password "***": ***'
    if how == "denied":
        assert entry["message"] == "not with ***"


async def test_asking_whether_one_may_is_no_leak(tmp_path):
    async with serving(tmp_path, vault_commands(), app=Vault(), publish_all=True, record_all=True) as served:
        client = await served.connect()
        answer = await client.ask("can_i", {"cmd": "passwd", "opts": {"password": SPY}})
        assert answer["response"]["allowed"] is True
        assert SPY not in await everything_shown(client, served)
        [entry] = await served.server.history.query(cmd="can_i")
        assert json.loads(entry.options) == {"cmd": "passwd", "opts": {"password": "***"}}


# Where a search would cost more than it is worth.


async def test_a_long_command_line_beside_a_secret_is_blanked_as_a_whole(tmp_path):
    async with serving(tmp_path, vault_commands(), app=Vault()) as served:
        client = await served.connect()
        await client.ask("passwd", {"password": SPY, "cli": "x" * MAX_TEXT + SPY})
        await client.ask("passwd", {"password": "y" * 50_000, "cli": "short"})
        short, long = await served.server.history.query()
        assert (short.cli, long.cli) == ("short", "***")
        assert SPY not in repr((short, long))


async def test_a_text_among_hundreds_of_secrets_is_blanked_as_a_whole(tmp_path):
    commands = ctld.CommandRegistry()

    @commands.command("many", role="operate")
    async def many(ctx: ctld.Context, secrets: list[ctld.Secret]) -> int:
        return len(secrets)

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        assert (await client.ask("many", {"secrets": ["a"] * 500, "cli": "many a"}))["response"] == 500
        [entry] = await served.server.history.query()
        assert entry.cli == "***"


class Kept:
    """A history that keeps its entries in a list."""

    def __init__(self):
        self.entries = []

    def record(self, entry):
        self.entries.append(entry)


@pytest.mark.parametrize("raw", [True, False])
async def test_large_options_beside_a_secret_are_not_searched_and_tell_nothing(monkeypatch, raw):
    """One request must not keep the loop from everybody else: to look for secrets in 15 MiB takes seconds."""

    def search(*_args):
        raise AssertionError("this is too much to search")

    dispatcher = stage(vault_commands(), app=Vault())
    dispatcher.runtime.history = history = Kept()
    monkeypatch.setattr("ctld.commands.journal.redact", search)
    monkeypatch.setattr("ctld.commands.journal.secret_values", search)
    options = {"password": SPY, "cli": f"ctl passwd {SPY}", "how": "x" * 100_000}
    given = msgspec.Raw(json.dumps(options).encode()) if raw else options
    assert (await dispatcher.run(BOB, "passwd", given)).code == "denied"
    [entry] = history.entries
    assert "too long to keep" in entry.options
    assert SPY not in repr(entry)
    assert entry.cli == "***"


@pytest.mark.parametrize(
    "options", [{"a": list(range(100_000))}, {"a": {str(n): n for n in range(50_000)}}, {"a": [["x" * 70_000]]}]
)
async def test_options_that_came_as_values_are_measured_in_bounded_time(options):
    looked_at = 0

    class Counted(list):
        def __iter__(self):
            nonlocal looked_at
            for item in super().__iter__():
                looked_at += 1
                yield item

    assert _size_of(options) > MAX_OPTIONS
    assert _size_of({"a": Counted([0] * 1_000_000)}) > MAX_OPTIONS
    assert looked_at <= 2 * MAX_OPTIONS
    assert _size_of({"a": [1, "two", {"three": None}]}) < 100


async def test_unreadable_options_beside_a_secret_blank_the_command_line():
    dispatcher = stage(vault_commands(), app=Vault())
    operation = dispatcher.runtime.operations.start("passwd", ALICE)
    options = msgspec.Raw(b'{"password": 1e999, "cli": "hunter2"}')
    Journal(dispatcher.runtime).begin(operation, dispatcher.commands["passwd"], options, "hunter2", SINK)
    assert operation.cli == "***"


class _Sink:
    origin = ctld.commands.context.Origin()


SINK = _Sink()


# Which commands, and how their names look.


@pytest.mark.parametrize(
    ("role", "record", "everything", "told"),
    [
        ("anyone", None, False, False),
        ("observe", None, False, False),
        ("operate", None, False, True),
        ("admin", None, False, True),
        ("anyone", None, True, True),
        ("admin", False, False, True),
    ],
)
async def test_which_commands_are_followed(role, record, everything, told):
    commands = ctld.CommandRegistry()

    @commands.command("it", role=role, record=record)
    async def it(ctx: ctld.Context) -> None: ...

    dispatcher = stage(commands)
    dispatcher.runtime.publish_all = everything
    assert Journal(dispatcher.runtime).follows(dispatcher.commands["it"]) is told


async def test_without_a_history_nothing_is_kept():
    commands = ctld.CommandRegistry()

    @commands.command("it", role="anyone", record=True)
    async def it(ctx: ctld.Context) -> None: ...

    dispatcher = stage(commands)
    journal = Journal(dispatcher.runtime)
    assert not journal.follows(dispatcher.commands["it"])
    journal.denied(ALICE, dispatcher.commands["it"], {}, SINK, ctld.Denied("no"))


async def test_a_command_that_nobody_follows_costs_no_event():
    dispatcher = stage()
    before = dispatcher.runtime.events.last_seq
    for name in ("ping", "op_list"):
        await dispatcher.run(ALICE, name, {})
    assert dispatcher.runtime.events.last_seq == before


async def test_a_command_line_is_cut_and_made_printable():
    dispatcher = stage()
    operation = dispatcher.runtime.operations.start("ping", ALICE)
    journal = Journal(dispatcher.runtime)
    journal.begin(operation, dispatcher.commands["ping"], {}, "a\nb\x1b" + "c" * 999, SINK)
    assert len(operation.cli) <= MAX_CLI_SHOWN + 10
    assert operation.cli.startswith("a\\nb\\x1bccc")


async def test_what_was_launched_in_the_program_may_be_no_json():
    commands = ctld.CommandRegistry()

    @commands.command("it", role="operate")
    async def it(ctx: ctld.Context, thing: dict | None = None) -> None: ...

    dispatcher = stage(commands)
    await dispatcher.launch(ALICE, it, (object(),), {}).wait()
    run, done = dispatcher.runtime.events.past(MANAGEMENT, limit=10)
    assert "opts" not in run.opts
    assert done.opts == run.opts | {"state": "done"}


async def test_options_are_plain_values_that_nobody_else_changes():
    commands = ctld.CommandRegistry()

    @commands.command("it", role="operate")
    async def it(ctx: ctld.Context, thing: list) -> None:
        thing.clear()

    dispatcher = stage(commands)
    given = {"thing": [1, (2,)]}
    await dispatcher.run(ALICE, "it", given)
    run, _ = dispatcher.runtime.events.past(MANAGEMENT, limit=10)
    assert run.opts["opts"] == {"thing": [1, [2]]}
    assert MAX_EVENT_OPTIONS == 16 * 1024


def kept_by(commands):
    dispatcher = stage(commands)
    dispatcher.runtime.history = history = Kept()
    # What it follows was decided when it was made.
    return history, Dispatcher(dispatcher.commands, dispatcher.runtime)


async def test_of_options_that_cannot_be_looked_through_no_text_is_told():
    commands = ctld.CommandRegistry[None]()

    @commands.command("pay", role="operate")
    async def pay(ctx: ctld.Context[None], pin: ctld.Secret, amount: Decimal) -> None:
        raise ctld.CommandFailed(f"{pin.reveal()} is wrong")

    kept, dispatcher = kept_by(commands)
    # Such a number is fine for the command, and too large for whoever looks at all options.
    options = msgspec.Raw(b'{"pin":"%b","amount":1e999}' % SPY.encode())
    outcome = await dispatcher.run(ALICE, "pay", options)
    assert outcome.message == f"{SPY} is wrong"
    assert kept.entries
    assert SPY not in repr(kept.entries)


async def test_an_error_without_its_base_s_constructor_is_told_as_what_its_caller_gets():
    class Hasty(ctld.CommandFailed):
        code = "vm.hasty"

        def __init__(self, name: str) -> None:
            self.name = name

    commands = ctld.CommandRegistry[None]()

    @commands.command("fail", role="operate")
    async def fail(ctx: ctld.Context[None]) -> None:
        raise Hasty("web")

    kept, dispatcher = kept_by(commands)
    assert await dispatcher.run(ALICE, "fail", {}) == ctld.Failure("web", "vm.hasty")
    assert [(entry.slug, entry.message) for entry in kept.entries] == [("vm.hasty", "web")]
