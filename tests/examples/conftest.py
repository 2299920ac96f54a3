"""Examples as child processes: ready when a test begins, stopped in order when it ends."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 20


@pytest.fixture
def folder():
    # Not tmp_path: the path of a UNIX socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ctld-") as folder:
        yield Path(folder)


@pytest.fixture
def start(folder):
    """Start a script, wait until it is ready; at the end SIGTERM has to end it with 0."""

    @contextlib.contextmanager
    def running(script, *arguments):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
            notifications.settimeout(PATIENCE)
            notifications.bind(f"{folder}/notify")
            daemon = subprocess.Popen(
                [sys.executable, script, *map(str, arguments)],
                env={**os.environ, "NOTIFY_SOCKET": f"{folder}/notify", "PYTHONPATH": str(ROOT)},
                stderr=subprocess.PIPE,
                text=True,
            )
            try:
                assert b"READY=1" in notifications.recv(4096)
                yield daemon
                daemon.send_signal(signal.SIGTERM)
                _, daemon.log = daemon.communicate(timeout=PATIENCE)
                assert daemon.returncode == 0, daemon.log
            finally:
                if daemon.returncode is None:
                    daemon.kill()
                    daemon.communicate()
        os.unlink(f"{folder}/notify")

    return running
