"""The terminal that a person sits at."""

import os
import termios

import pytest

from ctlctl.terminal import Terminal


@pytest.fixture
def slave():
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (30, 40))
    yield slave
    os.close(master)
    os.close(slave)


def is_raw(fd: int) -> bool:
    return not termios.tcgetattr(fd)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)


def test_it_is_raw_within_and_as_before_afterwards(slave):
    before = termios.tcgetattr(slave)
    with pytest.raises(ZeroDivisionError), Terminal(slave):  # noqa: PT012 - both halves are the point
        assert is_raw(slave)
        _ = 1 / 0
    assert termios.tcgetattr(slave) == before


def test_pauses(slave):
    with Terminal(slave) as terminal:
        terminal.restore()
        assert not is_raw(slave)
        terminal.make_raw()
        assert is_raw(slave)
    assert not is_raw(slave)


def test_the_size(slave):
    assert Terminal(slave).size() == (30, 40)
    termios.tcsetwinsize(slave, (0, 0))
    assert Terminal(slave).size() == (24, 80)


def test_what_is_no_terminal(tmp_path):
    with open(tmp_path / "file", "w") as file:
        assert Terminal(file.fileno()).size() == (24, 80)
        Terminal(file.fileno()).restore()
        with pytest.raises(termios.error):
            Terminal(file.fileno()).__enter__()


def test_a_terminal_that_is_gone_is_not_restored(slave):
    terminal = Terminal(os.dup(slave))
    terminal.__enter__()
    os.close(terminal._fd)
    terminal.restore()
    assert is_raw(slave), "who else has it open finds it as it was"
