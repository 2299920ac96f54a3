"""Starlette on uvicorn, with uvloop and httptools: two routes, JSON in and out."""

import socket
import sys

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def ping(request: Request) -> Response:
    """Answer."""
    return Response(orjson.dumps({"response": "pong"}), media_type="application/json")


async def echo(request: Request) -> Response:
    """Answer with the text."""
    opts = orjson.loads(await request.body())
    return Response(orjson.dumps({"response": opts["text"]}), media_type="application/json")


def main(path: str) -> None:
    """Serve on a UNIX socket until killed."""
    app = Starlette(routes=[Route("/ping", ping, methods=["POST"]), Route("/echo", echo, methods=["POST"])])
    config = uvicorn.Config(app, loop="uvloop", http="httptools", lifespan="off", access_log=False, log_level="warning")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(config.backlog)
        print("ready", flush=True)  # who connects now waits in the backlog
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1])
