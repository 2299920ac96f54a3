"""The Python implementation of Varlink, with the threads that it comes with."""

import sys
from pathlib import Path

import varlink

SERVICE = varlink.Service(vendor="ctld", product="benchmarks", version="1", interface_dir=str(Path(__file__).parent))


@SERVICE.interface("org.example.bench")
class Bench:
    """The two methods; their names are those of the interface file."""

    def Ping(self) -> dict[str, str]:
        """Answer."""
        return {"response": "pong"}

    def Echo(self, text: str) -> dict[str, str]:
        """Answer with the text."""
        return {"response": text}


def main(path: str) -> None:
    """Serve on a UNIX socket until killed."""
    handler = type("Handler", (varlink.RequestHandler,), {"service": SERVICE})
    with varlink.ThreadingServer(f"unix:{path}", handler) as server:
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
