"""aiohttp on uvloop: two routes, JSON in and out."""

import asyncio
import sys

import orjson
import uvloop
from aiohttp import web


async def ping(request: web.Request) -> web.Response:
    """Answer."""
    return web.Response(body=orjson.dumps({"response": "pong"}), content_type="application/json")


async def echo(request: web.Request) -> web.Response:
    """Answer with the text."""
    opts = orjson.loads(await request.read())
    return web.Response(body=orjson.dumps({"response": opts["text"]}), content_type="application/json")


async def main(path: str) -> None:
    """Serve on a UNIX socket until killed."""
    app = web.Application()
    app.add_routes([web.post("/ping", ping), web.post("/echo", echo)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, path).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
