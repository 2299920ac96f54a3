import ctld

pytest_plugins = ["ctld.testing.plugin"]

commands = ctld.CommandRegistry()


@commands.command("greet", role="anyone")
async def greet(ctx: ctld.Context, name: str) -> str:
    return f"hello {name} from {ctx.app}"


async def test_the_fixture_serves(serve):
    client = await serve(commands, app="ours")
    assert await client.call("greet", {"name": "you"}) == "hello you from ours"


async def test_it_serves_several(serve):
    one, other = await serve(commands, app=1), await serve(commands, app=2)
    assert [await client.call("greet", {"name": "you"}) for client in (one, other)] == [
        "hello you from 1",
        "hello you from 2",
    ]
