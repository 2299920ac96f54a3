"""The terminal of a job, alone and under a supervisor."""

import asyncio
import os
import select
import signal

import pytest

from ctld.errors import InvalidOptions
from ctld.jobs.console import Console
from ctld.jobs.state import State
from ctld.processes import open_terminal
from tests.native import until


class Heard:
    """A listener that can be waited for."""

    def __init__(self):
        self.data = b""
        self._more = asyncio.Event()

    def __call__(self, data: bytes) -> None:
        self.data += data
        self._more.set()

    async def until(self, text: bytes) -> None:
        async with asyncio.timeout(20):
            while text not in self.data:
                self._more.clear()
                await self._more.wait()


async def test_output_goes_to_the_log_and_to_every_listener(tmp_path):
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    terminal = open_terminal()
    master = terminal.master
    console = Console(terminal, log)
    one, two = Heard(), Heard()
    console.listeners |= {one, two}
    os.write(terminal.slave, b"hello\n")
    await one.until(b"hello\r\n")
    console.listeners.discard(two)
    os.write(terminal.slave, b"bye\n")
    await one.until(b"bye\r\n")
    assert console.write(b"typed") == 5
    await one.until(b"typed")  # the terminal's echo
    console.resize(10, 20)
    with pytest.raises(InvalidOptions):
        console.resize(0, 0)
    os.write(terminal.slave, b"last words")
    select.select([master], [], [], 20)  # the kernel carries them over when it finds the time
    console.close()
    assert one.data.endswith(b"last words")
    assert two.data == b"hello\r\n"
    assert (tmp_path / "log").read_bytes() == one.data
    assert not console.is_open
    assert console.write(b"late") == 0
    console.resize(10, 20)  # a client may be late, too
    console.close()


async def test_the_end_of_the_output_closes_it():
    terminal = open_terminal()
    console = Console(terminal, None)
    heard = Heard()
    console.listeners.add(heard)
    os.write(terminal.slave, b"last")
    terminal.close_slave()
    await heard.until(b"last")
    await until(lambda: not console.is_open)
    assert heard.data == b"last"


async def test_a_full_disk_does_not_take_the_terminal_away():
    log = os.open("/dev/full", os.O_WRONLY)
    terminal = open_terminal()
    console = Console(terminal, log)
    heard = Heard()
    console.listeners.add(heard)
    os.write(terminal.slave, b"hello")
    await heard.until(b"hello")
    assert console.is_open
    console.close()


async def test_a_job_with_a_terminal_can_be_watched_and_typed_to(lab):
    lab.file("shell", "sh -c 'tty; while read line; do echo got $line; done'", tty=True, stdout="out", restart=0)
    supervisor = await lab.supervise()
    supervisor.start_job("shell")
    await lab.until(supervisor, lambda: supervisor.process("shell").console is not None)
    console = supervisor.process("shell").console
    heard = Heard()
    console.listeners.add(heard)
    assert console.write(b"hello\n") == 6
    await heard.until(b"got hello\r\n")
    assert b"got hello" in (lab.work / "0_out").read_bytes()
    assert supervisor.process("shell").logs() == {"stdout": str(lab.work / "0_out")}
    supervisor.signal_job("shell", signal.SIGHUP)
    await lab.until_state(supervisor, "shell", State.BADSTOP)
    assert supervisor.process("shell").console is None
    assert b"/dev/pts/" in (lab.work / "0_out").read_bytes()
    supervisor.repair_job("shell")
    await lab.until(supervisor, lambda: supervisor.process("shell").console is not None)


async def test_a_terminal_of_a_job_that_cannot_start_is_closed(lab):
    lab.file("shell", "sh", tty=True, dir="nowhere", restart=0)
    supervisor = await lab.supervise()
    supervisor.start_job("shell")
    await lab.until_state(supervisor, "shell", State.BADSTOP)
    assert supervisor.process("shell").console is None
