"""A worker as a process, driven step by step without sleeping."""

import array
import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.procfs import state_of

REPOSITORY = Path(__file__).parents[2]
BOOT = (
    f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); "
    "from ctld.gatherer.worker import main; sys.exit(main(sys.argv[1:]))"
)
QUICK = (sys.executable, "-I", "-S", "-c", BOOT)
PATIENCE = 20.0


class Driver:
    """One worker; what it writes is collected by threads."""

    def __init__(self, *options: str, boot: tuple[str, ...] = (sys.executable, "-c", BOOT), **popen: object) -> None:
        self.process = subprocess.Popen(  # type: ignore[call-overload]  # open keywords
            [*boot, *options],
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0, **popen},
        )
        self.pid: int = self.process.pid
        self.out, self.err = bytearray(), bytearray()
        self.ended = 0  # how many of its outputs have ended
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._collect, args=(pipe, into))
            for pipe, into in ((self.process.stdout, self.out), (self.process.stderr, self.err))
            if pipe is not None
        ]
        for thread in self._threads:
            thread.start()

    def _collect(self, pipe: object, into: bytearray) -> None:
        while piece := os.read(pipe.fileno(), 65536):  # type: ignore[attr-defined]  # a pipe
            with self._changed:
                into += piece
                self._changed.notify_all()
        with self._changed:
            self.ended += 1
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), (bytes(self.out[-500:]), bytes(self.err[-2000:]))

    def wait_out(self, text: bytes) -> None:
        self.wait_for(lambda: text in self.out)

    def wait_err(self, text: bytes) -> None:
        self.wait_for(lambda: text in self.err)

    def ready(self) -> "Driver":
        self.wait_out(b"#0#\n")
        return self

    def send(self, data: bytes) -> None:
        self.process.stdin.write(data)

    def kill(self, number: int) -> None:
        os.kill(self.pid, number)

    @property
    def unread(self) -> int:
        count = array.array("i", [0])
        fcntl.ioctl(self.process.stdin.fileno(), termios.FIONREAD, count)
        return count[0]

    @property
    def state(self) -> str:
        try:
            return state_of(self.pid)
        except (FileNotFoundError, ProcessLookupError):
            return "Z"

    @property
    def children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def settle(self) -> None:
        """Wait until all input is read and the worker waits for something, or has ended."""
        until(lambda: (self.state == "S" and not self.unread) or self.state == "Z")

    def wait_child(self) -> int:
        until(lambda: bool(self.children))
        return self.children[0]

    def end(self, timeout: float = PATIENCE) -> tuple[bytes, bytes, int]:
        """Close the input and wait for the end: stdout, stderr, status."""
        if self.process.stdin is not None:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        status = self.process.wait(timeout)
        for thread in self._threads:
            thread.join()
        return bytes(self.out), bytes(self.err), status

    def close(self) -> None:
        if self.process.poll() is None:
            for child in self.children:
                os.killpg(child, signal.SIGKILL)
            self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for what nothing reports: the state of another process."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)
