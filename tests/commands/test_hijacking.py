"""The part of a context that takes its client's connection, seen from nested commands and from tests."""

import pytest

import ctld
from ctld.commands.hijacking import SessionMethods
from ctld.errors import CommandFailed, InvalidOptions
from ctld.testing import context, serving


async def test_without_a_connection_there_is_nothing_to_take():
    ctx = context()
    assert isinstance(ctx, SessionMethods)
    assert ctx.session_options == {}
    for taking in (ctx.hijack(), ctx.take_fds(1)):
        with pytest.raises(CommandFailed, match="a client's connection"):
            async with taking:
                pytest.fail("it was entered")


async def test_a_nested_command_has_the_session_options_of_the_outer_one():
    commands = ctld.CommandRegistry()

    @commands.command("inner", role="admin", session=True)
    async def inner(ctx, cmd: list[str]):
        return await ctx.exec(cmd)

    @commands.command("outer", role="admin", session=True)
    async def outer(ctx):
        return await ctx.call(inner, ["stty", "size"])

    async with serving(commands) as client, client.session("outer", tty=True, rows=3, cols=4) as run:
        assert b"".join([piece async for piece in run.stdout]) == b"3 4\r\n"
        assert await run.exit_status == 0


async def test_a_command_may_use_the_name_of_a_session_option_for_itself():
    """As the ancestor's `ct_console` does with `tty`."""
    commands = ctld.CommandRegistry()

    @commands.command("numbered", role="admin", session=True)
    async def numbered(ctx, tty: int):
        await ctx.exec(["echo", str(tty)])

    async with serving(commands) as client, client.session("numbered", {"tty": 7, "rows": 5}) as run:
        assert b"".join([piece async for piece in run.stdout]) == b"7\n"


async def test_the_variables_of_the_command_win():
    commands = ctld.CommandRegistry()

    @commands.command("fixed", role="admin", session=True)
    async def fixed(ctx):
        await ctx.exec(["sh", "-c", "echo $A $B; pwd"], env={"A": "mine"}, cwd="/")

    async with (
        serving(commands) as client,
        client.session("fixed", env={"A": "yours", "B": "yours"}, cwd="/usr") as run,
    ):
        assert b"".join([piece async for piece in run.stdout]) == b"mine yours\n/\n"


async def test_options_that_cannot_be_understood_start_nothing():
    async with serving() as client:
        with pytest.raises(InvalidOptions, match="session option 'rows'"):
            async with client.session("exec", {"cmd": ["true"]}, rows=-1):
                pytest.fail("it was entered")
        assert await client.call("session_list") == []


async def test_a_viewer_of_a_session_that_the_daemon_made():
    commands = ctld.CommandRegistry()
    made = []

    @commands.command("watch", role="admin", session=True)
    async def watch(ctx, read_only: bool = False):
        if not made:
            made.append(await ctld.Session.spawn(["sh", "-c", "stty -echo; echo ready; read x; echo $x; exit 4"]))
        return await ctx.attach(made[0], read_only=read_only)

    async with serving(commands) as client, client.session("watch", rows=9, cols=9) as first:
        assert await anext(first.stdout) == b"ready\r\n"
        async with client.session("watch", {"read_only": True}) as second:
            assert await anext(second.stdout) == b"ready\r\n"
            await second.write(b"not me\n")
            await first.write(b"me\n")
            assert b"".join([piece async for piece in second.stdout]) == b"me\r\n"
            assert await first.exit_status == await second.exit_status == 4
