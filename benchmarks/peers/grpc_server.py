"""grpc.aio on uvloop: two unary methods, bytes in and out, so that no serialiser costs anything."""

import sys

import grpc
import uvloop


async def ping(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    """Answer."""
    return b"pong"


async def echo(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    """Answer with the text."""
    return request


async def main(path: str) -> None:
    """Serve on a UNIX socket until killed."""
    server = grpc.aio.server()
    methods = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in (("ping", ping), ("echo", echo))}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench", methods)])
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    print("ready", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
