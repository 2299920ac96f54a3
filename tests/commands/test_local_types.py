"""Annotations that are text (`from __future__ import annotations`) and name what is local."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import pytest

from ctld.commands.options import Option
from ctld.commands.registry import CommandRegistry
from ctld.errors import RegistrationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ctld.commands.context import Context


class AtModuleLevel(msgspec.Struct):
    x: int


def test_local_types_are_found():
    class Local(msgspec.Struct):
        name: str

    commands = CommandRegistry[Any]()

    @commands.command("x", role="anyone")
    async def function(
        ctx: Context, a: Local, b: list[AtModuleLevel], c: Annotated[datetime.date | None, Option("when")] = None
    ) -> dict[str, Local]: ...

    (command,) = commands.resolve().values()
    decoded = command.options.decode({"a": {"name": "n"}, "b": [{"x": 1}], "c": "2024-01-02"})
    assert decoded.call(lambda context, *args: args, None) == (
        Local("n"),
        [AtModuleLevel(1)],
        datetime.date(2024, 1, 2),
    )
    assert command.options_schema["properties"]["c"]["description"] == "when"
    assert command.result_schema["additionalProperties"] == {"$ref": "#/$defs/Local"}


def test_the_annotation_of_the_context_is_never_needed():
    commands = CommandRegistry[Any]()

    @commands.command("x", role="anyone")
    async def function(ctx: NowhereDefined, a: int = 1) -> None: ...  # noqa: F821 - the point

    assert list(commands.resolve()["x"].options_schema["properties"]) == ["a"]


@pytest.mark.parametrize("where", ["option", "result", "stream"])
def test_what_cannot_be_resolved_is_named(where):
    commands = CommandRegistry[Any]()
    if where == "option":

        @commands.command("x", role="anyone")
        async def option(ctx: Context, a: Missing) -> None: ...  # noqa: F821 - the point

    elif where == "result":

        @commands.command("x", role="anyone")
        async def result(ctx: Context) -> Missing: ...  # noqa: F821 - the point

    else:

        @commands.command("x", role="anyone")
        async def stream(ctx: Context) -> AsyncIterator[Missing]:  # noqa: F821 - the point
            yield 1

    with pytest.raises(RegistrationError, match=r"command 'x': an annotation cannot be resolved: .*"):
        commands.resolve()


def test_a_local_type_within_a_local_type_is_named():
    class Inner(msgspec.Struct):
        x: int

    class Outer(msgspec.Struct):
        inner: Inner

    commands = CommandRegistry[Any]()

    @commands.command("x", role="anyone")
    async def function(ctx: Context, a: Outer) -> None: ...

    with pytest.raises(RegistrationError, match="Inner"):
        commands.resolve()
