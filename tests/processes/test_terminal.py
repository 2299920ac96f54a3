import os
import termios

import pytest

from ctld.errors import CommandFailed, InvalidOptions
from ctld.processes import open_terminal


def test_has_its_size_at_once_and_changes_it():
    with open_terminal(33, 101) as terminal:
        assert termios.tcgetwinsize(terminal.slave) == (33, 101)
        terminal.resize(5, 6)
        assert termios.tcgetwinsize(terminal.slave) == (5, 6)


def test_the_slave_has_a_name_and_the_master_does_not_block():
    with open_terminal() as terminal:
        assert os.fstat(terminal.slave).st_rdev == os.stat(terminal.path).st_rdev
        with pytest.raises(BlockingIOError):
            os.read(terminal.master, 1)


def test_without_a_slave_the_master_is_at_its_end():
    with open_terminal() as terminal:
        os.write(terminal.slave, b"last words")
        terminal.close_slave()
        assert os.read(terminal.master, 100) == b"last words"
        with pytest.raises(OSError, match="Input/output error"):
            os.read(terminal.master, 100)


def test_close_is_idempotent_and_spares_what_was_taken():
    terminal = open_terminal()
    master = terminal.take_master()
    terminal.close()
    terminal.close()
    assert (terminal.master, terminal.slave) == (-1, -1)
    os.close(master)


@pytest.mark.parametrize(("rows", "cols"), [(0, 80), (24, 0), (-1, 80), (65536, 80), (24, 65536)])
def test_an_impossible_size_is_refused_and_nothing_stays_open(rows, cols):
    with pytest.raises(InvalidOptions, match=f"a terminal cannot have {rows} rows and {cols} columns"):
        open_terminal(rows, cols)


def test_the_slave_is_given_to_a_user_alone():
    with open_terminal() as terminal:
        terminal.give_to(os.geteuid())
        assert os.fstat(terminal.slave).st_mode & 0o777 == 0o600


def test_running_out_is_an_error(monkeypatch):
    def fail():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "openpty", fail)
    with pytest.raises(CommandFailed, match="cannot open a terminal: No space left on device"):
        open_terminal()
