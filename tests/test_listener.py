"""One `Server.listen()`: its addresses, and its end."""

from pathlib import Path

import ctld
from tests.native import serving


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
