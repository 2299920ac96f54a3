"""`examples/minimal.py`: the contract with downstreams, word for word."""

from pathlib import Path

import pytest

from ctld.client import Client
from ctld.errors import CommandFailed, InvalidOptions

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "minimal.py"

CONTRACT = '''\
import asyncio
import ctld

commands = ctld.CommandRegistry()

@commands.command("backup", role="operate")
async def backup(ctx: ctld.Context, name: str, chunks: int = 10, tags: list[str] | None = None) -> dict[str, int]:
    """Copy a container to the backup pool."""
    if chunks < 1:
        raise ctld.CommandFailed("nothing to copy")
    for i in range(chunks):
        await asyncio.sleep(0.1)
        await ctx.progress(f"copied {i + 1}", current=i + 1, total=chunks, unit="chunks")
    return {"copied": chunks}

class Handler(ctld.ClientHandler):
    def server_version(self) -> str:
        return "1.0"

async def main() -> None:
    server = ctld.Server(Handler, commands=commands, listen=["unix:/tmp/backupd.sock"])
    await server.serve_forever()          # until SIGTERM, SIGINT or the shutdown command

ctld.run(main())
'''


def test_the_contract_stands():
    assert EXAMPLE.read_text() == CONTRACT
    assert CONTRACT in (ROOT / "README.md").read_text()


@pytest.fixture
def address(folder, start):
    script = folder / "minimal.py"
    script.write_text(CONTRACT.replace("/tmp/", f"{folder}/"))
    with start(script):
        yield f"unix:{folder}/backupd.sock"


def test_it_backs_up_with_progress(address):
    seen = []
    with Client(address) as client:
        result = client.call("backup", {"name": "tank/ct1", "chunks": 2}, on_progress=seen.append)
        assert client.banner["version"] == "1.0"
    assert result == {"copied": 2}
    assert [(update.message, update.current, update.total, update.unit) for update in seen] == [
        ("copied 1", 1, 2, "chunks"),
        ("copied 2", 2, 2, "chunks"),
    ]


def test_it_refuses_what_makes_no_sense(address):
    with Client(address) as client:
        with pytest.raises(CommandFailed, match="nothing to copy"):
            client.call("backup", {"name": "x", "chunks": 0})
        with pytest.raises(InvalidOptions):
            client.call("backup", {"name": "x", "tags": "not a list"})


def test_the_shutdown_command_removes_the_socket(folder, address):
    with Client(address) as client:
        client.call("ping")
    assert (folder / "backupd.sock").is_socket()
