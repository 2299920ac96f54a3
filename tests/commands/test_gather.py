"""The commands that ask workers directly: for admins only, and over a real socket."""

import asyncio
import base64
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ctld.client import AsyncClient
from ctld.commands.gather import gather_commands
from ctld.errors import CommandFailed, CtldError, DeadlineExceeded, Denied, InvalidOptions, NotFound, UnknownCommand
from ctld.gatherer.pool import Pool
from ctld.gatherer.profile import Profile
from ctld.gatherer.report_store import ReportStore
from tests.gatherer.actors import QUICK, eventually
from tests.native import serving


@pytest.fixture
def folder():
    # Not tmp_path: the path of a UNIX socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ctld-") as name:
        yield Path(name)


@pytest_asyncio.fixture
async def client(folder: Path) -> AsyncIterator[AsyncClient]:
    async with (
        Pool({"p": Profile(workers=1)}, QUICK) as pool,
        serving(folder, gather_commands(pool)) as served,
        AsyncClient(f"unix:{served.path}") as client,
    ):
        yield client


async def test_glob(folder, client):
    (folder / "found").mkdir()
    for name in (b"a", b"b\xff", b"line\nbreak"):
        Path(os.fsdecode(os.fsencode(folder / "found") + b"/" + name)).write_text("")
    rows = await client.call("gather_glob", {"profile": "p", "pattern": f"{folder}/found/*"})
    assert rows[0] == {"path": f"{folder}/found/a"}
    assert base64.b64decode(rows[1]["base64"]) == os.fsencode(folder) + b"/found/b\xff"
    assert len(rows) == 2
    assert await client.call("gather_glob", {"profile": "p", "pattern": "/no/such/*"}) == []


async def test_exec(client):
    assert await client.call("gather_exec", {"profile": "p", "line": "echo a; echo b >&2; exit 3"}) == {
        "status": 3,
        "stdout": "a\n",
        "stderr": "b\n",
    }
    odd = await client.call("gather_exec", {"profile": "p", "line": r"printf '\377'"})
    assert base64.b64decode(odd["stdout_base64"]) == b"\xff"


async def test_exec_has_a_timeout_of_its_own(client):
    with pytest.raises(DeadlineExceeded, match=r"longer than 0\.1 s"):
        await client.call("gather_exec", {"profile": "p", "line": "sleep 1000", "timeout": 0.1})
    assert (await client.call("gather_exec", {"profile": "p", "line": "echo on"}))["stdout"] == "on\n"


@pytest.mark.parametrize("opts", [{"line": ""}, {"line": "a", "timeout": 0}, {"line": "a", "timeout": -1}, {"line": 5}])
async def test_options_that_are_none(client, opts):
    with pytest.raises(InvalidOptions):
        await client.call("gather_exec", {"profile": "p", **opts})


async def test_a_profile_that_is_none(client):
    with pytest.raises(NotFound, match="there is no gatherer profile 'root'"):
        await client.call("gather_exec", {"profile": "root", "line": "id"})


async def test_the_pool_is_shown(client):
    assert await client.call("gather_pool") == [
        {
            "profile": "p",
            "state": "idle",
            "calls": 0,
            "requests": 0,
            "starts": 0,
            "restarts": 0,
            "degraded": 0,
            "workers": [],
        }
    ]
    done = await client.call("gather_exec", {"profile": "p", "line": "echo $PPID"})
    [row] = await client.call("gather_pool")
    assert [worker["pid"] for worker in row["workers"]] == [int(done["stdout"])]
    assert (row["requests"], row["starts"], row["restarts"]) == (1, 1, 0)
    os.kill(int(done["stdout"]), signal.SIGKILL)
    await eventually(lambda: not Path(f"/proc/{int(done['stdout'])}").exists())
    [row] = await client.call("gather_pool")
    assert (row["restarts"], row["workers"]) == (1, [])


async def test_a_client_that_leaves_takes_its_command_along(folder, client):
    marker = folder / "begun"
    async with AsyncClient(client.address) as other:
        task = asyncio.ensure_future(_ask(other, {"profile": "p", "line": f"touch {marker}; sleep 1000"}))
        await eventually(marker.exists)
    with pytest.raises(CtldError):  # its own client was closed under it
        await task
    done = await client.call("gather_exec", {"profile": "p", "line": "echo free"})
    assert done["stdout"] == "free\n"


async def _ask(client, opts):
    return await client.call("gather_exec", opts)


async def test_without_a_directory_there_are_no_reports(client):
    with pytest.raises(UnknownCommand):
        await client.call("gather_report", {})


async def test_all_of_it_is_for_admins(folder):
    async with Pool({"p": Profile()}, QUICK) as pool:
        commands = gather_commands(pool, ReportStore(folder / "reports"))
        assert {command.role for command in commands} == {"admin"}
        roles = {"operate": [f"uid:{os.geteuid()}"]}
        async with serving(folder, commands, roles=roles) as served, AsyncClient(f"unix:{served.path}") as client:
            for command in commands:
                with pytest.raises(Denied):
                    await client.call(command.name, {})
        assert pool.snapshot()[0].starts == 0
    assert not (folder / "reports").exists()


async def test_a_request_that_the_wire_cannot_carry(client):
    with pytest.raises(CommandFailed):
        await client.call("gather_exec", {"profile": "p", "line": "a\nb"})
