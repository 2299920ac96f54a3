"""The built-in commands about sessions: roles, schema, answers; what they do is in `tests/sessions/`."""

import os
import pwd

import pytest

from ctld.errors import Denied, InvalidOptions, NotFound
from ctld.peer import Peer
from ctld.testing import serving

COMMANDS = ["console", "exec", "session_attach", "session_kill", "session_list", "session_signal"]


@pytest.mark.parametrize("name", COMMANDS)
async def test_they_are_for_admins(name):
    async with serving(peer=Peer(name="op", role="operate")) as client:
        assert (await client.call("describe", {"cmd": name}))["role"] == "admin"
        with pytest.raises(Denied):
            await client.call(name)


async def test_the_schema_says_which_take_the_connection():
    async with serving() as client:
        takes = [one["name"] for one in await client.call("describe") if one["session"]]
        assert takes == ["console", "exec", "session_attach"]


async def test_exec_needs_a_program():
    async with serving() as client:
        for opts in ({}, {"cmd": []}, {"cmd": "ls"}, {"cmd": ["true"], "user": 5}):
            with pytest.raises(InvalidOptions):
                async with client.session("exec", opts):
                    pytest.fail("it was entered")


async def test_what_names_no_session():
    async with serving() as client:
        for name, opts in (("session_kill", {}), ("session_signal", {"signal": "INT"})):
            with pytest.raises(NotFound):
                await client.call(name, {"id": "nope", **opts})
        with pytest.raises(NotFound):
            async with client.session("session_attach", {"id": "nope"}):
                pytest.fail("it was entered")


async def test_the_list_tells_who_runs_what():
    async with serving() as client, client.session("exec", {"cmd": ["cat"]}) as run:
        await run.write(b"abc")
        assert await anext(run.stdout) == b"abc"
        (listed,) = await client.call("session_list")
        assert listed["id"] == run.id
        assert listed["cmd"] == ["cat"]
        assert listed["owner"] == pwd.getpwuid(os.geteuid()).pw_name
        assert listed["uid"] == os.geteuid()
        assert (listed["state"], listed["viewers"], listed["tty"]) == ("attached", 1, False)
        assert (listed["bytes_in"], listed["bytes_out"], listed["exitstatus"]) == (3, 3, None)
        assert listed["age"] >= 0
        operations = [one["id"] for one in await client.call("op_list") if one["command"] == "exec"]
        assert operations == [listed["operation"]]


async def test_the_console_runs_the_login_shell():
    async with serving() as client, client.session("console", tty=True) as run:
        (listed,) = await client.call("session_list")
        assert listed["cmd"] == [pwd.getpwuid(os.geteuid()).pw_shell or "/bin/sh", "-l"]
        await run.write(b"exit 3\n")
        async for _ in run.stdout:
            pass
        assert await run.exit_status == 3


async def test_attaching_to_descriptors_cannot_be():
    async with serving() as client, client.session("exec", {"cmd": ["cat"]}) as run:
        with pytest.raises(InvalidOptions, match="its own descriptors"):
            await client.call("session_attach", {"id": run.id, "io": "fds"})


async def test_kill_and_signal():
    async with serving() as client:
        async with client.session("exec", {"cmd": ["sleep", "60"]}) as run:
            assert await client.call("session_signal", {"id": run.id, "signal": "SIGUSR1"}) is True
            assert await run.exit_status == 138
        async with client.session("exec", {"cmd": ["sleep", "60"]}, on_disconnect="detach") as run:
            pass
        async with client.events("session", opts={"state": "end", "id": run.id}) as ends:
            await client.call("session_kill", {"id": run.id})
            assert (await anext(ends)).opts["exitstatus"] == 137
        assert [one["state"] for one in await client.call("session_list")] == ["ended"]
        assert await client.call("session_signal", {"id": run.id, "signal": "15"}) is False
