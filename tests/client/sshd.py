"""A real sshd on loopback, with keys of its own, for the user who runs the tests."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest


def require(program: str) -> str:
    """Return the path of a program; skip without it, or fail where it has to be."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        if os.environ.get("CTLD_INTEROP") == "required":
            pytest.fail(f"{program} is missing")
        pytest.skip(f"{program} is not installed")
    return found


class Sshd:
    """An sshd, and a folder with an `ssh` in it that knows how to reach it."""

    def __init__(self, folder: Path, path: str) -> None:
        self._folder = folder
        self._sshd = require("sshd")
        require("ssh")
        self._path = path
        self.programs = folder / "programs"

    def __enter__(self) -> Self:
        folder = self._folder
        folder.mkdir(mode=0o700)
        os.chmod(folder, 0o700)
        for name in ("host", "user"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        shutil.copy(folder / "user.pub", folder / "authorized_keys")
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        listener.close()
        (folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {folder}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
            f"KbdInteractiveAuthentication no\nPermitRootLogin yes\nSetEnv PATH={self._path}\n"
        )
        key = (folder / "host.pub").read_text().split()[:2]
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {' '.join(key)}\n")
        (folder / "ssh_config").write_text(
            f"Host *\n  IdentityFile {folder}/user\n  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n"
            "  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  BatchMode yes\n"
            "Host elsewhere\n  HostName 127.0.0.1\n  HostKeyAlias unknown\n"
        )
        self.programs.mkdir()
        wrapper = self.programs / "ssh"
        # ssh looks for its configuration in the account's home, whatever HOME says.
        wrapper.write_text(f'#!/bin/sh\nexec {require("ssh")} -F {folder}/ssh_config "$@"\n')
        wrapper.chmod(0o755)
        if os.getuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        self._log = open(folder / "log", "wb")
        self._process = subprocess.Popen(
            [self._sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=self._log, stdin=subprocess.DEVNULL
        )
        self._wait()
        return self

    def _wait(self) -> None:
        give_up = time.monotonic() + 20
        while time.monotonic() < give_up:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except ConnectionRefusedError:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                time.sleep(0.02)
            else:
                return
        pytest.fail("sshd does not listen")

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._log.close()

    def connections(self) -> int:
        """Return how many clients it has let in."""
        return (self._folder / "log").read_text().count("Accepted publickey")
