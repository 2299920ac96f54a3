"""supervisord, with the two methods added by its own way to do so: an RPC interface."""

import sys
import tempfile
from pathlib import Path

from supervisor import events, supervisord

CONFIG = """
[supervisord]
nodaemon = true
silent = true
logfile = /dev/null
logfile_maxbytes = 0
pidfile = {folder}/supervisord.pid

[unix_http_server]
file = {path}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[rpcinterface:bench]
supervisor.rpcinterface_factory = benchmarks.peers.supervisord_server:Bench
"""


class Bench:
    """The two methods; supervisord makes one of these, and names the interface in its configuration."""

    def __init__(self, daemon: object) -> None:
        events.subscribe(events.SupervisorRunningEvent, lambda event: print("ready", flush=True))

    def ping(self) -> str:
        """Answer."""
        return "pong"

    def echo(self, text: str) -> str:
        """Answer with the text."""
        return text


def main(path: str) -> None:
    """Serve on a UNIX socket until killed."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "supervisord.conf"
        config.write_text(CONFIG.format(folder=folder, path=path))
        supervisord.main(["--configuration", str(config)])


if __name__ == "__main__":
    main(sys.argv[1])
