"""Which table `Session.spawn()` uses."""

import asyncio
import contextvars

import pytest

import ctld
from ctld.errors import LocalProtocolError
from ctld.sessions.current import current_sessions
from ctld.sessions.session import Session
from ctld.sessions.table import SessionTable
from ctld.testing import serving


async def test_outside_of_a_server_there_is_none():
    with pytest.raises(LocalProtocolError, match="there is none here"):
        await Session.spawn(["true"])


def test_each_context_has_its_own():
    table = SessionTable(lambda session, what: None)
    context = contextvars.copy_context()
    context.run(current_sessions.set, table)
    assert context.run(current_sessions.get) is table
    with pytest.raises(LocalProtocolError):
        current_sessions.get()


@pytest.mark.parametrize("detached", [False, True])
async def test_commands_find_their_servers(detached):
    commands = ctld.CommandRegistry()

    @commands.command("open", role="admin")
    async def open(ctx):
        session = await Session.spawn(["sleep", "60"])
        return session.id

    async with serving(commands) as client:
        if detached:
            operation = (await client.call("open", detach=True))["operation"]
            session = await client.call("op_wait", {"id": operation})
        else:
            session = await client.call("open")
        (listed,) = await client.call("session_list")
        assert (listed["id"], listed["state"], listed["viewers"]) == (session, "detached", 0)
        assert listed["cmd"] == ["sleep", "60"]
        await asyncio.sleep(0)
