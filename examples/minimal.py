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
