"""One `Server.listen()`: its addresses, and its end."""

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

import ctld
from ctld import acceptor
from ctld.client import AsyncClient
from ctld.listener import handler_for
from ctld.version import VERSION
from tests.native import serving, until


async def test_several_sockets_are_one_listener(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        listener = await served.server.listen("tcp:localhost:0")
        assert listener.address == listener.addresses[0]
        assert all(address.startswith("tcp:") for address in listener.addresses)
        assert not listener.exhausted
        await listener.close()
        await listener.close()
        assert served.server.status()["listeners"] == [f"unix:{served.path}"]


async def test_closing_one_lets_its_clients_end_what_they_began_and_leaves_the_others(tmp_path: Path) -> None:
    commands: ctld.CommandRegistry[None] = ctld.CommandRegistry()

    @commands.command("polite", role="anyone")
    async def polite(ctx: ctld.Context) -> str:
        await ctx.stopping.wait()
        return "ended"

    async with serving(tmp_path, commands) as served:
        listener = await served.server.listen(f"unix:{tmp_path}/other")
        other = type(served)(served.server, f"{tmp_path}/other")
        client = await other.connect()
        stays = await served.connect()
        client.send({"cmd": "polite"})
        while not served.server.status()["running"]:
            await stays.ask("ping")
        await listener.close()
        assert await client.receive_all() == [{"status": True, "response": "ended"}]
        assert (await stays.ask("ping"))["response"] == "pong"
        await other.close_clients()


class Starved:
    """A listening socket that finds no descriptor for anybody."""

    def accept(self) -> None:
        raise OSError(errno.EMFILE, "Too many open files")


@pytest.mark.parametrize("goes", [True, False])
async def test_whoever_waits_for_a_descriptor_gets_that_of_a_client_that_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, goes: bool
) -> None:
    monkeypatch.setattr(acceptor, "_RETRY", 3600)
    async with serving(tmp_path) as served:
        first = await served.connect()
        [listener] = served.server._listeners
        [endpoint] = listener._endpoints
        reception: Any = served.server._reception
        with monkeypatch.context() as patch:
            patch.setattr(endpoint, "socket", Starved())
            waiting = asyncio.create_task(served.connect())
            await until(lambda: listener.exhausted)
        if not goes:
            await listener.close()
            await asyncio.wait([waiting])
            assert waiting.exception() is not None
        else:
            first.close()
            assert (await (await waiting).ask("ping"))["response"] == "pong"
            assert not listener.exhausted
        assert reception._on_gone == [], "nobody has to be told of each client any more"


class Other(ctld.ClientHandler[Any]):
    dialect = "other"


def test_an_address_without_a_dialect_is_for_the_handler_of_the_server():
    assert handler_for("unix:/a", Other, {"native": ctld.ClientHandler}) is Other


def test_a_dialect_has_its_own_handler():
    dialects = {"native": ctld.ClientHandler, "other": Other}
    assert handler_for(ctld.Listen(address="unix:/a", dialect="other"), ctld.ClientHandler, dialects) is Other
    assert handler_for(ctld.Listen(address="unix:/a"), Other, dialects) is ctld.ClientHandler


def test_a_dialect_that_the_server_does_not_speak_is_a_mistake():
    dialects = {"native": ctld.ClientHandler, "other": Other}
    with pytest.raises(ctld.ConfigError, match=r"^listen unix:/a: dialect: 'klingon' is none of native, other$"):
        handler_for(ctld.Listen(address="unix:/a", dialect="klingon"), Other, dialects)


async def test_one_server_listens_in_several_dialects(tmp_path: Path) -> None:
    seen = {}

    class Told(Other):
        def server_version(self) -> str:
            seen["listen"] = self._site.listen
            return "told"

    where = ctld.Listen(address=f"unix:{tmp_path}/other", dialect="other")
    server: ctld.Server[Any] = ctld.Server(listen=[f"unix:{tmp_path}/s", where], dialects={"other": Told})
    async with server, AsyncClient(f"unix:{tmp_path}/s") as native, AsyncClient(f"unix:{tmp_path}/other") as other:
        assert [await native.call("ping"), await other.call("ping")] == ["pong", "pong"]
        assert native.banner["version"] == VERSION
        assert other.banner["version"] == "told"
    assert seen["listen"] is where
