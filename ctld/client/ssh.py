"""A connection through the system's ssh: a socket whose other end is ssh's standard streams.

On the far side `ctlctl dial-stdio` joins its own standard streams to the daemon.  Host keys,
users, agents, jump hosts: all of that is ssh's, by its own configuration, and so is every
question that it asks on the terminal.  What it says on its standard error is kept, and told
only if the connection fails, in one line.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Final

from ctld.errors import ConnectFailed, ConnectionLost

if TYPE_CHECKING:
    from ctld.address import Address

__all__ = ["GONE_WAIT", "SshSocket", "connect_ssh"]

# Seconds for ssh to end after its streams were closed; then it is told to.
GONE_WAIT: Final = 2.0

_MAX_SAID = 4096  # bytes of its standard error that are looked at, from the end

# Ctrl-C goes to everybody on the terminal, but it means the command and not the connection.
# ssh leaves an ignored signal ignored, and while it asks for a password it listens anyway.
_DEAF: Final = ("/bin/sh", "-c", "trap '' INT; exec \"$@\"", "ssh")

# The statuses of ssh(1) and sh(1).
_SSH_FAILED = 255
_NOT_FOUND = (126, 127)


def connect_ssh(address: Address, remote: str = "ctlctl") -> SshSocket:
    """Start ssh and return the socket that talks to the daemon through it.

    Args:
        address: Where to.
        remote: The program to start there.

    Raises:
        ConnectFailed: There is no ssh here; what fails later is raised by reading.
    """
    if shutil.which("ssh") is None:
        raise ConnectFailed(f"cannot connect to {address}: the program ssh is not installed")
    ours, theirs = socket.socketpair()
    said = os.memfd_create("ssh", os.MFD_CLOEXEC)
    try:
        command = [*_DEAF, *_command(address, remote)]
        process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=said)
    except OSError as error:
        ours.close()
        os.close(said)
        raise ConnectFailed(f"cannot start ssh for {address}: {error.strerror}") from error
    finally:
        theirs.close()
    return SshSocket(ours, process, said, address, remote)


def _command(address: Address, remote: str) -> list[str]:
    there = shlex.quote(remote)
    if address.path:
        there += f" -s {shlex.quote('unix:' + address.path)}"
    command = ["ssh", "-T", "-e", "none"]
    if address.port:
        command += ["-p", str(address.port)]
    if address.name:
        command += ["-l", address.name]
    return [*command, "--", address.host, f"{there} dial-stdio"]


class SshSocket(socket.socket):
    """Our end of the streams of an ssh process, which ends with it.

    Args:
        ours: The end.
        process: The ssh.
        said: A descriptor of what it says on its standard error.
        address: Where it goes.
        remote: The program that it starts there.
    """

    def __init__(
        self, ours: socket.socket, process: subprocess.Popen[bytes], said: int, address: Address, remote: str
    ) -> None:
        super().__init__(fileno=ours.detach())
        self._process = process
        self._said = said
        self._where = address
        self._remote = remote
        self._heard = False

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        """Read.

        Raises:
            ConnectFailed: ssh, or the program over there, ended before it said anything.
            ConnectionLost: ssh lost the connection later.
        """
        try:
            data = super().recv(size, flags)
        except ConnectionResetError:  # ssh has ended without reading everything
            self._explain_end()
            raise
        if data:
            self._heard = True
        elif size:
            self._explain_end()
        return data

    def close(self) -> None:
        """Close, and see ssh out."""
        super().close()
        if self._said < 0:
            return
        os.close(self._said)
        self._said = -1
        try:
            self._process.wait(GONE_WAIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _explain_end(self) -> None:
        if self._said < 0:
            return
        try:
            status = self._process.wait(GONE_WAIT)
        except subprocess.TimeoutExpired:
            return  # the daemon has closed the connection, and the rest takes its time
        if status == 0 or (self._heard and status != _SSH_FAILED):
            return
        host, said = self._where.host, self._last_line()
        if status in _NOT_FOUND:
            raise ConnectFailed(
                f"{self._remote} is not installed on {host}: install it there, or put it on the PATH that ssh gives"
            )
        if status == _SSH_FAILED:
            kind = ConnectionLost if self._heard else ConnectFailed
            raise kind(f"ssh to {host} failed: {said or 'it does not say why'}")
        raise ConnectFailed(f"on {host}: {said.removeprefix(f'{self._remote}: ') or f'exit status {status}'}")

    def _last_line(self) -> str:
        size = os.fstat(self._said).st_size
        text = os.pread(self._said, _MAX_SAID, max(size - _MAX_SAID, 0)).decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else ""
