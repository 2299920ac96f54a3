"""The daemon under test: its configuration, its process, and conversations about its state."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from benchmarks.soak.children import Children
from benchmarks.soak.hostile import MAX_LINE
from benchmarks.soak.link import Where
from benchmarks.soak.persona import JOBS, PROFILE
from ctld.client.blocking import Client

__all__ = ["WORKERS", "Daemon"]

WORKERS: Final = 2
"""How many workers the gatherer has."""

_ROOT: Final = Path(__file__).parents[2]

_START: Final = 30.0  # seconds for the first answer

# Results of ended operations and the like are kept for a moment only: what is still there
# when all is quiet has been forgotten there.
_CONFIGURATION: Final = """
[daemon]
runtime_dir = "{folder}"
state_dir = "{state}"
log_level = "warning"

[history]
record_all = true

[events]
publish_all = true

[limits]
max_line = {max_line}
max_queued_per_connection = {max_queued}
max_connections = 600
operations_kept = 256
result_retention = 1
session_grace = 1
stop_grace = 3
cancel_grace = 2
handshake_timeout = 5

[jobs]
directory = "{folder}/jobs"

[gatherer.profiles.{profile}]
workers = {workers}
max_requests = 200

[[listen]]
address = "unix:{folder}/native"

[[listen]]
address = "tcp:127.0.0.1:0"
role = "operate"

[[listen]]
address = "tls:127.0.0.1:0"
role = "admin"
tls_certificate = "{folder}/certificate.pem"
tls_key = "{folder}/key.pem"

[[listen]]
dialect = "taskmaster"
address = "tcp:127.0.0.1:0"
role = "admin"

[[listen]]
dialect = "fss-control"
address = "unix:{folder}/fss"

[[listen]]
dialect = "guest-agent"
address = "unix:{folder}/guest"
"""

# None ends by itself; killed ones come back at once, however often.
_COMMON: Final = {"restart": 2, "restartTimes": -1, "startTime": 1, "stopTime": 1}
_JOB_FILES: Final[dict[str, dict[str, Any]]] = {
    JOBS[0]: {"cmd": "sleep 1000000"},
    JOBS[1]: {"cmd": "sh -c 'while :; do date; sleep 0.2; done'", "stdout": "chatty", "logMaxBytes": 65536},
    JOBS[2]: {"cmd": "sleep 1000000", "procNr": 2},
    JOBS[3]: {"cmd": "sh -c 'while :; do date; sleep 0.2; done'", "tty": True},
}


class Daemon:
    """One daemon.

    Args:
        folder: Where everything of it is that is not its state.
        state: Its state directory.
        environ: What to add to its environment.
        children: Who learns of its end.

    Attributes:
        pid: Its pid.
        started: When it was started, by `time.monotonic()`.
        where: Its sockets.
        log: Its log.
        history: Its audit log.
    """

    def __init__(self, folder: Path, state: Path, environ: dict[str, str], children: Children) -> None:
        self.log = folder / "log"
        self.history = state / "history.sqlite3"
        self._socket = folder / "native"
        self._folder = folder
        _write_files(folder, state)
        self._children = children
        self.started = time.monotonic()
        command = [sys.executable, "-m", "ctld", "serve", "--config", str(folder / "ctld.toml")]
        with self.log.open("wb") as log:
            self.pid = children.started(_spawn(command, {**os.environ, **environ}, log.fileno()))
        self.where = self._await_start()
        self._descriptors = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)

    def control(self) -> Client:
        """Return a connection of an administrator's, for `with`."""
        return Client(f"unix:{self._socket}")

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._children.status(self.pid) is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def allow_descriptors(self, count: int | None) -> None:
        """Limit how many it can have open; None: as many as it has asked for."""
        soft, hard = self._descriptors
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (soft if count is None else count, hard))

    def wait(self, timeout: float) -> int | None:
        """Wait for its end, and return its exit status; None: it still runs."""
        return self._children.wait(self.pid, timeout)

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        if self.alive:
            self.signal(signal.SIGKILL)
            self.wait(_START)

    def tasks(self, client: Client) -> Counter[str]:
        """Count its tasks, by their names without numbers."""
        names = (task["name"] for task in client.call("task_list"))
        return Counter(" ".join(word for word in name.split() if not word.isdigit()) for name in names)

    def log_lines(self) -> list[str]:
        """Return what it has logged."""
        return self.log.read_text(errors="replace").splitlines()

    def _await_start(self) -> Where:
        give_up = time.monotonic() + _START
        while not self._socket.exists():
            if not self.alive or time.monotonic() > give_up:
                self.kill()
                raise SystemExit(f"the daemon does not start: {self.log.read_text(errors='replace')}")
            time.sleep(0.02)
        with self.control() as client:
            listeners: list[str] = client.call("status")["listeners"]
        tcp, tls, taskmaster = (int(address.rpartition(":")[2]) for address in listeners[1:4])
        folder = self._folder
        return Where(
            str(self._socket), tcp, tls, taskmaster, f"{folder}/fss", f"{folder}/guest", f"{folder}/certificate.pem"
        )


def _spawn(command: list[str], environ: dict[str, str], log: int) -> int:
    """Start a program without subprocess, which would want to learn of its end alone."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, nothing, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    here = os.getcwd()
    os.chdir(_ROOT)  # `-m` finds the package from there
    try:
        return os.posix_spawn(command[0], command, environ, file_actions=actions)
    finally:
        os.chdir(here)
        os.close(nothing)


def _write_files(folder: Path, state: Path) -> None:
    (folder / "ctld.toml").write_text(
        _CONFIGURATION.format(
            folder=folder, state=state, profile=PROFILE, workers=WORKERS, max_line=MAX_LINE, max_queued=4 * MAX_LINE
        )
    )
    for name, job in _JOB_FILES.items():
        path = folder / "jobs" / f"{name}.tm.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**_COMMON, "dir": str(folder), **job}))
    _make_certificate(folder)


def _make_certificate(folder: Path) -> None:
    """Make a certificate for this run; valid for ten years, because the clock is going to be set."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "3650", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")),
        ],
        check=True,
        capture_output=True,
    )
