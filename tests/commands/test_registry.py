import functools
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import msgspec
import pytest

from ctld.commands.builtins import builtin_commands
from ctld.commands.context import Context
from ctld.commands.options import RESERVED, Option
from ctld.commands.registry import CommandRegistry
from ctld.errors import RegistrationError


async def nothing(ctx: Context) -> None: ...


def registry(*names: str, **options: Any) -> CommandRegistry[Any]:
    commands = CommandRegistry[Any](**options)
    for name in names:
        commands.command(name, role="anyone")(nothing)
    return commands


def test_a_decorated_function_is_returned_unchanged():
    commands = CommandRegistry[Any]()

    async def function(ctx: Context) -> int:
        """Do it.

        Thoroughly.
        """
        return 1

    decorate = commands.command(
        "do",
        role="operate",
        session=True,
        on_disconnect="cancel",
        record=False,
        aliases=["make", "perform"],
        since="1.2",
        deprecated="do something else",
    )
    assert decorate(function) is function
    (command,) = commands
    assert (command.name, command.function, command.role) == ("do", function, "operate")
    assert command.doc == "Do it.\n\nThoroughly."
    assert (command.session, command.on_disconnect, command.record) == (True, "cancel", False)
    assert (command.aliases, command.since, command.deprecated) == (("make", "perform"), "1.2", "do something else")
    assert not command.streams
    assert not command.endless
    assert command.result_schema == {"type": "integer"}
    assert command.options_schema["properties"] == {}


def test_a_command_without_a_role_does_not_register():
    with pytest.raises(TypeError, match="role"):
        registry().command("x")
    for role in ("root", "", None, "Admin"):
        with pytest.raises(RegistrationError, match="anyone, observe, operate, admin"):
            registry().command("x", role=role)(nothing)


@pytest.mark.parametrize("name", ["", " ", "a b", "a\n", "\x1b[m", "a\u00a0b", "\u200b"])
def test_names_that_cannot_be_typed_or_shown_are_refused(name):
    with pytest.raises(RegistrationError, match="cannot be the name"):
        registry().command(name, role="anyone")(nothing)
    with pytest.raises(RegistrationError, match="cannot be the name"):
        registry().command("fine", role="anyone", aliases=[name])(nothing)


@pytest.mark.parametrize("name", ["vm_start", "guest-ping", "\u4e16", "a.b/c", "X"])
def test_other_names_are_free(name):
    assert set(registry(name).resolve()) == {name}


@pytest.mark.parametrize(("name", "aliases"), [("a", ()), ("alias", ()), ("b", ("a",)), ("b", ("alias",))])
def test_duplicates_are_refused_where_they_are_written(name, aliases):
    commands = CommandRegistry[Any]()
    commands.command("a", role="anyone", aliases=["alias"])(nothing)
    with pytest.raises(RegistrationError, match="already registered"):
        commands.command(name, role="anyone", aliases=aliases)(nothing)
    assert set(commands.resolve()) == {"a", "alias"}


def test_duplicates_by_inclusion_are_refused_at_the_start():
    commands = registry("a")
    commands.include(registry("a"))
    with pytest.raises(RegistrationError, match="'a' is registered twice"):
        commands.resolve()


def test_an_alias_stands_for_its_command():
    commands = CommandRegistry[Any]()
    commands.command("a", role="anyone", aliases=["b"])(nothing)
    table = commands.resolve()
    assert table["a"] is table["b"]
    assert table["b"].name == "a"


# Plain functions, and other things that are no commands.


def plain(ctx): ...


def generator(ctx):
    yield 1


@functools.wraps(plain)
async def asynchronous_on_the_outside_only(ctx): ...


@pytest.mark.parametrize(
    "function",
    [
        plain,
        generator,
        lambda ctx: None,
        asynchronous_on_the_outside_only,
        functools.partial(nothing),
        type("C", (), {"__call__": nothing})(),
        print,
        dict,
    ],
)
def test_a_plain_function_is_refused(function):
    with pytest.raises(RegistrationError, match="must be an async function or an async generator"):
        registry().command("x", role="anyone")(function)


async def no_context(): ...
async def only_keywords(*, ctx): ...
async def only_rest(*ctx): ...
async def only_options(**ctx): ...


@pytest.mark.parametrize("function", [no_context, only_keywords, only_rest, only_options])
def test_the_context_comes_first(function):
    with pytest.raises(RegistrationError, match="must take the context as its first parameter"):
        registry().command("x", role="anyone")(function)


async def positional(ctx, a, /): ...
async def variable(ctx, *args): ...


@pytest.mark.parametrize("function", [positional, variable])
def test_parameters_that_have_no_name_for_others_are_refused(function):
    with pytest.raises(RegistrationError, match="cannot be an option"):
        registry().command("x", role="anyone")(function)


@pytest.mark.parametrize("name", RESERVED)
def test_n2_reserved_options_refuse_registration(name):
    scope: dict[str, Any] = {}
    exec(f"async def function(ctx, {name}): ...", scope)
    with pytest.raises(RegistrationError, match=f"'x': option '{name}' is reserved"):
        registry().command("x", role="anyone")(scope["function"])

    async def renamed(ctx, a): ...

    renamed.__annotations__["a"] = Annotated[str, Option(name=name)]
    commands = registry()
    commands.command("x", role="anyone")(renamed)
    with pytest.raises(RegistrationError, match=f"'x': option '{name}' is reserved"):
        commands.resolve()


def test_mistakes_in_signatures_show_at_the_start():
    class Foreign: ...

    async def function(ctx: Context, a: Foreign): ...

    commands = registry()
    commands.command("x", role="anyone")(function)
    with pytest.raises(RegistrationError, match=r"command 'x': .*Foreign"):
        commands.resolve()


def test_a_wrapped_function_keeps_its_signature():
    def logged(function):
        @functools.wraps(function)
        async def wrapper(*args, **kwargs):
            return await function(*args, **kwargs)

        return wrapper

    @logged
    async def function(ctx: Context, size: int) -> str: ...

    commands = registry()
    commands.command("x", role="anyone")(function)
    (command,) = commands.resolve().values()
    assert command.options_schema["properties"] == {"size": {"type": "integer"}}
    assert command.result_schema == {"type": "string"}


def test_a_bound_method_is_a_function():
    class Vms:
        async def start(self, ctx: Context, name: str) -> int: ...

    commands = registry()
    commands.command("start", role="anyone")(Vms().start)
    assert list(commands.resolve()["start"].options_schema["properties"]) == ["name"]


# Streams.


async def numbers(ctx: Context) -> AsyncIterator[int]:
    yield 1


class Point(msgspec.Struct):
    x: int


async def points(ctx: Context) -> AsyncIterator[Point]:
    yield Point(1)


async def untyped(ctx):
    yield 1


async def bare(ctx) -> AsyncIterator:
    yield 1


@pytest.mark.parametrize(
    ("function", "items"),
    [(numbers, {"type": "integer"}), (points, {"$ref": "#/$defs/Point"}), (untyped, {}), (bare, {})],
)
def test_an_async_generator_is_a_stream(function, items):
    commands = registry()
    commands.command("x", role="anyone")(function)
    (command,) = commands
    assert command.streams
    schema = dict(command.result_schema)
    assert ("Point" in schema.pop("$defs", {})) is (function is points)
    assert schema == {"type": "array", "items": items}


def test_an_endless_command_is_a_stream_that_ends_with_its_client():
    commands = registry()
    with pytest.raises(RegistrationError, match="endless"):
        commands.command("x", role="anyone", endless=True)(nothing)
    commands.command("x", role="anyone", endless=True, on_disconnect="continue")(numbers)
    (command,) = commands
    assert command.endless
    assert command.on_disconnect == "cancel"


@pytest.mark.parametrize(
    ("function", "keys", "needed"),
    [
        (nothing, {}, False),
        (numbers, {}, False),  # a stream with an end is a list to whoever asks for one answer
        (nothing, {"on_disconnect": "cancel"}, False),
        (nothing, {"session": True}, True),
        (nothing, {"many_answers": True}, True),
        (numbers, {"endless": True}, True),
    ],
)
def test_which_commands_need_a_client_that_goes_on_listening(function, keys, needed):
    commands = registry()
    commands.command("x", role="anyone", **keys)(function)
    (command,) = commands
    assert command.needs_listener is needed


# Including.


def test_commands_of_an_included_registry_have_its_prefix():
    inner, outer = CommandRegistry[Any](), registry("own")
    inner.command("start", role="anyone", aliases=["run"])(nothing)
    outer.include(inner, prefix="vm_")
    outer.include(registry("plain"))
    table = outer.resolve()
    assert set(table) == {"own", "vm_start", "vm_run", "plain"}
    assert table["vm_run"].name == "vm_start"
    assert table["vm_start"].aliases == ("vm_run",)
    assert [command.name for command in inner] == ["start"]


def test_prefixes_add_up():
    inner, middle, outer = registry("c"), registry("b"), registry("a")
    middle.include(inner, prefix="two_")
    outer.include(middle, prefix="one_")
    assert set(outer.resolve()) == {"a", "one_b", "one_two_c"}


def test_one_registry_under_two_prefixes():
    inner, outer = registry("start"), registry()
    outer.include(inner, prefix="vm_")
    outer.include(inner, prefix="ct_")
    assert set(outer.resolve()) == {"vm_start", "ct_start"}


def test_what_is_registered_after_the_inclusion_is_there():
    inner, outer = registry(), registry()
    outer.include(inner, prefix="vm_")
    inner.command("late", role="anyone")(nothing)
    assert set(outer.resolve()) == {"vm_late"}


def test_a_table_does_not_change_any_more():
    commands = registry("a")
    table = commands.resolve()
    commands.command("b", role="anyone")(nothing)
    assert set(table) == {"a"}


def test_a_registry_that_includes_itself_is_refused():
    one, two, three = registry(), registry(), registry()
    with pytest.raises(RegistrationError, match="include itself"):
        one.include(one)
    one.include(two)
    two.include(three)
    with pytest.raises(RegistrationError, match="include itself"):
        three.include(one, prefix="again_")


@pytest.mark.parametrize("prefix", [" ", "vm ", "\n"])
def test_a_prefix_that_cannot_begin_a_name_is_refused(prefix):
    with pytest.raises(RegistrationError, match="beginning of a name"):
        registry().include(registry("a"), prefix=prefix)


def test_hooks_stand_from_the_outside_in():
    @asynccontextmanager
    async def hook(ctx):
        yield

    def another():
        return lambda ctx: hook(ctx)

    one, two, three, four = another(), another(), another(), another()
    inner, outer = registry("start"), registry("own")
    assert inner.around(one) is one
    inner.around(two)
    outer.include(inner, prefix="vm_")
    outer.around(three)
    outer.around(four)  # hooks count wherever they are written
    table = outer.resolve(builtin_commands())
    assert table["own"].hooks == (three, four)
    assert table["vm_start"].hooks == (three, four, one, two)
    assert table["ping"].hooks == (three, four)
    assert inner.resolve()["start"].hooks == (one, two)


# Built-in commands.


def test_all_built_in_commands_come_along():
    assert set(registry("a").resolve(builtin_commands())) == {"a"} | {command.name for command in builtin_commands()}


def test_a_part_of_the_built_in_commands():
    assert set(registry("a", builtins=["ping", "describe"]).resolve(builtin_commands())) == {"a", "ping", "describe"}
    assert set(registry("a", builtins=()).resolve(builtin_commands())) == {"a"}


def test_a_built_in_command_that_does_not_exist():
    with pytest.raises(RegistrationError, match="'pnig'"):
        registry(builtins=["ping", "pnig"]).resolve(builtin_commands())


def test_an_authors_command_wins_over_a_built_in_one():
    commands = registry("ping")
    inner = CommandRegistry[Any]()
    inner.command("state", role="anyone", aliases=["status"])(numbers)
    commands.include(inner)
    table = commands.resolve(builtin_commands())
    assert table["ping"].function is nothing
    assert table["status"].function is numbers
    assert "version" in table


def test_registries_share_nothing():
    assert set(registry("a").resolve()) == {"a"}
    assert set(registry("b").resolve()) == {"b"}


def test_commands_are_told_apart_by_identity():
    (one,), (other,) = registry("a"), registry("a")
    assert one != other
    assert one in {one}
    assert inspect.iscoroutinefunction(one.function)
