"""Signals as the worker knows them.  In a child: they are the whole process's affair."""

import os
import signal
import threading
from array import array
from collections.abc import Callable
from fcntl import F_SETPIPE_SZ, fcntl, ioctl
from termios import FIONREAD

import pytest

from ctld.gatherer.interrupts import Interrupted, Interrupts, ReaderGone, wait_writable, write_all


def in_child(check: Callable[[], bool]) -> None:
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if check() else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def me(number: int) -> None:
    os.kill(os.getpid(), number)


def test_sigint_is_a_flag() -> None:
    def check() -> bool:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        interrupts = Interrupts()
        interrupts.install()
        interrupts.check()
        me(signal.SIGINT)
        me(signal.SIGINT)
        try:
            interrupts.check()
        except Interrupted:
            interrupts.pending = False
            interrupts.check()
            return True
        return False

    in_child(check)


def test_a_signal_before_the_wait_ends_it_as_well() -> None:
    def check() -> bool:
        interrupts = Interrupts()
        interrupts.install()
        reading, writing = os.pipe()
        me(signal.SIGINT)
        nothing = interrupts.wait(reading)
        os.write(writing, b"x")
        something = interrupts.wait(reading)
        me(signal.SIGCHLD)
        return (nothing, something, interrupts.wait()) == ([], [reading], [])

    in_child(check)


def test_a_probe_is_answered_at_once() -> None:
    reading, writing = os.pipe()

    def check() -> bool:
        os.dup2(writing, 2)
        interrupts = Interrupts()
        interrupts.install()
        me(signal.SIGUSR1)
        return not interrupts.pending

    in_child(check)
    assert os.read(reading, 100) == b"ALIVE\n"
    os.close(reading)
    os.close(writing)


def test_a_reader_that_is_gone_ends_a_wait() -> None:
    def check() -> bool:
        reading, writing = os.pipe()
        os.dup2(writing, 1)
        os.close(writing)
        interrupts = Interrupts()
        interrupts.install()
        os.close(reading)
        try:
            interrupts.wait()
        except ReaderGone:
            return True
        return False

    in_child(check)


@pytest.mark.parametrize("blocking", [True, False])
def test_all_is_written(blocking: bool) -> None:
    reading, writing = os.pipe()
    fcntl(writing, F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, blocking)
    data, got = os.urandom(100_000), bytearray()

    def read() -> None:
        while len(got) < len(data):
            got.extend(os.read(reading, 1000))

    thread = threading.Thread(target=read)
    thread.start()
    write_all(writing, data)
    thread.join()
    assert got == data
    wait_writable(writing)
    waiting = array("i", [1])
    ioctl(reading, FIONREAD, waiting)
    assert waiting[0] == 0
    os.close(reading)
    os.close(writing)
